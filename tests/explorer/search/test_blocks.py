"""Which blocks go first: sums by hand, classifiers of scikit-learn, and divergences of the user's own network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.errors import SearchError
from explorer.relevance.scores import LayerRelevance, Relevance
from explorer.search.blocks import (
    compare_block_features,
    measure_block_divergence,
    measure_depth_losses,
    measure_divergence,
    order_blocks,
    order_by_divergence,
    sum_block_relevance,
)
from explorer.search.space import Depth, make_search_space
from explorer.settings import SpaceSettings


class Residual(nn.Module):
    """Two residual blocks and a layer between equal shapes, without batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.c, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 5)
        self.lost: set[str] = set()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.a(x))
        x = F.relu(x + self.b(x))
        x = F.relu(self.c(x))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def trained() -> tuple[Residual, CompressionContext, Tensor, Tensor]:
    """A network with images and labels that it does not know."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = Residual().eval()
        images, labels = torch.randn(80, 3, 8, 8), torch.arange(80) % 5
        images += labels[:, None, None, None] * torch.tensor([0.2, -0.1, 0.1])[:, None, None]
    return model, CompressionContext.of(model, images), images, labels


def of_layers(**scores: list[float]) -> Relevance:
    none: Any = np.zeros((0, 1), np.float32)
    layers = tuple(
        LayerRelevance(
            layer=name,
            filter_scores=np.array(values, np.float32),
            weight_multipliers=none,
            input_multipliers=none,
            contributions=none,
            magnitudes=none,
        )
        for name, values in scores.items()
    )
    return Relevance(
        method="by hand",
        reference="",
        target="",
        aggregation="",
        samples=1,
        completeness=None,
        explained=(),
        layers=layers,
    )


def test_the_relevance_of_a_block_is_the_sum_over_its_filters(
    trained: tuple[Residual, CompressionContext, Tensor, Tensor],
) -> None:
    graph = trained[1].graph
    found = sum_block_relevance(graph, of_layers(stem=[100.0], a=[1, 2, 3], b=[0.5, 0.25], c=[4.0]))
    assert found == {"a": 6.0, "b": 0.75, "c": 4.0}
    assert order_blocks(found) == ("b", "c", "a")
    assert order_blocks({"x": 1.0, "y": 0.5, "z": 0.5}) == ("y", "z", "x")


def test_features_are_compared_as_by_another_least_squares(
    trained: tuple[Residual, CompressionContext, Tensor, Tensor],
) -> None:
    model, context, images, labels = trained
    with torch.no_grad():
        first = F.relu(model.stem(images))
        second = F.relu(first + model.a(first))
        third = F.relu(second + model.b(second))
        features = [part.mean((2, 3)).double().numpy() for part in (first, second, third, F.relu(model.c(third)))]
    wanted, even = np.eye(5)[labels.numpy()], np.arange(80) % 2 == 0
    right = []
    for x in features:
        count = 0
        for half in (even, ~even):
            strength = 1e-3 * ((x[half] - x[half].mean(0)) ** 2).sum(0).mean()
            said = Ridge(alpha=strength).fit(x[half], wanted[half]).predict(x[~half]).argmax(1)
            count += (said == labels.numpy()[~half]).sum()
        right.append(count / 80)
    found = compare_block_features(context.model, context.graph, images, labels)
    assert found == pytest.approx({"a": right[1] - right[0], "b": right[2] - right[1], "c": right[3] - right[2]})
    assert any(found.values())


def test_features_need_class_numbers(trained: tuple[Residual, CompressionContext, Tensor, Tensor]) -> None:
    _, context, images, _ = trained
    with pytest.raises(SearchError, match=r'"features" asks .* class numbers, received targets of \(80, 2'):
        compare_block_features(context.model, context.graph, images, torch.randn(80, 2))


def probabilities(model: Residual, images: Tensor, without: str) -> np.ndarray:
    """By the user's own code, the branch times zero, or the layer left out."""
    with torch.no_grad():
        x = F.relu(model.stem(images))
        x = F.relu(x + model.a(x) * ("a" not in without))
        x = F.relu(x + model.b(x) * ("b" not in without))
        x = x if "c" in without else F.relu(model.c(x))
        logits = model.fc(x.mean((2, 3))).double().numpy()
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def test_divergence_is_that_of_the_probabilities_without_a_block(
    trained: tuple[Residual, CompressionContext, Tensor, Tensor],
) -> None:
    model, context, images, _ = trained
    whole = probabilities(model, images, "")
    expected = {}
    for block in "abc":
        less = probabilities(model, images, block)
        expected[block] = float((whole * np.log(whole / less)).sum(1).mean())
    assert measure_block_divergence(context, images) == pytest.approx(expected, rel=1e-4)
    assert min(expected.values()) > 0
    depths = [Depth.of(context.shortened(blocks).graph) for blocks in ((), ("a",), ("a", "c"))]
    space = make_search_space(context.graph, SpaceSettings(removed_blocks=(0, 1, 2)), depths=depths)
    losses = measure_depth_losses(context, space, images, measure_divergence)
    assert losses[0] == 0
    assert losses[1] == pytest.approx(expected["a"], rel=1e-4)
    assert set(losses) == {0, 1, 2}


def test_blocks_go_one_after_the_other_by_what_diverges_least_together(
    trained: tuple[Residual, CompressionContext, Tensor, Tensor],
) -> None:
    model, context, images, _ = trained
    whole = probabilities(model, images, "")

    def divergence(blocks: str) -> float:
        return float((whole * np.log(whole / probabilities(model, images, blocks))).sum(1).mean())

    first = min("abc", key=divergence)
    second = min(set("abc") - {first}, key=lambda block: divergence(first + block))
    said: list[tuple[int, int]] = []
    found = order_by_divergence(context, images, 2, lambda done, total: said.append((done, total)))
    assert found == (first, second)
    assert said == [(done, 5) for done in range(1, 6)]
    assert len(order_by_divergence(context, images, 3)) == 3


def test_divergence_of_other_outputs_is_the_mean_square_and_of_maps_the_mean_over_positions() -> None:
    assert measure_divergence(torch.tensor([[1.0], [4.0]]), torch.tensor([[0.0], [2.0]])) == pytest.approx(2.5)
    logits, wanted = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    apart = measure_divergence(logits.permute(0, 2, 3, 1).reshape(-1, 3), wanted.permute(0, 2, 3, 1).reshape(-1, 3))
    assert measure_divergence(logits, wanted) == pytest.approx(apart)
    assert np.isnan(measure_divergence(torch.full((1, 3), float("nan")), torch.zeros(1, 3)))
