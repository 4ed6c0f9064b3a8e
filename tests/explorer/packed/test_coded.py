"""Coded networks: a file gives back the very same integers and predictions in the bytes that their entropy asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import LayerChoice, uniform
from explorer.errors import ExportError
from explorer.packed.coded import code, write_coded
from explorer.packed.file import read_packed, unpack
from explorer.packed.network import load_packed, packable
from explorer.packed.records import PackedLayer, PackedNetwork, PackedQuantizer
from tests.explorer.packed.test_file import assert_equal
from tests.explorer.search.test_steps import with_units
from tests.support.styles import Reused

FLOATS = st.floats(2.0**-100, 2.0**100, width=32)


@pytest.mark.parametrize("step", [None, 0.02, 0.5])
@pytest.mark.parametrize("network", ["lenet5_digits", "option_a", "mixed", "gated"])
def test_the_file_rebuilds_the_network(
    network: str,
    step: float | None,
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    base = with_units(context(network))
    plain = uniform(base.graph)
    least = min(dict(base.step_units or {}).values())
    layers = tuple(
        LayerChoice(layer=choice.layer, step=None if step is None else step * least) for choice in plain.layers
    )
    model = apply(base, replace(plain, layers=layers))
    packed = packable(model)
    coding = write_coded(packed, tmp_path / "network.bin")
    assert (tmp_path / "network.bin").read_bytes() == coding.data
    read = read_packed(tmp_path / "network.bin")
    assert_equal(read, packed)
    other = apply(base, plain)
    load_packed(other, read)
    own, given_ = model.state_dict(), other.state_dict()
    assert own.keys() == given_.keys()
    assert all(torch.equal(own[name], given_[name]) for name in own)
    batch = images(network, 8)
    assert torch.equal(model(batch), other(batch))


@given(
    st.lists(
        st.tuples(
            arrays.arrays(np.int8, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(-127, 127)),
            st.lists(FLOATS, min_size=1, max_size=5),
            st.booleans(),
            st.integers(-(2**31) + 1, 2**31 - 1),
        ),
        max_size=4,
    ),
    st.lists(st.tuples(st.integers(2, 8), FLOATS, st.integers(0, 255)), max_size=3),
)
def test_any_integers_and_scales_come_back(layers: list[tuple], quantizers: list[tuple]) -> None:  # type: ignore[type-arg]
    network = PackedNetwork(
        layers=tuple(
            PackedLayer(
                name=f"layer{index}",
                codes=codes,
                scales=np.resize(np.array(scales, dtype=np.float32), len(codes)),
                biases=np.full(len(codes), bias, dtype=np.int32) if biased else None,
            )
            for index, (codes, scales, biased, bias) in enumerate(layers)
        ),
        quantizers=tuple(
            PackedQuantizer(name=f"q{index}", bits=bits, scale=float(np.float32(scale)), zero_point=zero_point)
            for index, (bits, scale, zero_point) in enumerate(quantizers)
        ),
        others=(("values", np.arange(3, dtype=np.float32)),),
    )
    assert_equal(unpack(code(network).data), network)


def test_weights_that_layers_share_are_stored_once() -> None:
    torch.manual_seed(0)
    base = with_units(CompressionContext.of(Reused().eval(), torch.rand(8, 3, 8, 8)))
    assert len(base.graph.layers) > len(base.graph.weight_owners)
    packed = packable(apply(base, uniform(base.graph, weight_bits=4)))
    coding = code(packed)
    owners = {name for name, bits in coding.weight_bits.items() if bits > 0}
    repeated = {layer.name for layer in base.graph.layers if layer.shares_weights}
    assert repeated
    assert owners & repeated == set()
    assert_equal(unpack(coding.data), packed)


def test_weights_take_their_entropy_and_little_more(context: Callable[[str], CompressionContext]) -> None:
    base = with_units(context("lenet5_digits"))
    least = min(dict(base.step_units or {}).values())
    plain = uniform(base.graph)
    layers = tuple(LayerChoice(layer=choice.layer, step=0.03 * least) for choice in plain.layers)
    packed = packable(apply(base, replace(plain, layers=layers)))
    coding = code(packed)
    for layer in packed.layers:
        _, occurs = np.unique(layer.codes, return_counts=True)
        entropy = -float((occurs * np.log2(occurs / layer.codes.size)).sum())
        learnt = 0.5 * len(occurs) * np.log2(layer.codes.size)
        assert coding.weight_bits[layer.name] <= 1.01 * entropy + learnt + 40  # a coder counts words as they are full
    assert len(coding.data) < 8 + sum(coding.weight_bits.values()) / 8 + 60 * len(packed.layers) + 8 * sum(
        len(layer.scales) for layer in packed.layers
    )


def test_damage_is_one_line(tmp_path: Path) -> None:
    layer = PackedLayer(
        name="a", codes=np.ones((2, 3), dtype=np.int8), scales=np.ones(2, dtype=np.float32), biases=None
    )
    data = code(PackedNetwork(layers=(layer,), quantizers=())).data
    path = tmp_path / "network.bin"
    for damaged, text in (
        (data[:-1], "its checksum is not that of its content"),
        (data[:20] + b"\0" + data[21:], "its checksum is not"),
        (b"XPK9" + data[4:], r"no packed network \(its first bytes are not XPK1 or XPE1\)"),
        (b"", "no packed network"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ExportError, match=text) as caught:
            read_packed(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
