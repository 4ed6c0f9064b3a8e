"""What all files of packed networks have in common: a kind, a deflated header, content and a checksum.

Layout, numbers little-endian:

    4 bytes     kind
    4 bytes     length of the header, unsigned
    header      JSON, deflated (RFC 1950): names, shapes and how to read what follows
    content     what the kind has of layers; the scales of the activation quantisers (float32); arrays of other
                parameters as they are
    4 bytes     CRC-32 (ISO 3309) of all that stands before
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExportError
from explorer.packed.records import PackedLayer, PackedNetwork, PackedQuantizer

_START, _CHECKSUM = struct.Struct("<4sI"), struct.Struct("<I")
LARGEST_HEADER = 2**26
"""Bytes of an inflated header, and the largest number of weights of a layer divided by 64 (assumed: no network that
is read comes near it, and a forged file cannot fill the memory)."""
OTHER_TYPES = ("<f4", "<f8", "<i4", "<i8", "|i1", "|u1", "|b1")
"""Types of other parameters."""


class Parts:
    """Takes one part after the other from the bytes of a file."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if not 0 <= count <= len(self.content) - self.place:
            raise ExportError(f"{count} bytes are needed at byte {self.place}, where {len(self.content)} are in all")
        self.place += count
        return self.content[self.place - count : self.place]


ReadLayers = Callable[[Mapping[str, Any], Parts], tuple[PackedLayer, ...]]
"""Reads all layers of a file's header and content."""


def join_parts(kind: bytes, network: PackedNetwork, header: Mapping[str, Any], body: list[bytes]) -> bytes:
    """Return the file of a network whose layers are described by `header` and stored in `body`.

    Raises:
        ValueError: For other parameters of a type that is not stored.
    """
    for name, values in network.others:
        if values.dtype.str not in OTHER_TYPES:
            raise ValueError(f"{name}: values of type {values.dtype} cannot be stored")
    whole = {
        **header,
        "quantizers": [[quantizer.name, quantizer.bits, quantizer.zero_point] for quantizer in network.quantizers],
        "others": [[name, values.dtype.str, list(values.shape)] for name, values in network.others],
    }
    scales = np.array([quantizer.scale for quantizer in network.quantizers], dtype="<f4").tobytes()
    text = zlib.compress(json.dumps(whole, separators=(",", ":")).encode(), 9)
    others = [values.tobytes() for _, values in network.others]
    content = b"".join((_START.pack(kind, len(text)), text, *body, scales, *others))
    return content + _CHECKSUM.pack(zlib.crc32(content))


def split_parts(data: bytes, kinds: Mapping[bytes, ReadLayers]) -> PackedNetwork:
    """Rebuild the network of a file, its layers read as its kind says.

    Raises:
        ExportError: For anything else than the whole of such a file.
    """
    if len(data) < _START.size + _CHECKSUM.size or data[:4] not in kinds:
        raise ExportError(
            f"it is no packed network (its first bytes are not {' or '.join(kind.decode() for kind in kinds)})"
        )
    content, (checksum,) = data[: -_CHECKSUM.size], _CHECKSUM.unpack(data[-_CHECKSUM.size :])
    if zlib.crc32(content) != checksum:
        raise ExportError("its checksum is not that of its content: it is damaged or cut off")
    try:
        return _read(content, kinds[data[:4]])
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, RecursionError, zlib.error) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"its header does not describe its content ({type(error).__name__})") from error


def read_shape(sizes: list[int], least: int = 1) -> tuple[int, ...]:
    """Return the shape that a header states; ExportError where it is none."""
    shape = tuple(int(size) for size in sizes)
    if len(shape) < least or any(size < least for size in shape) or math.prod(shape) > 64 * LARGEST_HEADER:
        raise ExportError(f"{shape} is no shape of stored numbers")
    return shape


def _read(content: bytes, read_layers: ReadLayers) -> PackedNetwork:
    _, length = _START.unpack_from(content)
    start = _START.size + length
    inflater = zlib.decompressobj()
    text = inflater.decompress(content[_START.size : start], LARGEST_HEADER)
    if start > len(content) or not inflater.eof:
        raise ExportError("its header is damaged")
    header, parts = json.loads(text), Parts(content, start)
    layers = read_layers(header, parts)
    scales = np.frombuffer(parts.take(4 * len(header["quantizers"])), "<f4").tolist()
    quantizers = tuple(
        PackedQuantizer(name=str(name), bits=int(bits), scale=scale, zero_point=int(zero_point))
        for (name, bits, zero_point), scale in zip(header["quantizers"], scales, strict=True)
    )
    others = tuple(_read_other(str(name), kind, shape, parts) for name, kind, shape in header["others"])
    if parts.place != len(content):
        raise ExportError(f"{len(content) - parts.place} of its bytes belong to nothing")
    return PackedNetwork(layers=layers, quantizers=quantizers, others=others)


def _read_other(name: str, kind: str, shape: list[int], parts: Parts) -> tuple[str, NDArray[Any]]:
    if kind not in OTHER_TYPES:
        raise ExportError(f"{name!r} is of type {kind!r}, which is not stored")
    dtype = np.dtype(kind)
    sizes = read_shape(shape, least=0)
    return name, np.frombuffer(parts.take(dtype.itemsize * math.prod(sizes)), dtype).reshape(sizes)
