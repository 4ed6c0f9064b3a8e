"""Bytes of a network in one file with its weights at their entropy: of any candidate about, of a built one exactly."""

from __future__ import annotations

from torch import fx

from explorer.compress.candidate import Candidate
from explorer.compress.plan import collect_choices, count_kept_classes, plan
from explorer.evaluate.hardware import count_kept_float_bytes
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.packed.coded import code
from explorer.packed.network import packable

LEARNT = 1.0035
"""Bits of coded weights over their entropy, for priors that are no perfect fit (measured on ResNet-20: 1.0034)."""
FRAME_BYTES, LAYER_BYTES = 60.0, 26.0
"""Of a file, and of each layer with the quantiser of its input: names, shapes, prior (measured on ResNet-20)."""
CHANNEL_BYTES, STEPPED_BYTES = 4.3, 2.6
"""Bias and scale of a filter, and of one in a layer with a step, whose scale is short (measured on ResNet-20)."""


def count_coded_bytes(model: fx.GraphModule) -> int:
    """Return the bytes of the file of a network that is built, exactly."""
    return len(code(packable(model)).data)


def estimate_coded_bytes(entropies: WeightEntropies, candidate: Candidate) -> int:
    """Return about the bytes of the file of a candidate, without building it.

    Weights take the entropy of the integers to which they round to the nearest; adaptive rounding chooses others, which
    take about as much.
    """
    entropies = entropies.shortened(candidate.removed_blocks)
    graph = entropies.graph
    kept, choices = count_kept_classes(graph, candidate), collect_choices(graph, candidate)
    planned = plan(graph, candidate)
    total = FRAME_BYTES + count_kept_float_bytes(graph)
    for layer, built in zip(graph.layers, planned.layers, strict=True):
        choice = choices[layer.name]
        if not layer.shares_weights:
            bits = entropies.of_layer(layer, choice, kept, candidate.filters_by)
            total += LEARNT * bits * built.num_weights / 8
        total += LAYER_BYTES + built.out_channels * (CHANNEL_BYTES if choice.step is None else STEPPED_BYTES)
    return round(total)
