"""Signal to quantisation noise: what an error counts relative to the size of what it is an error of."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.activations import find_layer_nodes, watch
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def sqnr(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return multipliers under which a layer's estimated loss is its noise power over its signal power, 1/SQNR.

    For weights W with error dW that is ||dW||^2 / ||W||^2 (Lin et al., 2016), so that every multiplier of a
    layer is 1 / ||W||; the weights are those of the layer itself, without its batch norm. For inputs x with errors dx
    of equal size it is ||dx||^2 over the mean of ||x||^2 on the sample: an element's multiplier is the root of its
    reciprocal, and a channel's the sum over its positions. Where there is no signal multipliers are 0. Without unit.
    """
    powers: defaultdict[str, float] = defaultdict(float)
    positions: dict[str, int] = {}
    nodes = {name: node.all_input_nodes[0] for name, node in find_layer_nodes(sample).items()}

    def see(name: str, given: Tensor) -> None:
        powers[name] += float(given.double().square().sum())
        positions[name] = given.numel() // sum_per_channel(layer_module(sample.model, name), given).numel()

    watch(sample, nodes, see, progress)
    layers = []
    for name in nodes:
        weight = layer_module(sample.model, name).weight.detach()
        of_input = positions[name] * _inverse_root(powers[name] / len(sample))
        layers.append(
            build_layer_relevance(
                sample,
                name,
                weight_multipliers=torch.full_like(weight, _inverse_root(float(weight.double().square().sum()))),
                input_multipliers=weight.new_full((sample.graph.layer(name).in_channels,), of_input),
            )
        )
    return build_relevance(sample, "sqnr", tuple(layers))


def _inverse_root(power: float) -> float:
    return power**-0.5 if power > 0 else 0.0
