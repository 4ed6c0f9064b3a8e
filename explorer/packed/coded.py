"""A compressed network with its weights at their entropy, in one binary file, and back to the very same integers.

The content of the kind "XPE1" (`explorer.packed.container` has the rest): the scale of the first filter of each layer
(float32), and one stream of a range coder (`explorer.packed.range_coding`), its words little-endian, with the weights
of all layers, each under the prior that the header states and, where it states coefficients, in the contexts of
`explorer.packed.contexts`, but for those that an earlier layer has, too; then the biases of all, then the scales of all
as differences of their float32 bit patterns, without the bits that are zero in all of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float32Array, Int64Array
from explorer.errors import ExportError
from explorer.files import replaced
from explorer.packed.container import Parts, join_parts, read_shape
from explorer.packed.contexts import Coefficients, fit_coefficients, has_kernels, is_valid, transfer_kernels
from explorer.packed.range_coding import Prior, Reader, Writer, fit_prior
from explorer.packed.records import PackedLayer, PackedNetwork

MAGIC = b"XPE1"
LARGEST_LAYER = 2**26
"""Weights (assumed: no layer that is read has as many, and a forged file cannot fill the memory)."""
ONE_SCALE = 32
"""In place of a number of zero bits: all scales of the layer are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """The bytes of a file, and how many bits of them code what; the rest are the header, quantisers and checksum.

    `weight_bits` are those of each layer by its name.
    """

    data: bytes
    weight_bits: Mapping[str, int]
    bias_bits: int
    scale_bits: int

    @property
    def summary(self) -> str:
        """Return one line."""
        weights = sum(self.weight_bits.values()) / 8
        biases, scales = self.bias_bits / 8, self.scale_bits / 8
        rest = len(self.data) - weights - biases - scales
        return (
            f"{len(self.data):,} bytes: weights {weights:,.0f}, biases {biases:,.0f}, scales {scales:,.0f}, names, "
            f"shapes, priors, quantisers and checksum {rest:,.0f}"
        )


def code(network: PackedNetwork) -> Coding:
    """Code a network.

    Raises:
        ValueError: For other parameters of a type that is not stored.
    """
    writer, headers, bits = Writer(), [], {}
    for index, layer in enumerate(network.layers):
        before, same = writer.num_bits, _find_equal(network.layers, index)
        if same is None:
            prior, coefficients = fit_prior(layer.codes), find_coefficients(layer.codes)
            write_weights(writer, layer.codes, prior, coefficients)
            told = [prior.limit, prior.spread, prior.bend, *coefficients]
        else:
            told = [-1 - same, 0, 0]
        bits[layer.name] = writer.num_bits - before
        shape = [int(size) for size in layer.codes.shape]
        headers.append([layer.name, shape, int(layer.biases is not None), _count_zeros(layer.scales), *told])
    before = writer.num_bits
    writer.numbers(_joined([layer.biases for layer in network.layers if layer.biases is not None]))
    between = writer.num_bits
    writer.numbers(_joined([_differences(layer.scales) for layer in network.layers]))
    first = np.array([layer.scales[0] for layer in network.layers], dtype="<f4")
    bias_bits, scale_bits = between - before, writer.num_bits - between + 8 * first.nbytes
    stream = writer.data()
    data = join_parts(MAGIC, network, {"layers": headers, "bytes": len(stream)}, [first.tobytes(), stream])
    return Coding(data=data, weight_bits=bits, bias_bits=bias_bits, scale_bits=scale_bits)


def find_coefficients(codes: NDArray[np.int8]) -> Coefficients:
    """Return with which coefficients a layer's weights are coded in contexts; none where they are shorter without."""
    if not has_kernels(codes.shape) or not codes.any():
        return ()
    tried = ((), fit_coefficients(codes))
    return min(tried, key=lambda coefficients: _count_bits(codes, coefficients))


def count_weight_bits(codes: NDArray[np.int8]) -> int:
    """Return the bits that a layer's weights take, up to a word of the coder."""
    return _count_bits(codes, find_coefficients(codes))


def _count_bits(codes: NDArray[np.int8], coefficients: Coefficients) -> int:
    writer = Writer()
    write_weights(writer, codes, fit_prior(codes), coefficients)
    return writer.num_bits


def write_weights(writer: Writer, codes: NDArray[np.int8], prior: Prior, coefficients: Coefficients) -> None:
    """Code a layer's weights in the contexts that coefficients ask for, one after the other where there are none."""
    if not coefficients:
        writer.bell(codes, prior)
        return
    transfer_kernels(codes.astype(np.int64), prior, coefficients, writer)


def write_coded(network: PackedNetwork, path: Path) -> Coding:
    """Write a network to a file, whole or not at all; the file has exactly the bytes that are returned."""
    coding = code(network)
    with replaced(path) as file:
        file.write(coding.data)
    return coding


