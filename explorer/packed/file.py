"""A compressed network in one binary file, every byte of it counted, and back to the very same integers.

Layout, numbers little-endian:

    4 bytes     "XPK1"
    4 bytes     length of the header, unsigned
    header      JSON, deflated (RFC 1950): names, shapes and how to read what follows
    body        for each layer: codebooks, tables, indices, runs (`explorer.packed.weight_streams`), its scales
                (float32, one for each output channel, or a single one if all are equal), its biases (whole numbers on
                the grid of the 32-bit sums, zigzag and 7 bits to a byte); the scales of the activation quantisers
                (float32); arrays of other parameters as they are
    4 bytes     CRC-32 (ISO 3309) of all that stands before
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float32Array
from explorer.errors import ExportError
from explorer.files import replaced
from explorer.packed.weight_streams import STREAMS, WeightStreams, decode_weights, encode_weights

MAGIC = b"XPK1"
_START, _CHECKSUM = struct.Struct("<4sI"), struct.Struct("<I")
LARGEST_HEADER = 2**26
"""Bytes of an inflated header, and the largest number of weights of a layer divided by 64 (assumed: no network that
is read comes near it, and a forged file cannot fill the memory)."""
OTHER_TYPES = ("<f4", "<f8", "<i4", "<i8", "|i1", "|u1", "|b1")
"""Types of other parameters."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedLayer:
    """One layer: `codes` (int8, out_channels x ...), `scales` (float32, out_channels), `biases` (int32) or None."""

    name: str
    codes: NDArray[np.int8]
    scales: Float32Array
    biases: NDArray[np.int32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedQuantizer:
    """One activation quantiser; `scale` is a float32 number."""

    name: str
    bits: int
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedNetwork:
    """The integers of a whole network; `others` are what is neither a layer's nor a quantiser's, by name."""

    layers: tuple[PackedLayer, ...]
    quantizers: tuple[PackedQuantizer, ...]
    others: tuple[tuple[str, NDArray[Any]], ...] = ()


class LayerSize(NamedTuple):
    """What one layer takes in the file, in bytes, and what of it is coded; the header is counted apart."""

    layer: str
    num_weights: int
    num_nonzero: int
    entries: int
    """Coded indices: all weights, or those that are not zero and fillers."""
    num_values: int
    """Distinct codes, zero among them where a weight is zero."""
    codebook_bytes: int
    table_bytes: int
    index_bytes: int
    run_bytes: int
    scale_bytes: int
    bias_bytes: int
    float32_bytes: int
    """Weights, and a bias for each output channel that has one."""

    @property
    def size_bytes(self) -> int:
        """All bytes of the layer."""
        return sum(getattr(self, name) for name in self._fields if name.endswith("_bytes") and name != "float32_bytes")


class Packing(NamedTuple):
    """The bytes of a file, what each layer takes of them, and what is left: header, quantisers, others, checksum."""

    data: bytes
    layers: tuple[LayerSize, ...]

    @property
    def frame_bytes(self) -> int:
        """Bytes that are no layer's."""
        return len(self.data) - sum(layer.size_bytes for layer in self.layers)


def pack(network: PackedNetwork) -> Packing:
    """Code a network.

    Raises:
        ValueError: For codes beyond -127..127 or other parameters of a type that is not stored.
    """
    headers, body, sizes = [], [], []
    for layer in network.layers:
        streams = encode_weights(layer.codes)
        scales = layer.scales[:1] if len(np.unique(layer.scales.view(np.uint32))) == 1 else layer.scales
        biases = b"" if layer.biases is None else _from_integers(layer.biases)
        parts = [*(getattr(streams, name) for name in STREAMS), scales.astype("<f4").tobytes(), biases]
        headers.append(
            {
                "name": layer.name,
                "shape": list(layer.codes.shape),
                **streams.layout,
                "bias": layer.biases is not None,
                "bytes": [len(part) for part in parts],
            }
        )
        body += parts
        sizes.append(_layer_size(layer, streams, parts))
    for name, values in network.others:
        if values.dtype.str not in OTHER_TYPES:
            raise ValueError(f"{name}: values of type {values.dtype} cannot be stored")
    body.append(np.array([quantizer.scale for quantizer in network.quantizers], dtype="<f4").tobytes())
    body += [values.tobytes() for _, values in network.others]
    header = {
        "layers": headers,
        "quantizers": [[quantizer.name, quantizer.bits, quantizer.zero_point] for quantizer in network.quantizers],
        "others": [[name, values.dtype.str, list(values.shape)] for name, values in network.others],
    }
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    content = b"".join((_START.pack(MAGIC, len(text)), text, *body))
    return Packing(content + _CHECKSUM.pack(zlib.crc32(content)), tuple(sizes))


def unpack(data: bytes) -> PackedNetwork:
    """Rebuild the network that was packed, bit for bit.

    Raises:
        ExportError: For anything else than the whole of such a file.
    """
    if len(data) < _START.size + _CHECKSUM.size or data[: len(MAGIC)] != MAGIC:
        raise ExportError("it is no packed network (its first bytes are not XPK1)")
    content, (checksum,) = data[: -_CHECKSUM.size], _CHECKSUM.unpack(data[-_CHECKSUM.size :])
    if zlib.crc32(content) != checksum:
        raise ExportError("its checksum is not that of its content: it is damaged or cut off")
    try:
        return _read(content)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, RecursionError, zlib.error) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"its header does not describe its content ({type(error).__name__})") from error


