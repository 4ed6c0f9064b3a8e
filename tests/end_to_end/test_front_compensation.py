"""A search with the cheap compensation whose front is built, scored, exported and opened again with the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.compress import correction
from explorer.compress.apply import apply
from explorer.evaluate.score import score_images
from explorer.settings import QuantizerSettings
from explorer.study.folder import read_outcome
from hwmodels import load
from tests.support.pages import read_page_data

SPACE = explorer.Space(weight_bits=(4, 8), activation_bits=(8,), filter_keep_ratio=(0.25, 0.5, 1.0))
STATIC, BOTH = (QuantizerSettings(compensation="static", front_compensation=front) for front in (None, "propagated"))


def make_net(quantizer: QuantizerSettings) -> explorer.Net:
    """Filters that are sums of others, and images of which a tenth has the wrong label: scores differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = torch.arange(120) % 2
        images = torch.rand(120, 1, 8, 8) + 0.12 * labels[:, None, None, None]
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)
        )
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(25):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return explorer.open(model.eval(), images, labels, quantizer=quantizer)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[explorer.Net, explorer.Result, Path]:
    net, folder = make_net(BOTH), tmp_path_factory.mktemp("front") / "run"
    result = explorer.search(
        net, SPACE, load("bitfusion"), ("accuracy", "weight_memory"), "reconstruction", 14, folder=folder, seeds=5
    )
    return net, result, folder


def share(model: nn.Module, net: explorer.Net, split: str) -> float:
    images, targets = net.network.tensors(getattr(net.data, split))
    return float(np.mean(score_images(model, images, targets, 64)))


def test_members_are_scored_as_they_are_kept(found: tuple[explorer.Net, explorer.Result, Path]) -> None:
    net, result, _ = found
    context = result.open_net().context
    evaluated = {item.number: item for item in result.outcome.evaluations}
    moved = False
    for point in result.outcome.front:
        candidate = point.evaluation.candidate
        kept, searched = apply(context, candidate), apply(context.for_search(), candidate)
        assert point.evaluation.score is not None
        assert point.evaluation.score.value == pytest.approx(share(kept, net, "search"))
        assert point.held_out.value == pytest.approx(share(kept, net, "held_out"))
        own = evaluated[point.evaluation.number]
        assert own.candidate == candidate
        assert own.score is not None
        assert own.score.value == pytest.approx(share(searched, net, "search"))
        weights = [model.state_dict() for model in (kept, searched)]
        moved = moved or any(not torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert moved


def test_what_is_opened_and_exported_is_what_was_scored(
    found: tuple[explorer.Net, explorer.Result, Path], tmp_path: Path
) -> None:
    net, result, folder = found
    reopened, context = explorer.load(folder, net), result.open_net().context
    for point in (result.front[0], reopened.front[0]):
        built = point.build()
        assert all(
            torch.equal(value, apply(context, point.candidate).state_dict()[key])
            for key, value in built.state_dict().items()
        )
    exported = explorer.export(result.front[0].build(), tmp_path / "export")
    assert exported is not None


def test_it_is_told_with_what(found: tuple[explorer.Net, explorer.Result, Path]) -> None:
    _, result, folder = found
    told = "static in the search; propagated in the front"
    assert told in result.summary()
    assert read_outcome(folder).provenance["compensation"].startswith(told)
    assert any(told in remark for remark in read_page_data(folder / "report.html")["remarks"])
    assert "compensation" not in explorer.search(make_net(QuantizerSettings()), SPACE, scores="l2", trials=2).summary()
    plain = explorer.search(make_net(STATIC), SPACE, scores="l2", trials=2).outcome
    assert plain.provenance["compensation"] == "static"


def test_a_finished_run_builds_nothing_again(
    found: tuple[explorer.Net, explorer.Result, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, result, folder = found

    def refuse(*_: object) -> None:
        raise AssertionError("solved for again")

    monkeypatch.setattr(correction._Corrector, "_solve", refuse)
    again = explorer.search(
        net, SPACE, load("bitfusion"), ("accuracy", "weight_memory"), "reconstruction", 14, folder=folder, seeds=5
    )
    assert again.outcome.front == result.outcome.front
