"""A search that removes blocks, and what can be done with a network that lacks some, from Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explorer
from explorer.errors import CandidateError, SearchError
from tests.support.pages import read_page_data

SPACE = explorer.Space(weight_bits=(4, 8), activation_bits=(8,), filter_keep_ratio=(0.5, 1.0), removed_blocks=(0, 1, 2))


class Blocks(nn.Module):
    """Three residual blocks with batch norms, one of which changes the shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.a = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.b = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.c = nn.Sequential(nn.Conv2d(6, 8, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
        self.skip = nn.Sequential(nn.Conv2d(6, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.a(x))
        x = F.relu(x + self.b(x))
        x = F.relu(self.c(x) + self.skip(x))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def net() -> explorer.Net:
    """Trained a little to tell crosses from frames."""
    from tests.tiny_study.shapes import draw  # noqa: PLC0415

    pixels, labels = draw(120, 3)
    images, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Blocks()
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(40):
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return explorer.open(model.eval(), images, targets)


def test_a_search_removes_blocks_in_their_order_and_its_front_does_all_that_others_do(
    net: explorer.Net, tmp_path: Path
) -> None:
    result = explorer.search(net, SPACE, "bitfusion", trials=14, folder=tmp_path / "run", seeds=8)
    assert [block.name for block in net.graph.removable] == ["a", "b"]
    order = json.loads(next((tmp_path / "run").glob("blocks-*.json")).read_text())
    removed = {item.candidate.removed_blocks for item in result.outcome.evaluations}
    assert removed == {(), (order[0],), ("a", "b")}
    again = explorer.search(net, SPACE, "bitfusion", trials=14, folder=tmp_path / "run", seeds=8)
    assert again.outcome.evaluations == result.outcome.evaluations
    rows = (tmp_path / "run" / "front.csv").read_text().splitlines()
    assert "removed_blocks" in rows[0]
    point = next(p for p in result.front if p.candidate.removed_blocks)
    assert any("; ".join(point.candidate.removed_blocks) in row for row in rows[1:])
    shown = read_page_data(tmp_path / "run" / "report.html")["points"]
    assert point.candidate.removed_blocks[0] in next(each["origin"] for each in shown if each["name"] == point.name)
    assert result.front.to_frame().loc[point.name, "removed_blocks"] == "; ".join(point.candidate.removed_blocks)
    result = result.finetune([point.name], epochs=1)
    (tuned,) = (each for each in result.outcome.front if each.tuned is not None)
    assert tuned.tuned is not None
    assert tuned.name == point.name
    assert tuned.tuned.cost == tuned.evaluation.cost
    model = explorer.load(tmp_path / "run", net).model(point.name, tuned=True)
    assert explorer.export(model, tmp_path / "out", "integer").verification.agreement >= 0.99


@pytest.mark.parametrize("form", ["onnx", "integer", "tflite", "coded"])
def test_a_network_without_a_block_is_built_tuned_priced_and_exported(
    net: explorer.Net, form: str, tmp_path: Path
) -> None:
    candidate = explorer.uniform(net, 8, removed_blocks=("b",)).with_filters({"stem.0": 0.5})
    with pytest.raises(CandidateError, match="expected a choice for layer"):
        explorer.price(net, replace(candidate, removed_blocks=()), "bitfusion")
    price, planned = explorer.price(net, candidate, "bitfusion"), explorer.plan(net, candidate)
    assert price.macs == planned.macs < explorer.plan(net, explorer.uniform(net).with_filters({"stem.0": 0.5})).macs
    small = explorer.compress(net, candidate)
    assert small.plan == planned
    if form == "onnx":
        small = explorer.finetune(net, candidate, epochs=1)
        assert small.tuned is not None
    exported = explorer.export(small, tmp_path / "out", form, device="bitfusion")
    assert exported.verification.agreement >= 0.99
    stated = [json.loads(path.read_text()).get("candidate", {}) for path in (tmp_path / "out").glob("*.json")]
    assert ["b"] in [candidate.get("removed_blocks") for candidate in stated]


def test_more_blocks_than_the_network_has_and_locked_ones_are_refused_in_one_line(net: explorer.Net) -> None:
    with pytest.raises(SearchError, match=r"at most 2, .* received 3; its others stay: c: its"):
        explorer.search(net, explorer.Space(removed_blocks=(0, 3)), trials=1)
    with pytest.raises(CandidateError, match=r'"c": its skip is a layer of its own, .skip.0., since it'):
        explorer.uniform(net, removed_blocks=("c",))
