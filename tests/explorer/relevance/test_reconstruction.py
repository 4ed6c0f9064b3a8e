"""Channels removed one after the other, against least squares without them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.relevance.completion import estimate_filter_losses
from explorer.relevance.reconstruction import reconstruction
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.scores import score_classes


class Branched(nn.Module):
    """Filters that a grouped, a plain and, several pixels each, a linear layer read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3)
        self.grouped, self.plain = nn.Conv2d(6, 4, 2, groups=2), nn.Conv2d(6, 3, 2)
        self.out = nn.Linear(54, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        joined = self.plain(x)[:, :, :1, :1].flatten(1) + self.grouped(x).mean((1, 2, 3))[:, None]
        return self.out(x.flatten(1)) + joined  # type: ignore[no-any-return]


def sample() -> Sample:
    torch.manual_seed(3)
    images = torch.rand(48, 2, 5, 5)
    base = CompressionContext.of(Branched().eval(), images)
    return make_sample(base.model, base.graph, images, torch.zeros(48, dtype=torch.long), target="true")


def residual(weight: Tensor, read: Tensor, counts: Tensor, left: list[int]) -> float:
    """The weighted squared error of filters (rows x k) on samples x k when the columns `left` do what they can."""
    x = read.double().numpy() - read.double().numpy().mean(0)
    added = np.sqrt(0.01 * np.square(x).mean() * len(x)) * np.eye(x.shape[1])
    stacked = np.vstack((x, added))
    aim = stacked @ weight.double().numpy().T
    best = np.linalg.lstsq(stacked[:, left], aim, rcond=None)[0] if left else np.zeros((0, aim.shape[1]))
    return float((np.square(aim - stacked[:, left] @ best).sum(0) / len(x)) @ counts.double().numpy())


def test_scores_are_what_least_squares_loses_more_without_each_filter() -> None:
    given = sample()
    model, (images,) = given.model, given.inputs
    group = given.graph.prunable[0]
    assert group.producers == ("first",)
    classes = given.graph.layer("first").output_classes
    scores = score_classes(given.graph, reconstruction(given))
    x = torch.relu(model.get_submodule("first")(images)).detach()
    windows = x.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(2)  # places x 6 x 4
    problems = [(x.flatten(1).view(48, 6, 9), "out", range(6), slice(0, 3))]
    problems += [
        (windows[:, :3], "grouped", range(3), slice(0, 2)),
        (windows[:, 3:], "grouped", range(3, 6), slice(2, 4)),
    ]
    problems += [(windows, "plain", range(6), slice(0, 3))]
    counts = {
        "out": torch.tensor([1.0, 0.0, 0.0]),
        "plain": torch.tensor([1.0, 0.0, 0.0]),
        "grouped": torch.full((4,), 4 / 16**2),
    }

    def lost(gone: set[int]) -> float:
        total = 0.0
        for read, name, channels, rows in problems:
            width = read.shape[2]
            left = [i * width + j for i, c in enumerate(channels) if classes[c] not in gone for j in range(width)]
            weight = model.get_submodule(name).get_parameter("weight").detach().flatten(1)[rows]
            total += residual(weight, read.flatten(1), counts[name][rows], left)
        return total

    gone: set[int] = set()
    highest = 0.0
    for _ in group.classes:
        added = {identity: lost(gone | {identity}) - lost(gone) for identity in set(group.classes) - gone}
        first = min(added, key=lambda identity: added[identity])
        highest = max(highest, added[first])
        assert abs(scores[first] - highest) < 1e-4 * highest
        gone.add(first)
    losses = estimate_filter_losses(given.graph, reconstruction(given))
    assert all(abs(losses[each] - scores[each]) < 1e-6 * highest for each in classes)


def test_what_another_makes_up_goes_first() -> None:
    """Two filters and the ones that go with them are twice two others: one of the two costs nothing but the damping."""
    given = sample()
    first = given.model.get_submodule("first")
    for name in ("weight", "bias"):
        values = first.get_parameter(name).data
        values[1], values[4] = 2 * values[0], 2 * values[3]
    scores = score_classes(given.graph, reconstruction(given))
    classes = given.graph.layer("first").output_classes
    ordered = sorted(set(classes), key=lambda identity: scores[identity])
    assert ordered[0] in {classes[0], classes[1]}
    assert scores[ordered[0]] < 0.2 * scores[ordered[1]]