def read_layers(header: Mapping[str, Any], parts: Parts) -> tuple[PackedLayer, ...]:
    """Return the layers that `code` wrote; ExportError where content and header do not fit together."""
    stated = [_Stated.of(entry) for entry in header["layers"]]
    first = np.frombuffer(parts.take(4 * len(stated)), "<f4").astype(np.float32)
    reader = Reader(parts.take(int(header["bytes"])))
    codes: list[NDArray[np.int8]] = []
    for layer in stated:
        if layer.same_as is None:
            codes.append(_read_weights(reader, layer))
        elif layer.same_as < len(codes) and codes[layer.same_as].shape == layer.shape:
            codes.append(codes[layer.same_as].copy())
        else:
            raise ExportError(f"layer {layer.name!r} has weights of no layer before it; the data are damaged")
    counts = [layer.shape[0] if layer.has_biases else 0 for layer in stated]
    biases = _split(reader.numbers(sum(counts)), counts)
    steps = [0 if layer.zeros == ONE_SCALE else layer.shape[0] - 1 for layer in stated]
    differences = _split(reader.numbers(sum(steps)), steps)
    return tuple(
        PackedLayer(
            name=layer.name,
            codes=codes[index],
            scales=_scales(first[index], differences[index], layer),
            biases=_as_int32(biases[index]) if layer.has_biases else None,
        )
        for index, layer in enumerate(stated)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What the header says of a layer."""

    name: str
    shape: tuple[int, ...]
    has_biases: bool
    zeros: int
    prior: Prior
    coefficients: Coefficients
    same_as: int | None
    """The layer whose weights it has, None where they are its own."""

    @classmethod
    def of(cls, entry: Any) -> _Stated:
        name, shape, has_biases, *numbers = entry
        zeros, limit, spread, bend, *coefficients = (int(number) for number in numbers)
        same_as = -1 - limit if limit < 0 else None
        if not (0 <= zeros <= ONE_SCALE and limit <= 127 and 0 <= spread <= 255 and 0 <= bend <= 255):
            raise ExportError(f"layer {name!r} is described by numbers that none is coded with; the data are damaged")
        if coefficients and (not is_valid(coefficients) or not limit or not has_kernels(read_shape(shape))):
            raise ExportError(f"layer {name!r} is coded in contexts that it has not; the data are damaged")
        if math.prod(read_shape(shape)) > LARGEST_LAYER:
            raise ExportError(f"layer {name!r} is larger than any that is coded; the data are damaged")
        return cls(
            name=str(name),
            shape=read_shape(shape),
            has_biases=bool(has_biases),
            zeros=zeros,
            prior=Prior(limit=max(0, limit), spread=spread, bend=bend),
            coefficients=tuple(coefficients),
            same_as=same_as,
        )


def _read_weights(reader: Reader, layer: _Stated) -> NDArray[np.int8]:
    codes = np.zeros(layer.shape, dtype=np.int64)
    if layer.coefficients:
        return transfer_kernels(codes, layer.prior, layer.coefficients, reader).astype(np.int8)
    return reader.bell(codes, layer.prior).astype(np.int8)


def _find_equal(layers: Sequence[PackedLayer], index: int) -> int | None:
    """Return the first layer before one that has the same weights; None where there is none."""
    own = layers[index].codes
    return next((place for place in range(index) if np.array_equal(layers[place].codes, own)), None)


def _count_zeros(scales: Float32Array) -> int:
    """Return how many of the lowest bits are zero in all scales; ONE_SCALE where these are equal."""
    bits = scales.astype(np.float32).view(np.uint32)
    if (bits == bits[0]).all():
        return ONE_SCALE
    together = int(np.bitwise_or.reduce(bits))
    return (together & -together).bit_length() - 1


def _differences(scales: Float32Array) -> Int64Array:
    zeros = _count_zeros(scales)
    if zeros == ONE_SCALE:
        return np.zeros(0, dtype=np.int64)
    return np.diff(scales.astype(np.float32).view(np.uint32).astype(np.int64) >> zeros)


def _scales(first: np.float32, differences: Int64Array, layer: _Stated) -> Float32Array:
    start = int(np.array(first).view(np.uint32))
    if layer.zeros == ONE_SCALE:
        return np.full(layer.shape[0], first, dtype=np.float32)
    bits = (start >> layer.zeros) + np.cumsum(np.concatenate((np.zeros(1, dtype=np.int64), differences)))
    if bits.min() < 0 or int(bits.max()) << layer.zeros >= 2**32:
        raise ExportError(f"layer {layer.name!r} has scales that are no numbers; the data are damaged")
    return (bits << layer.zeros).astype(np.uint32).view(np.float32)


def _joined(parts: list[NDArray[Any]]) -> Int64Array:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(part.astype(np.int64) for part in parts)])


def _split(values: Int64Array, counts: list[int]) -> list[Int64Array]:
    return np.split(values, np.cumsum(counts)[:-1]) if counts else []


def _as_int32(values: Int64Array) -> NDArray[np.int32]:
    if values.size and int(np.abs(values).max()) >= 2**31:
        raise ExportError("a bias is beyond 32 bits; the data are damaged")
    return values.astype(np.int32)
