"""A layer's integer weights as four streams of bytes: codebooks, code tables, coded indices and coded runs of zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Int64Array
from explorer.errors import ExportError
from explorer.packed.huffman import Coded, decode, encode, limit_lengths
from hwmodels import RUN_BITS

Codes = NDArray[np.int8]
STREAMS = ("codebooks", "tables", "indices", "runs")


class WeightStreams(NamedTuple):
    """One layer's weights, coded.

    `layout` is plain data that says how to read the bytes: "run_bits" (0 where every weight has an index, else only
    entries have one), "own_codebooks" (each output channel has one), "entries" (coded indices),
    "table_sizes" (code lengths
    of indices and of runs). `codebooks`: for each the number of values and the values, a byte each. `tables`: code
    lengths, 4 bits each. `indices`: of each entry into its codebook, Huffman coded. `runs`: zeros before each entry,
    Huffman coded.
    """

    layout: dict[str, Any]
    codebooks: bytes
    tables: bytes
    indices: bytes
    runs: bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all streams."""
        return sum(len(getattr(self, name)) for name in STREAMS)


class _Entries(NamedTuple):
    """Which weights are coded: their places, in the order of memory, their codes, and the zeros before each."""

    places: Int64Array
    codes: Int64Array
    runs: Int64Array


def encode_weights(codes: Codes) -> WeightStreams:
    """Code the integer weights of a layer (out_channels x ..., -127..127) in the smallest of all layouts.

    Either every weight has an index, or those that are not zero, with the run of zeros before each (Han et al., ICLR
    2016): a run is at most 2^run_bits - 1 long, with run_bits in 1..8; where more zeros stand before a weight, fillers
    are put in, entries of value zero behind a run of that length. Zeros behind the last weight need no entry. Codebooks
    are those of the codes that occur, of the layer or of each channel.
    """
    rows = codes.reshape(len(codes), -1).astype(np.int64)
    if rows.size and np.abs(rows).max() > 127:
        raise ValueError(f"weight codes must lie in -127..127, received {np.abs(rows).max()}")
    sparse = RUN_BITS if (rows == 0).any() else range(0)
    layouts = [(run_bits, own) for run_bits in (0, *sparse) for own in (False, True)]
    return _streams(rows, *min(layouts, key=lambda layout: _size_bits(rows, *layout)))


def decode_weights(layout: Mapping[str, Any], streams: Mapping[str, bytes], shape: tuple[int, ...]) -> Codes:
    """Return the weights that `encode_weights` coded, of this shape.

    Raises:
        ExportError: Where the streams do not fit together.
    """
    count, channels = int(np.prod(shape)), shape[0]
    entries, run_bits = int(layout["entries"]), int(layout["run_bits"])
    index_lengths, run_lengths = layout["table_sizes"]
    lengths = _nibbles(streams["tables"], index_lengths + run_lengths)
    indices = decode(lengths[:index_lengths], streams["indices"], entries)
    places = np.arange(count)
    if run_bits:
        places = np.cumsum(decode(lengths[index_lengths:], streams["runs"], entries) + 1) - 1
    if len(places) != entries or (entries and places[-1] >= count):
        raise ExportError(f"{entries} coded weights do not fit into {count} places; the data are damaged")
    owners = places // (count // channels) if layout["own_codebooks"] else np.zeros_like(places)
    first, sizes, values = _read_codebooks(streams["codebooks"], channels if layout["own_codebooks"] else 1)
    if (indices >= sizes[owners]).any():
        raise ExportError("an index is beyond the end of its codebook; the data are damaged")
    codes = np.zeros(count, dtype=np.int8)
    codes[places] = values[first[owners] + indices]
    if (codes == -128).any():
        raise ExportError("a weight has the code -128, which no weight has; the data are damaged")
    return codes.reshape(shape)


