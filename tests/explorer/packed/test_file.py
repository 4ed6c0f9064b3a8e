"""Packed networks: a file gives back the very same integers and predictions, its bytes add up, damage is refused."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, fx

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.errors import ExportError
from explorer.packed.file import (
    pack,
    read_packed,
    unpack,
    write_packed,
)
from explorer.packed.network import load_packed, packable
from explorer.packed.records import PackedLayer, PackedNetwork, PackedQuantizer

NETWORKS = ["lenet5_digits", "option_a", "projection", "mixed", "gated"]


def compressed(base: CompressionContext, **changes: object) -> fx.GraphModule:
    plain = uniform(base.graph)
    layers = tuple(replace(choice, **changes) for choice in plain.layers)  # type: ignore[arg-type]
    return apply(base, Candidate(layers=layers, filter_keep_ratio=plain.filter_keep_ratio))


def assert_equal(one: PackedNetwork, other: PackedNetwork) -> None:
    assert one.quantizers == other.quantizers
    assert [entry.name for entry in one.layers] == [entry.name for entry in other.layers]
    for a, b in zip(one.layers, other.layers, strict=True):
        assert a.codes.dtype == b.codes.dtype == np.int8
        assert np.array_equal(a.codes, b.codes)
        assert a.scales.tobytes() == b.scales.tobytes()
        assert (a.biases is None) == (b.biases is None)
        assert a.biases is None or np.array_equal(a.biases, b.biases if b.biases is not None else [])
    assert [name for name, _ in one.others] == [name for name, _ in other.others]
    assert [(v.shape, v.tobytes()) for _, v in one.others] == [(v.shape, v.tobytes()) for _, v in other.others]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weight_bits": 3, "activation_bits": 5},
        {"weight_density": 0.1},
        {"weight_density": 0.1, "codebook_size": 5},
        {"codebook_size": 4, "codebook_granularity": "channel"},
    ],
    ids=str,
)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_file_rebuilds_the_network(
    network: str,
    changes: dict[str, object],
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    model = compressed(context(network), **changes)
    packed = packable(model)
    packing = write_packed(packed, tmp_path / "network.bin")
    assert (tmp_path / "network.bin").stat().st_size == len(packing.data)
    assert len(packing.data) == packing.frame_bytes + sum(size.size_bytes for size in packing.layers)
    read = read_packed(tmp_path / "network.bin")
    assert_equal(packed, read)
    other = compressed(context(network), weight_bits=2, activation_bits=2)
    with torch.inference_mode():
        expected = model(images(network, 16))
        assert not torch.equal(other(images(network, 16)), expected)
    load_packed(other, read)
    with torch.inference_mode():
        assert torch.equal(other(images(network, 16)), expected)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_layers_of_other_shapes_and_structures_are_refused(context: Callable[[str], CompressionContext]) -> None:
    packed = packable(compressed(context("lenet5_digits")))
    model = compressed(context("lenet5_digits"))
    with pytest.raises(ExportError, match=r"packed network: its layers are not those of the network \(fc3\)"):
        load_packed(model, replace(packed, layers=packed.layers[:-1]))
    with pytest.raises(ExportError, match="its quantizers are not those of the network"):
        load_packed(model, replace(packed, quantizers=()))
    with pytest.raises(ExportError, match="its other parameters are not those of the network"):
        load_packed(model, replace(packed, others=(("norm", np.zeros(1, np.float32)),)))


layers = st.builds(
    lambda name, codes, scales, with_bias, seed: PackedLayer(
        name=name,
        codes=codes,
        scales=np.resize(np.array(scales, dtype=np.float32), len(codes)),
        biases=np.random.default_rng(seed).integers(-(2**31), 2**31, len(codes)).astype(np.int32)
        if with_bias
        else None,
    ),
    name=st.text(max_size=6),
    codes=arrays.arrays(np.int8, arrays.array_shapes(min_dims=2, max_dims=4), elements=st.integers(-127, 127)),
    scales=st.lists(st.floats(width=32), min_size=1, max_size=3),
    with_bias=st.booleans(),
    seed=st.integers(0, 99),
)
quantizers = st.builds(
    PackedQuantizer,
    name=st.text(max_size=6),
    bits=st.integers(2, 8),
    scale=st.floats(width=32, allow_nan=False),
    zero_point=st.integers(0, 255),
)
networks = st.builds(
    PackedNetwork,
    layers=st.lists(layers, max_size=3).map(tuple),
    quantizers=st.lists(quantizers, max_size=3).map(tuple),
    others=st.lists(
        st.tuples(st.text(max_size=4), arrays.arrays(st.sampled_from([np.float32, np.int64, np.bool_]), (2, 3))),
        max_size=2,
    ).map(tuple),
)


@given(network=networks)
def test_any_network_comes_back(network: PackedNetwork) -> None:
    assert_equal(network, unpack(pack(network).data))


EXAMPLE = PackedNetwork(
    layers=(
        PackedLayer(
            name="fc",
            codes=np.array([[0, 0, 3], [0, -3, 0]], dtype=np.int8),
            scales=np.array([0.5, 0.5], dtype=np.float32),
            biases=np.array([100, -70_000], dtype=np.int32),
        ),
    ),
    quantizers=(PackedQuantizer(name="x", bits=8, scale=0.25, zero_point=3),),
    others=(("norm", np.ones(2, dtype=np.float32)),),
)


def test_every_byte_is_counted_by_hand() -> None:
    packing = pack(EXAMPLE)
    (size,) = packing.layers
    # Two weights behind two zeros and one: indices of a bit, runs of a bit; tables of 2 and 3 half bytes.
    assert (size.entries, size.num_values, size.num_nonzero, size.num_weights) == (2, 3, 2, 6)
    assert (size.codebook_bytes, size.table_bytes, size.index_bytes, size.run_bytes) == (3, 3, 1, 1)
    # One scale, since they are equal; 100 takes two bytes with its sign, -70,000 three.
    assert (size.scale_bytes, size.bias_bytes, size.float32_bytes) == (4, 5, 4 * 8)
    (header,) = struct.unpack_from("<I", packing.data, 4)
    assert packing.frame_bytes == 8 + header + 4 + 8 + 4


@given(place=st.integers(0, len(pack(EXAMPLE).data) - 1), change=st.integers(1, 255))
def test_a_changed_byte_is_found(place: int, change: int) -> None:
    data = bytearray(pack(EXAMPLE).data)
    data[place] ^= change
    with pytest.raises(ExportError, match=r"no packed network|damaged or cut off"):
        unpack(bytes(data))


def test_a_cut_or_longer_file_is_found() -> None:
    data = pack(EXAMPLE).data
    for length in range(len(data)):
        with pytest.raises(ExportError, match=r"no packed network|damaged or cut off"):
            unpack(data[:length])
    with pytest.raises(ExportError, match="damaged or cut off"):
        unpack(data + b"\0")


def forged(change: Callable[[dict[str, object]], None], tail: bytes = b"") -> bytes:
    """A file with another header and a checksum that fits."""
    data = pack(EXAMPLE).data[:-4]
    (length,) = struct.unpack_from("<I", data, 4)
    header = json.loads(zlib.decompress(data[8 : 8 + length]))
    change(header)
    text = zlib.compress(json.dumps(header).encode())
    content = struct.pack("<4sI", b"XPK1", len(text)) + text + data[8 + length :] + tail
    return content + struct.pack("<I", zlib.crc32(content))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shape", [2, 2], "coded weights do not fit into 4 places"),
        ("shape", [0, 3], r"\(0, 3\) is no shape of stored numbers"),
        ("shape", [2**20, 2**20], "is no shape of stored numbers"),
        ("shape", "ab", "its header does not describe its content"),
        ("bytes", [3, 3, 1, 1, 4, 5000], "5000 bytes are needed at byte"),
        ("bytes", [-1, 3, 1, 1, 4, 5], "-1 bytes are needed at byte"),
        ("bytes", [3, 3, 1, 1, 4], "header does not describe"),
        ("own_codebooks", True, "data are damaged"),
        ("entries", 10**18, "need at least as many bits"),
        ("run_bits", None, "header does not describe"),
    ],
)
def test_a_forged_layer_is_refused(key: str, value: object, message: str) -> None:
    def change(header: dict[str, object]) -> None:
        header["layers"][0][key] = value  # type: ignore[index]

    with pytest.raises(ExportError, match=message):
        unpack(forged(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"others": [["norm", "|O", [2]]]}, "'norm' is of type '|O', which is not stored"),
        ({"others": []}, "8 of its bytes belong to nothing"),
        ({"quantizers": [["x", 8]]}, "its header does not describe its content"),
        ({"layers": 3}, "its header does not describe its content"),
    ],
)
def test_a_forged_header_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        unpack(forged(lambda header: header.update(change)))


def test_an_inflated_header_is_cut_off_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.packed.container.LARGEST_HEADER", 100)
    with pytest.raises(ExportError, match="its header is damaged"):
        unpack(forged(lambda header: header.update(more="a" * 1000)))


def test_missing_and_foreign_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"network\.bin: cannot be read: No such file or directory"):
        read_packed(tmp_path / "network.bin")
    (tmp_path / "other").write_bytes(b"PK\x03\x04" * 10)
    with pytest.raises(ExportError, match=r"other: it is no packed network .*; write the network again"):
        read_packed(tmp_path / "other")


def test_what_cannot_be_stored_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    network = replace(EXAMPLE, others=(("norm", np.ones(2, dtype=np.complex64)),))
    with pytest.raises(ValueError, match="norm: values of type complex64 cannot be stored"):
        write_packed(network, tmp_path / "network.bin")
    assert list(tmp_path.iterdir()) == []


def test_packing_leaves_the_network_as_it_is(context: Callable[[str], CompressionContext]) -> None:
    model = compressed(context("mixed"))
    before = copy.deepcopy(model.state_dict())
    packable(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