def write_packed(network: PackedNetwork, path: Path) -> Packing:
    """Write a network to a file, whole or not at all; the file has exactly the bytes that are returned."""
    packing = pack(network)
    with replaced(path) as file:
        file.write(packing.data)
    return packing


def read_packed(path: Path) -> PackedNetwork:
    """Read what `write_packed` wrote.

    Raises:
        ExportError: Names the file and what is wrong with it.
    """
    try:
        return unpack(path.read_bytes())
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from error
    except ExportError as error:
        raise ExportError(f"{path}: {error}; write the network again") from error


def _layer_size(layer: PackedLayer, streams: WeightStreams, parts: list[bytes]) -> LayerSize:
    codebooks, tables, indices, runs, scales, biases = (len(part) for part in parts)
    return LayerSize(
        layer=layer.name,
        num_weights=layer.codes.size,
        num_nonzero=int(np.count_nonzero(layer.codes)),
        entries=int(streams.layout["entries"]),
        num_values=len(np.unique(layer.codes)),
        codebook_bytes=codebooks,
        table_bytes=tables,
        index_bytes=indices,
        run_bytes=runs,
        scale_bytes=scales,
        bias_bytes=biases,
        float32_bytes=4 * (layer.codes.size + (0 if layer.biases is None else len(layer.biases))),
    )


def _read(content: bytes) -> PackedNetwork:
    _, length = _START.unpack_from(content)
    start = _START.size + length
    inflater = zlib.decompressobj()
    text = inflater.decompress(content[_START.size : start], LARGEST_HEADER)
    if start > len(content) or not inflater.eof:
        raise ExportError("its header is damaged")
    header, parts = json.loads(text), _Parts(content, start)
    layers = tuple(_read_layer(entry, parts) for entry in header["layers"])
    scales = np.frombuffer(parts.take(4 * len(header["quantizers"])), "<f4").tolist()
    quantizers = tuple(
        PackedQuantizer(name=str(name), bits=int(bits), scale=scale, zero_point=int(zero_point))
        for (name, bits, zero_point), scale in zip(header["quantizers"], scales, strict=True)
    )
    others = tuple(_read_other(str(name), kind, shape, parts) for name, kind, shape in header["others"])
    if parts.place != len(content):
        raise ExportError(f"{len(content) - parts.place} of its bytes belong to nothing")
    return PackedNetwork(layers=layers, quantizers=quantizers, others=others)


class _Parts:
    """Takes one part after the other from the bytes of a file."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if not 0 <= count <= len(self.content) - self.place:
            raise ExportError(f"{count} bytes are needed at byte {self.place}, where {len(self.content)} are in all")
        self.place += count
        return self.content[self.place - count : self.place]


def _read_layer(entry: dict[str, Any], parts: _Parts) -> PackedLayer:
    shape = _shape(entry["shape"])
    stored = [parts.take(int(count)) for count in entry["bytes"]]
    streams, (scales, biases) = dict(zip(STREAMS, stored, strict=False)), stored[len(STREAMS) :]
    values = np.frombuffer(scales, "<f4").astype(np.float32)
    if len(values) not in (1, shape[0]):
        raise ExportError(f"layer {entry['name']!r} has {shape[0]} channels, but {len(values)} scales")
    return PackedLayer(
        name=str(entry["name"]),
        codes=decode_weights(entry, streams, shape),
        scales=np.broadcast_to(values, shape[:1]).copy(),
        biases=_integers(biases, shape[0]) if entry["bias"] else None,
    )


def _read_other(name: str, kind: str, shape: list[int], parts: _Parts) -> tuple[str, NDArray[Any]]:
    if kind not in OTHER_TYPES:
        raise ExportError(f"{name!r} is of type {kind!r}, which is not stored")
    dtype = np.dtype(kind)
    sizes = _shape(shape, least=0)
    return name, np.frombuffer(parts.take(dtype.itemsize * math.prod(sizes)), dtype).reshape(sizes)


def _shape(sizes: list[int], least: int = 1) -> tuple[int, ...]:
    shape = tuple(int(size) for size in sizes)
    if len(shape) < least or any(size < least for size in shape) or math.prod(shape) > 64 * LARGEST_HEADER:
        raise ExportError(f"{shape} is no shape of stored numbers")
    return shape


def _from_integers(values: NDArray[np.int32]) -> bytes:
    """Return whole numbers as bytes: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...; 7 bits to a byte, the low ones first."""
    stored = bytearray()
    for value in values.tolist():
        left = 2 * value if value >= 0 else -2 * value - 1
        while left > 127:
            stored.append(left & 127 | 128)
            left >>= 7
        stored.append(left)
    return bytes(stored)


def _integers(stored: bytes, count: int) -> NDArray[np.int32]:
    found = [left >> 1 if left % 2 == 0 else -(left >> 1) - 1 for left in _naturals(stored)]
    if len(found) != count:
        raise ExportError(f"{count} biases are needed, {len(found)} are there")
    return np.array(found, dtype=np.int32)


def _naturals(stored: bytes) -> Iterator[int]:
    value, place = 0, 0
    for byte in stored:
        value |= (byte & 127) << place
        place += 7
        if byte < 128:
            yield value
            value, place = 0, 0
    if place:
        raise ExportError("the last bias is cut off")