def _entries(rows: Int64Array, run_bits: int) -> _Entries:
    flat = rows.ravel()
    if not run_bits:
        places = np.arange(flat.size)
        return _Entries(places, flat, np.zeros(0, dtype=np.int64))
    places, span = np.flatnonzero(flat), 1 << run_bits
    runs = np.diff(places, prepend=-1) - 1
    fillers = runs >> run_bits
    ends = np.cumsum(fillers + 1) - 1
    all_runs = np.full(int((fillers + 1).sum()), span - 1, dtype=np.int64)
    all_runs[ends] = runs & (span - 1)
    all_codes = np.zeros_like(all_runs)
    all_codes[ends] = flat[places]
    return _Entries(np.cumsum(all_runs + 1) - 1, all_codes, all_runs)


def _codebooks(rows: Int64Array, entries: _Entries, own: bool) -> tuple[bytes, Int64Array]:
    """Return the codebooks as bytes, and each entry's index into its own."""
    owners = entries.places // max(rows.shape[1], 1) if own else np.zeros_like(entries.places)
    places = owners * 256 + entries.codes + 128
    occurs = np.bincount(places, minlength=256) > 0
    keys, found = np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[places]
    sizes = np.bincount(keys >> 8, minlength=len(rows) if own else 1)
    first = np.cumsum(sizes) - sizes
    books = np.split(((keys & 255) - 128).astype(np.int8), first[1:])
    stored = b"".join(bytes([len(book)]) + book.tobytes() for book in books)
    return stored, found - first[owners]


def _size_bits(rows: Int64Array, run_bits: int, own: bool) -> int:
    """Return bits of all streams in this layout, without coding anything."""
    entries = _entries(rows, run_bits)
    stored, indices = _codebooks(rows, entries, own)
    total = 8 * len(stored)
    for symbols in (indices, entries.runs):
        if symbols.size:
            counts = np.bincount(symbols)
            total += int(counts @ np.array(limit_lengths(counts))) + 4 * len(counts)
    return total


def _streams(rows: Int64Array, run_bits: int, own: bool) -> WeightStreams:
    entries = _entries(rows, run_bits)
    stored, symbols = _codebooks(rows, entries, own)
    indices, runs = encode(symbols), encode(entries.runs) if run_bits else Coded((), b"", 0)
    return WeightStreams(
        layout={
            "run_bits": run_bits,
            "own_codebooks": own,
            "entries": len(symbols),
            "table_sizes": [len(indices.lengths), len(runs.lengths)],
        },
        codebooks=stored,
        tables=_from_nibbles((*indices.lengths, *runs.lengths)),
        indices=indices.data,
        runs=runs.data,
    )


def _read_codebooks(stored: bytes, count: int) -> tuple[Int64Array, Int64Array, Codes]:
    """Return (place of the first value, number of values) of each codebook, and the bytes that they are in."""
    first, sizes, place = [], [], 0
    for _ in range(count):
        if place >= len(stored):
            raise ExportError(f"{count} codebooks are more than {len(stored)} bytes hold; the data are damaged")
        first.append(place + 1)
        sizes.append(stored[place])
        place += 1 + stored[place]
    if place != len(stored):
        raise ExportError(f"{count} codebooks take {place} of {len(stored)} bytes; the data are damaged")
    return np.array(first), np.array(sizes), np.frombuffer(stored, np.int8)


def _from_nibbles(values: tuple[int, ...]) -> bytes:
    padded = np.array([*values, 0][: len(values) + len(values) % 2], dtype=np.uint8)
    return (padded[::2] << 4 | padded[1::2]).astype(np.uint8).tobytes()


def _nibbles(stored: bytes, count: int) -> Int64Array:
    if len(stored) != -(-count // 2):
        raise ExportError(f"a table of {count} code lengths does not take {len(stored)} bytes; the data are damaged")
    pairs = np.frombuffer(stored, np.uint8).astype(np.int64)
    return np.stack((pairs >> 4, pairs & 15), axis=1).ravel()[:count]
