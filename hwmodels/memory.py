"""Bytes that weights take in storage, in each of three formats, and that activations take at their peak.

Formats (Han et al., ICLR 2016, for shared and sparse weights): dense packs each output channel's weights to
whole bytes; codebook stores an index for each weight and the table of values once; bitmap stores one bit
for each weight and the values of those that are not zero. All add a 4-byte bias (if there is one) and a
4-byte scale for each output channel; float32 weights have no scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hwmodels.arrays import FloatArray, IntArray, IntLike, ceil_div
from hwmodels.layer import MAXIMUM_BITS, ActivationTensor, LayerArrays

WEIGHT_FORMATS = ("dense", "codebook", "bitmap")
"""In the order of preference when two are equally small: the simpler one to decode first."""

BIAS_BYTES = 4
SCALE_BYTES = 4

_INAPPLICABLE = np.iinfo(np.int64).max // 64
"""Size of a format that a layer cannot use: larger than anything, yet safe to convert to bits."""


class StoredWeights(NamedTuple):
    """Sizes of `... x layers` weight tensors, biases and scales included."""

    bytes_by_format: IntArray
    """`formats x ... x layers`, in the order of WEIGHT_FORMATS; enormous where a format does not apply."""
    smallest_bytes: IntArray
    smallest_format: IntArray
    """Index into WEIGHT_FORMATS."""

    def smallest_of(self, formats: Sequence[str]) -> IntArray:
        """Return the smallest size in bytes among the named formats, `... x layers`."""
        chosen = [WEIGHT_FORMATS.index(name) for name in formats]
        smallest: IntArray = self.bytes_by_format[chosen].min(axis=0)
        return smallest


def stored_weights(layers: LayerArrays) -> StoredWeights:
    """Return the size of every layer's weights in each format, and which one is the smallest."""
    channels = layers.n * layers.groups
    weights = layers.k * channels
    per_channel = layers.bias * BIAS_BYTES + (layers.weight_bits < MAXIMUM_BITS) * SCALE_BYTES
    sizes = np.stack(
        [
            dense_bytes(layers.k, channels, layers.weight_bits),
            codebook_bytes(weights, layers.weight_bits, layers.codebook_size),
            bitmap_bytes(weights, layers.weight_bits, layers.density),
        ]
    )
    sizes = sizes + channels * per_channel
    return StoredWeights(sizes, sizes.min(axis=0), sizes.argmin(axis=0))


def dense_bytes(weights_per_channel: IntLike, channels: IntLike, bits: IntLike) -> IntArray:
    """Return channels * ceil(weights_per_channel * bits / 8): each channel starts on a whole byte."""
    return channels * ceil_div(weights_per_channel * np.asarray(bits), 8)


def codebook_bytes(weights: IntLike, bits: IntLike, codebook_size: IntLike) -> IntArray:
    """Return bytes for weights * ceil(log2 codebook_size) + codebook_size * bits; inapplicable for size 0."""
    size = np.asarray(codebook_size)
    index_bits = np.ceil(np.log2(np.maximum(size, 1))).astype(np.int64)
    packed = ceil_div(weights * index_bits + size * bits, 8)
    return np.where(size > 0, packed, _INAPPLICABLE)


def bitmap_bytes(weights: IntLike, bits: IntLike, density: FloatArray | float) -> IntArray:
    """Return bytes for weights + nonzero weights * bits; inapplicable for density 1 (nothing to skip)."""
    # Densities are ratios of counts: round before the ceiling, or 3 of 10 weights may count as 4.
    nonzero = np.ceil(np.round(np.asarray(density) * weights, 6)).astype(np.int64)
    packed = ceil_div(weights + nonzero * bits, 8)
    return np.where(np.asarray(density) < 1.0, packed, _INAPPLICABLE)


def peak_activation_bytes(tensors: Sequence[ActivationTensor]) -> int:
    """Return the largest sum, over the layer steps, of the whole bytes of all activations alive at that step.

    Liveness alone: what a perfect allocator needs, with neither alignment nor fragmentation; 0 for no
    tensors.
    """
    if not tensors:
        return 0
    table = np.array([(t.elements, t.bits, t.first_step, t.last_step) for t in tensors], dtype=np.int64)
    elements, bits, first, last = table.T
    sizes = ceil_div(elements * bits, 8)
    change = np.zeros(int(last.max()) + 2, dtype=np.int64)
    np.add.at(change, first, sizes)
    np.add.at(change, last + 1, -sizes)
    return int(change.cumsum().max())
