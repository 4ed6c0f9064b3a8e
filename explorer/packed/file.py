"""A compressed network in one binary file, every byte of it counted, and back to the very same integers.

The content of the kind "XPK1" (`explorer.packed.container` has the rest) is for each layer: codebooks, tables, indices,
runs (`explorer.packed.weight_streams`), its scales (float32, one for each output channel, or a single one if all are
equal), its biases (whole numbers on the grid of the 32-bit sums, zigzag and 7 bits to a byte). Files of the kind "XPE1"
(`explorer.packed.coded`) are read here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExportError
from explorer.files import replaced
from explorer.packed import coded
from explorer.packed.container import Parts, join_parts, read_shape, split_parts
from explorer.packed.records import PackedLayer, PackedNetwork
from explorer.packed.weight_streams import STREAMS, WeightStreams, decode_weights, encode_weights

MAGIC = b"XPK1"


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
    return Packing(join_parts(MAGIC, network, {"layers": headers}, body), tuple(sizes))


def unpack(data: bytes) -> PackedNetwork:
    """Rebuild the network that was packed or coded, bit for bit.

    Raises:
        ExportError: For anything else than the whole of such a file.
    """
    return split_parts(data, {MAGIC: _read_layers, coded.MAGIC: coded.read_layers})


def write_packed(network: PackedNetwork, path: Path) -> Packing:
    """Write a network to a file, whole or not at all; the file has exactly the bytes that are returned."""
    packing = pack(network)
    with replaced(path) as file:
        file.write(packing.data)
    return packing


def read_packed(path: Path) -> PackedNetwork:
    """Read what `write_packed` or `coded.write_coded` wrote.

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


def _read_layers(header: Mapping[str, Any], parts: Parts) -> tuple[PackedLayer, ...]:
    return tuple(_read_layer(entry, parts) for entry in header["layers"])


def _read_layer(entry: dict[str, Any], parts: Parts) -> PackedLayer:
    shape = read_shape(entry["shape"])
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
