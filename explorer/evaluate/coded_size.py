"""Bytes of a network in one file with its weights at their entropy: of any candidate about, of a built one exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import collect_choices, count_kept_classes, plan
from explorer.evaluate.hardware import count_kept_float_bytes
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.modules import layer_module
from explorer.packed.coded import code, count_weight_bits
from explorer.packed.network import packable
from hwmodels import measure_entropy

WIDTHS = tuple(2.0**power for power in range(-4, 3))
"""Steps at which layers are coded beforehand, over the root mean square of their weights: 6 bits to next to none."""
FRAME_BYTES, LAYER_BYTES = 60.0, 26.0
"""Of a file, and of each layer with the quantiser of its input: names, shapes, prior (measured on ResNet-20)."""
CHANNEL_BYTES, STEPPED_BYTES = 4.3, 2.6
"""Bias and scale of a filter, and of one in a layer with a step, whose scale is short (measured on ResNet-20)."""


def count_coded_bytes(model: nn.Module) -> int:
    """Return the bytes of the file of a network that is built, exactly."""
    return len(code(packable(model)).data)


class CodedSizes:
    """Estimates of the bytes of a network's file for any candidate, without building it.

    Weights take the entropy of the integers to which they round to the nearest, times the share of it that the contexts
    of a coded file leave: that of the layer's whole float weights rounded to integers of the same entropy, between the
    entropies of a few steps in proportion. Adaptive rounding chooses other integers, which take about as much.
    """

    def __init__(self, context: CompressionContext) -> None:
        self._context, self._entropies = context, WeightEntropies(context)
        self._shares: dict[str, tuple[list[float], list[float]]] = {}

    def estimate(self, candidate: Candidate) -> int:
        """Return about the bytes of the file of a candidate."""
        entropies = self._entropies.shortened(candidate.removed_blocks)
        graph = entropies.graph
        kept, choices = count_kept_classes(graph, candidate), collect_choices(graph, candidate)
        planned = plan(graph, candidate)
        total = FRAME_BYTES + count_kept_float_bytes(graph)
        for layer, built in zip(graph.layers, planned.layers, strict=True):
            choice = choices[layer.name]
            if not layer.shares_weights:
                bits = entropies.of_layer(layer, choice, kept, candidate.filters_by)
                total += self._share(layer.name, bits) * bits * built.num_weights / 8
            total += LAYER_BYTES + built.out_channels * (CHANNEL_BYTES if choice.step is None else STEPPED_BYTES)
        return round(total)

    def of_whole(self, layer: str, choice: LayerChoice) -> float:
        """Return about the bits that a weight takes of a layer from whose network no filters are removed."""
        bits = self._entropies.of_whole(layer, choice)
        return self._share(layer, bits) * bits

    def _share(self, layer: str, entropy: float) -> float:
        """Return the bits of coded weights over their entropy."""
        if layer not in self._shares:
            weight = layer_module(self._context.model, layer).weight.detach().cpu().numpy()
            self._shares[layer] = _measure_shares(weight)
        return float(np.interp(entropy, *self._shares[layer]))


def _measure_shares(weight: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Return entropies, rising, and the bits of coded weights over them."""
    size, found = float(np.sqrt(np.square(weight).mean())), []
    for width in WIDTHS if size > 0 else ():
        codes = np.clip(np.round(weight / (width * size)), -127, 127).astype(np.int8)
        entropy = measure_entropy(codes)
        if entropy > 0:
            found.append((entropy, count_weight_bits(codes) / (entropy * codes.size)))
    entropies, shares = zip(*sorted(found), strict=True) if found else ((0.0,), (1.0,))
    return list(entropies), list(shares)
