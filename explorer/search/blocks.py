"""Which blocks of a network go first, by three criteria, and what the network loses without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from explorer.compress.apply import CompressionContext
from explorer.compress.calibrate import measure_norm_inputs
from explorer.compress.shorten import shorten_network
from explorer.errors import SearchError
from explorer.graph.blocks import find_end
from explorer.graph.inputs import Inputs, as_tuple, batches, count_images, run, take
from explorer.graph.layers import ModelGraph
from explorer.progress import Progress
from explorer.relevance.scores import Relevance
from explorer.search.space import SearchSpace

BlockScores = Mapping[str, float]
"""For every block that can be removed, how much the network loses with it."""
IMAGES_AT_ONCE = 250
"""Images whose features are computed at a time."""
RECALIBRATED = 128
"""Images on which batch norms are recalibrated in each network that is tried (assumed)."""
RIDGE = 1e-3
"""Of the mean square of the features, added where a classifier is fitted to them (assumed)."""


def order_blocks(scores: BlockScores) -> tuple[str, ...]:
    """Return the names of blocks, the one to remove first in front; ties in the order of computation."""
    return tuple(sorted(scores, key=lambda name: scores[name]))


def sum_block_relevance(graph: ModelGraph, relevance: Relevance) -> dict[str, float]:
    """Return the sum of the scores of all filters of each block."""
    return {
        block.name: sum(float(relevance.layer(layer).filter_scores.sum()) for layer in block.layers)
        for block in graph.removable
    }


def compare_block_features(
    model: fx.GraphModule, graph: ModelGraph, images: Inputs, labels: Tensor
) -> dict[str, float]:
    """Return by how much more often a linear classifier is right behind each block than in front of it.

    Features are the means of the channels over all positions. A classifier is fitted by least squares to one half of
    the images, and asked about the other.

    Args:
        labels: The number of a class for each image (N).

    Raises:
        SearchError: Where labels are none.

    Source:
        Chen and Zhao, 2019: the layers that improve the features least are removed.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise SearchError(
            'space.block_criterion: "features" asks a classifier about class numbers, received targets of '
            f'{tuple(labels.shape)}; take "measured_kl" or "relevance"'
        )
    nodes = {node.name: node for node in model.graph.nodes}
    ends = {block.name: (block.source, find_end(model, nodes[block.target]).name) for block in graph.removable}
    names = {name for pair in ends.values() for name in pair}
    parts = [_Features(model, names).of(part) for part in batches(images, IMAGES_AT_ONCE)]
    features = {name: torch.cat([part[name] for part in parts]) for name in names}
    right = {name: _count_right(values, labels) for name, values in features.items()}
    return {block: (right[behind] - right[front]) / len(labels) for block, (front, behind) in ends.items()}


def measure_block_divergence(
    context: CompressionContext, images: Inputs, progress: Progress | None = None
) -> dict[str, float]:
    """Return the divergence of the network without each block alone, with its batch norms recalibrated, from the whole.

    Of classes (N x C x ...) it is the Kullback-Leibler divergence of their probabilities, in nats and averaged over
    images and positions, of any other outputs the mean squared difference.
    """
    with torch.no_grad():
        expected = run(context.model, images)
        found = {}
        for index, block in enumerate(context.graph.removable):
            found[block.name] = measure_divergence(run(shorten_network(context, (block.name,)), images), expected)
            if progress is not None:
                progress(index + 1, len(context.graph.removable))
    return found


def order_by_divergence(
    context: CompressionContext, images: Inputs, count: int, progress: Progress | None = None
) -> tuple[str, ...]:
    """Return `count` blocks, each the one whose removal after those before it makes the outputs diverge least.

    Blocks that could each go alone may make good for one another, so that the least of `measure_block_divergence` are
    no good choice together. Batch norms are recalibrated on RECALIBRATED calibration images.
    """
    few = take(context.calibration.images, slice(RECALIBRATED))
    given = few if isinstance(context.calibration.images, tuple) else few[0]
    calibration = replace(context.calibration, images=given, norms=measure_norm_inputs(context.model, given))
    context = replace(context, calibration=calibration)
    left, found = [block.name for block in context.graph.removable], list[str]()
    total = sum(len(left) - place for place in range(count))
    tried = 0
    with torch.no_grad():
        expected = run(context.model, images)
        for _ in range(count):
            lost = {}
            for name in left:
                outputs = run(shorten_network(context, (*found, name)), images)
                divergence = measure_divergence(outputs, expected)
                lost[name] = math.inf if math.isnan(divergence) else divergence
                tried += 1
                if progress is not None:
                    progress(tried, total)
            found.append(min(left, key=lambda name: lost[name]))
            left.remove(found[-1])
    return tuple(found)


def measure_depth_losses(
    context: CompressionContext, space: SearchSpace, images: Inputs, lost: Callable[[Tensor, Tensor], float]
) -> dict[int, float]:
    """Return what is `lost`, of the outputs (found, expected), by the number of blocks removed; nothing without any."""
    with torch.no_grad():
        expected = run(context.model, images)
        return {
            len(depth.removed_blocks): lost(run(context.shortened(depth.removed_blocks).model, images), expected)
            for depth in space.depths
        }


def measure_divergence(found: Tensor, expected: Tensor) -> float:
    """Return the divergence of outputs (N x ...) as `measure_block_divergence` says."""
    if found.ndim < 2 or found.shape[1] < 2:
        return float((found.double() - expected.double()).square().mean())
    logs, wanted = (F.log_softmax(outputs.double(), 1) for outputs in (found, expected))
    total = float(F.kl_div(logs, wanted, reduction="sum", log_target=True))
    return total if math.isnan(total) else max(0.0, total * found.shape[1] / found.numel())


class _Features(fx.Interpreter):
    """Runs a network and keeps the means over positions of what some nodes give."""

    def __init__(self, model: fx.GraphModule, names: set[str]) -> None:
        super().__init__(model)
        self.names = names
        self.found: dict[str, Tensor] = {}

    def of(self, images: Inputs) -> dict[str, Tensor]:
        with torch.no_grad():
            self.run(*as_tuple(images))
        return self.found

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if n.name in self.names and isinstance(result, Tensor):
            self.found[n.name] = result.double().flatten(2).mean(2) if result.ndim > 2 else result.double()
        return result


def _count_right(features: Tensor, labels: Tensor) -> int:
    """Return how many images of either half are classified rightly by what is fitted to the other one."""
    halves = torch.arange(count_images(features), device=features.device) % 2 == 0
    wanted = F.one_hot(labels).double()
    right = 0
    for chosen in (halves, ~halves):
        mean, middle = features[chosen].mean(0), wanted[chosen].mean(0)
        x, y = features[chosen] - mean, wanted[chosen] - middle
        square = x.T @ x
        ridge = RIDGE * square.diagonal().mean().clamp_min(1e-30) * torch.eye(len(square)).to(square)
        fitted = torch.linalg.solve(square + ridge, x.T @ y)
        said = ((features[~chosen] - mean) @ fitted + middle).argmax(1)
        right += int((said == labels[~chosen]).sum())
    return right
