"""A network that is no classifier, from Python: a U-Net on masks that are drawn here, scored by the IoU of each image.

That with two inputs is in test_two_inputs.py, beside the same by study file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import explorer
from explorer.export.verify import open_session
from explorer.models.unet import UNet

Shapes = tuple[Tensor, Tensor]
RATE: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.01}


def iou(outputs: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of each image's mask."""
    found = outputs[:, 0] > 0
    both, either = (found & targets).flatten(1).sum(1), (found | targets).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def foreground(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean logit of an image's pixels."""
    return outputs[:, 0].flatten(1).mean(1)


def pixel_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs[:, 0], targets.float())


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    """120 noisy images of a square each, and their masks."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.arange(16)
    corner, side = torch.randint(1, 8, (120, 2), generator=draw), torch.randint(4, 8, (120, 1), generator=draw)
    inside = (rows >= corner[..., None]) & (rows < (corner + side)[..., None])
    masks = inside[:, 0, :, None] & inside[:, 1, None, :]
    return masks[:, None] + 0.4 * torch.randn(120, 1, 16, 16, generator=draw), masks


@pytest.fixture(scope="module")
def net(shapes: Shapes) -> explorer.Net:
    """A U-Net trained on the first 72 of them, opened."""
    images, masks = shapes
    loader = DataLoader(TensorDataset(images[:72], masks[:72]), batch_size=12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = UNet(classes=1, in_channels=1, widths=(8, 16))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for x, y in [*loader] * 25:
            optimizer.zero_grad()
            pixel_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    search, held_out = ((images[part], masks[part]) for part in (slice(72, 96), slice(96, None)))
    return explorer.open(model, loader, search=search, held_out=held_out, score=iou)


@pytest.fixture(scope="module")
def result(net: explorer.Net) -> explorer.Result:
    scores = explorer.relevance(net, "deeplift", target=foreground)
    space = explorer.Space(weight_bits=(2, 4, 8), filter_keep_ratio=(0.5, 1.0))
    budgets = {"iou": 0.3}
    return explorer.search(net, space, "bitfusion", ("iou", "energy"), scores, trials=10, seeds=4, budgets=budgets)


def test_the_front_is_of_the_score_by_its_name(net: explorer.Net, result: explorer.Result) -> None:
    assert "scored by iou" in repr(net)
    assert result.score_name == "iou"
    frame = result.front.to_frame()
    assert {"iou_search", "iou_held_out"} <= set(frame.columns)
    assert not any("accuracy" in column for column in frame.columns)
    assert (frame["iou_search"] >= 0.3).all()
    whole = next(entry for entry in result.outcome.baselines if entry.name == "float")
    assert whole.search.value > 0.6
    assert whole.search.deviation is not None
    assert result.best(max_loss=50).score.value >= whole.search.value - 0.5
    with pytest.raises(explorer.ExplorerError, match='expected a requirement, received "max_iou_loss"'):
        result.best(max_iou_loss=0.5)
    assert "iou" in result.plot("energy").layout.yaxis.title.text


def test_a_point_scores_by_hand_what_the_front_says(result: explorer.Result, shapes: Shapes) -> None:
    images, masks = (tensor[96:] for tensor in shapes)
    model = result.model("accurate")
    with torch.no_grad():
        found = (model(images)[:, 0] > 0).numpy()
    by_hand = []
    for mine, wanted in zip(found, masks.numpy(), strict=True):
        here, there = ({tuple(place) for place in np.argwhere(mask)} for mask in (mine, wanted))
        by_hand.append(len(here & there) / len(here | there) if here | there else 1.0)
    assert result.front["accurate"].held_out.value == pytest.approx(float(np.mean(by_hand)), abs=1e-6)
    assert explorer.score(model).value == pytest.approx(float(np.mean(by_hand)), abs=1e-6)


def test_it_is_trained_further_by_a_loss_of_ones_own_and_exported(
    net: explorer.Net, result: explorer.Result, shapes: Shapes, tmp_path: Path
) -> None:
    point = result.front["cheapest"]
    with pytest.raises(explorer.ExplorerError, match="loss: missing; the targets are no class numbers"):
        explorer.finetune(net, point, epochs=1, teacher_weight=0.5)
    tuned = explorer.finetune(net, point, epochs=3, loss=pixel_loss, file=tmp_path / "cheapest.pt", **RATE)
    assert explorer.score(tuned).value > point.held_out.value
    again = explorer.finetune(net, point, epochs=3, loss=pixel_loss, file=tmp_path / "cheapest.pt", **RATE)
    images = shapes[0][96:]
    assert torch.equal(again(images), tuned(images))  # found in the file
    before = (tmp_path / "cheapest.pt").read_bytes()
    for other, change in ((point, {"epochs": 2}), (result.front["accurate"], {"epochs": 3})):
        named = "epochs" if other is point else "point"
        with pytest.raises(explorer.ExplorerError, match=rf"cheapest.pt holds a network .* with another {named}; name"):
            explorer.finetune(net, other, loss=pixel_loss, file=tmp_path / "cheapest.pt", **{**RATE, **change})
    assert (tmp_path / "cheapest.pt").read_bytes() == before
    report = explorer.export(tuned, tmp_path / "out")
    assert report.score.value == pytest.approx(explorer.score(tuned).value, abs=0.01)
    told = json.loads((tmp_path / "out" / "configuration.json").read_text(encoding="utf-8"))
    assert told["network"]["iou"]["value"] == pytest.approx(report.score.value)
    session = open_session(tmp_path / "out" / "model.onnx")
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    assert float(iou(torch.from_numpy(outputs), shapes[1][96:]).mean()) == pytest.approx(report.score.value, abs=1e-6)


def test_relevance_is_of_what_is_asked_for(net: explorer.Net) -> None:
    whole, mean = (explorer.relevance(net, "taylor", target=target) for target in ("predicted", foreground))
    first = net.graph.layer_names[0]
    assert mean.relevance.target.endswith(":foreground")
    # Of one output for each position, "predicted" is the sum over all 256 of them.
    assert np.allclose(whole.layer(first).filter_scores, 256 * mean.layer(first).filter_scores, rtol=1e-3)
