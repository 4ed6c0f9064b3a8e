"""Saliencies of merging, one pair after the other by hand."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.graph.canonical import canonicalise
from explorer.graph.trace import trace
from explorer.relevance.merging import merging
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import order_filters
from tests.support.styles import unsettle


class Normed(nn.Module):
    """A convolution with a batch norm, and one without that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1)
        unsettle(self.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.norm(self.conv1(x)))).mean((2, 3))  # type: ignore[no-any-return]

    def resemble(self, one: int, other: int, factor: float = 1.0) -> None:
        """Give filter `one` the numbers of `other`, times a factor."""
        for path in ("conv1", "norm"):
            for name, tensor in self.get_submodule(path).state_dict().items():
                if name != "num_batches_tracked":
                    tensor[one] = tensor[other] * factor


def scores_by_hand(model: Normed) -> list[float]:
    """Fold the norm, and merge pair after pair."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    gain = state["norm.weight"] / np.sqrt(state["norm.running_var"] + model.norm.eps)
    bias = (state["conv1.bias"] - state["norm.running_mean"]) * gain + state["norm.bias"]
    rows = [np.append(state["conv1.weight"][i].ravel() * gain[i], bias[i]) for i in range(6)]
    outgoing = [state["conv2.weight"][:, i].ravel() for i in range(6)]
    alive, lost, scores = list(range(6)), 0.0, [0.0] * 6
    while alive:
        options: list[tuple[float, int, int]] = []
        for j in alive:
            weight = float(np.mean(outgoing[j] ** 2))
            options.append((weight * float(rows[j] @ rows[j]), j, -1))
            options += [(weight * float(((rows[i] - rows[j]) ** 2).sum()), j, i) for i in alive if i != j]
        saliency, gone, twin = min(options, key=lambda option: option[0])
        if twin >= 0:
            outgoing[twin] = outgoing[twin] + outgoing[gone]
        alive.remove(gone)
        lost += saliency
        scores[gone] = lost
    return scores


def test_scores_are_those_of_merging_pair_after_pair() -> None:
    torch.manual_seed(3)
    model, images = Normed().eval(), torch.randn(2, 2, 5, 5)
    # Two near copies, so that one is merged, and outgoing weights that then count together.
    model.resemble(1, 4, 1.05)
    canonical = canonicalise(model, images)
    sample = make_sample(canonical, trace(canonical, images), images, torch.zeros(2, dtype=torch.long))
    found = merging(sample)
    assert np.allclose(found.layer("conv1").filter_scores, scores_by_hand(model), rtol=1e-5)
    assert (found.layer("conv2").filter_scores == 1).all()


def test_one_of_two_equal_filters_goes_first() -> None:
    torch.manual_seed(4)
    model, images = Normed().eval(), torch.randn(2, 2, 5, 5)
    model.resemble(2, 5)
    canonical = canonicalise(model, images)
    graph = trace(canonical, images)
    found = merging(make_sample(canonical, graph, images, torch.zeros(2, dtype=torch.long)))
    (group,) = graph.prunable
    assert order_filters(graph, found)[group.name][-1] == group.classes[2]
    assert found.layer("conv1").filter_scores[2] == 0.0
