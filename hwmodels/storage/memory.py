"""Bytes that weights take in storage, in each of seven formats, and which format is the smallest.

Formats (Han et al., ICLR 2016, for shared and sparse weights): dense packs each output channel's weights to
whole bytes; codebook stores an index for each weight and the tables of values; codebook_huffman gives frequent
indices shorter codes; bitmap, relative_index and csr leave out weights that are zero (`hwmodels.storage.sparse`).
These add a 4-byte bias (if there is one) and a 4-byte scale for each output channel; float32 weights have no scale.
entropy is a compiler's own code with its own scales (`hwmodels.storage.entropy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray, IntLike
from hwmodels.storage.entropy import BITS_PER_ENTROPY_BIT, CHANNEL_BYTES, entropy_bytes
from hwmodels.storage.huffman import CODE_LENGTH_BITS
from hwmodels.storage.sparse import (
    bitmap_bytes,
    count_nonzero,
    csr_bytes,
    index_bits,
    relative_index_bytes,
    round_up,
    whole_bytes,
)
from hwmodels.workload.layer import MAXIMUM_BITS
from hwmodels.workload.layer_arrays import LayerArrays

WEIGHT_FORMATS = ("dense", "codebook", "codebook_huffman", "bitmap", "relative_index", "csr", "entropy")
"""In the order of preference when two are equally small: the simpler one to decode first."""
PACKED_FORMATS = WEIGHT_FORMATS[:-1]
"""Those that software can unpack. A compiler codes weights at their entropy for the device that decodes them only."""

BIAS_BYTES = 4
"""One 32-bit integer, or float, for each output channel (TensorFlow Lite's 8-bit quantisation specification)."""
SCALE_BYTES = 4
"""One float32 for each output channel (the same specification)."""

_INAPPLICABLE = np.iinfo(np.int64).max // 64
"""Size of a format that a layer cannot use: larger than anything, yet safe to convert to bits."""


class StoredWeights(NamedTuple):
    """Sizes of `... x layers` weight tensors, biases and scales included; 0 for a layer that stores none.

    The smallest is that of the formats that were to choose from.
    """

    bytes_by_format: IntArray
    """`formats x ... x layers`, in the order of WEIGHT_FORMATS; enormous where a format does not apply."""
    smallest_bytes: IntArray
    smallest_format: IntArray
    """Index into WEIGHT_FORMATS."""

    def find_smallest(self, formats: Sequence[str]) -> IntArray:
        """Return the smallest size in bytes among the named formats, `... x layers`."""
        chosen = [WEIGHT_FORMATS.index(name) for name in formats]
        smallest: IntArray = self.bytes_by_format[chosen].min(axis=0)
        return smallest


def measure_weights(
    layers: LayerArrays, formats: Sequence[str] = PACKED_FORMATS, coded_weights: IntArray | None = None
) -> StoredWeights:
    """Return the size of every layer's weights in each format, and which one of `formats` is the smallest.

    A codebook needs a `codebook_size`, Huffman codes `index_code_bits` too, and a sparse format a density below 1;
    arrays are of the layers' common shape. Layers that store no weights have 0 bytes in every format. The format
    "entropy" is measured if it is among `formats`, for as many `coded_weights` as the device's compiler makes of a
    layer's; where an entropy is unknown, the coder is taken to gain nothing over weights of their width.
    """
    channels = layers.n * layers.groups
    biases = channels // layers.columns_per_channel
    per_channel = layers.bias * BIAS_BYTES + (layers.weight_bits < MAXIMUM_BITS) * SCALE_BYTES
    packed = [
        _Packed("dense", dense_bytes(layers.k, channels, layers.weight_bits), np.True_),
        *_shared(layers),
        *_sparse(layers),
    ]
    if "entropy" in formats:
        packed.append(_Packed("entropy", _coded(layers, coded_weights), np.True_))
    sizes = np.full((len(WEIGHT_FORMATS), *layers.shape), _INAPPLICABLE)
    for entry in packed:
        size = entry.size_bytes + biases * (CHANNEL_BYTES if entry.name == "entropy" else per_channel)
        sizes[WEIGHT_FORMATS.index(entry.name)] = np.where(entry.applies, size, _INAPPLICABLE)
    if not layers.stores_weights.all():
        np.copyto(sizes, 0, where=~layers.stores_weights)
    first, *others = [WEIGHT_FORMATS.index(entry.name) for entry in packed if entry.name in formats]
    smallest, smallest_format = sizes[first], np.full(layers.shape, first)
    for index in others:
        # Formats come in rising order: the last one that was smaller than all before is the largest such index.
        smallest_format = np.maximum(smallest_format, (sizes[index] < smallest) * index)
        smallest = np.minimum(smallest, sizes[index])
    return StoredWeights(sizes, smallest, smallest_format)


class _Packed(NamedTuple):
    """One format's bytes, and for which layers they hold; shapes broadcast."""

    name: str
    size_bytes: IntArray
    applies: BoolArray | np.bool_


def _shared(layers: LayerArrays) -> list[_Packed]:
    """Return the formats with a codebook; none where no layer has one."""
    shared = layers.codebook_size > 0
    if not shared.any():
        return []
    weights, bits, size = layers.k * layers.n * layers.groups, layers.weight_bits, layers.codebook_size
    tables = layers.codebooks
    packed = [_Packed("codebook", codebook_bytes(weights, bits, size, tables), shared)]
    coded = shared & (layers.index_code_bits > 0)
    if coded.any():
        coded_bytes = codebook_huffman_bytes(weights, bits, size, layers.index_code_bits, tables)
        packed.append(_Packed("codebook_huffman", coded_bytes, coded))
    return packed


def _sparse(layers: LayerArrays) -> list[_Packed]:
    """Return the formats that leave out zeros; none where no layer has any."""
    sparse = layers.density < 1.0
    if not sparse.any():
        return []
    channels, bits = layers.n * layers.groups, layers.weight_bits
    weights = layers.k * channels
    nonzero = count_nonzero(weights, layers.density)
    return [
        _Packed("bitmap", bitmap_bytes(weights, nonzero, bits), sparse),
        _Packed("relative_index", relative_index_bytes(weights, nonzero, bits), sparse),
        _Packed("csr", csr_bytes(layers.k, channels, nonzero, bits), sparse),
    ]


def assume_entropy(layers: LayerArrays) -> FloatArray:
    """Return the entropies of weights in bits; where one is unknown, that of which their width is the code."""
    return np.where(layers.entropy_bits > 0, layers.entropy_bits, layers.weight_bits / BITS_PER_ENTROPY_BIT)


def _coded(layers: LayerArrays, coded_weights: IntArray | None) -> IntArray:
    """Return the bytes of the format entropy, without what it takes for each channel."""
    weights = layers.k * layers.n * layers.groups
    bits = assume_entropy(layers)
    if coded_weights is None:
        return entropy_bytes(weights, bits)
    return entropy_bytes(weights, bits, density=layers.density, coded_weights=coded_weights)


def dense_bytes(weights_per_channel: IntLike, channels: IntLike, bits: IntLike) -> IntArray:
    """Return channels * ceil(weights_per_channel * bits / 8): each channel starts on a whole byte."""
    return channels * whole_bytes(weights_per_channel * np.asarray(bits))


def codebook_bytes(weights: IntLike, bits: IntLike, codebook_size: IntLike, codebooks: IntLike = 1) -> IntArray:
    """Return bytes for weights * ceil(log2 codebook_size) + codebooks * codebook_size * bits; sizes are at least 1.

    Example:
        >>> import hwmodels
        >>> int(hwmodels.codebook_bytes(weights=1000, bits=8, codebook_size=16))
        516
    """
    return whole_bytes(weights * index_bits(codebook_size) + codebooks * codebook_size * np.asarray(bits))


def codebook_huffman_bytes(
    weights: IntLike,
    bits: IntLike,
    codebook_size: IntLike,
    index_code_bits: FloatArray | float,
    codebooks: IntLike = 1,
) -> IntArray:
    """Return bytes for weights * index_code_bits + codebook_size * (codebooks * bits + 8), for sizes of at least 1.

    `index_code_bits` is the mean length of an index's code, as of `mean_code_bits`. The code table is one length of 8
    bits for each index, from which a decoder rebuilds a canonical code: assumed. Codebooks of several channels have the
    code in common.

    Example:
        >>> import hwmodels
        >>> int(hwmodels.codebook_huffman_bytes(weights=1000, bits=8, codebook_size=16, index_code_bits=3.2))
        432
    """
    indices = round_up(np.asarray(index_code_bits, dtype=np.float64) * weights)
    return whole_bytes(indices + codebook_size * (codebooks * np.asarray(bits) + CODE_LENGTH_BITS))
