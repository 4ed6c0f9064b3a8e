"""Windows: which lines they read, which strides can give an output of a size, and what a wrong stride once cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hwmodels import Buffer, LayerError, LayerJob, LayerShape, evaluate, layer_arrays, load
from hwmodels.workload.network_builder import NetworkBuilder

LARGE: dict[str, Any] = {
    **{"name": "large", "kind": "conv", "in_channels": 64, "out_channels": 64, "kernel_h": 17, "kernel_w": 17},
    **{"in_h": 32, "in_w": 32, "out_h": 16, "out_w": 16},
}
CONV: dict[str, Any] = {
    **{"name": "conv", "kind": "conv", "in_channels": 1, "out_channels": 1, "kernel_h": 3, "in_h": 32, "out_h": 16},
}


def touched(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> set[int]:
    """The lines of a map that windows touch, one by one; the first window starts `before` lines above the map."""
    lines = {start * stride + row * dilation - before for start in range(out) for row in range(kernel)}
    return lines & set(range(size))


moves = st.tuples(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))


@given(moves, st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_every_padding_up_to_the_kernel_is_taken(move: tuple[int, int, int, int], padding: tuple[int, int]) -> None:
    size, kernel, stride, dilation = move
    reach = dilation * (kernel - 1) + 1
    before, after = (min(pad, reach) for pad in padding)
    assume(size + before + after >= reach)
    out = (size + before + after - reach) // stride + 1
    shape = LayerShape(
        name="a", kind="conv", in_channels=1, out_channels=1, kernel_h=kernel, in_h=size, out_h=out,
        stride_h=stride, dilation_h=dilation,
    )  # fmt: skip
    read = len(touched(size, out, kernel, stride, dilation, before))
    if dilation == 1 and not before:
        assert shape.inputs == read
    assert read <= shape.inputs <= size
    assert layer_arrays([LayerJob(shape=shape)]).inputs.tolist() == [shape.inputs]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 7))
def test_pooling_windows_are_taken_wherever_they_lie(size: int, parts: int, images: int) -> None:
    """Windows of adaptive pooling start at floor(i * size / parts), also where there are more of them than lines."""
    kernel = max(-(-(part + 1) * size // parts) - part * size // parts for part in range(parts))
    sizes: dict[str, Any] = {"kernel_h": kernel, "in_h": size, "out_h": parts, "stride_h": -(-size // parts)}
    shape = LayerShape(name="a", kind="pool", in_channels=2, out_channels=2, batch=images, **sizes)
    assert shape.inputs == 2 * images * size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"stride_h: expected 2 to 4 for out_h=16 of in_h=32 with kernel_h=3, padded or not, received 1"),
        ({"stride_h": 5}, r"stride_h: expected 2 to 4 for out_h=16 of in_h=32 with kernel_h=3, .* received 5"),
        ({"kind": "pool"}, r"stride_h: expected at least 2 for out_h=16 of in_h=32 with kernel_h=3, .* received 1"),
        ({"dilation_h": 3}, r"expected 2 to 3 for out_h=16 of in_h=32 with kernel_h=3, dilation_h=3, .* received 1"),
        ({"out_h": 99}, r"out_h: expected at most 62 of in_h=32 with kernel_h=3, received 99"),
        (
            {"in_h": 16, "in_w": 9},
            r"stride_w: expected at least 9 for out_w=1 of in_w=9 with kernel_w=1, .* received 1",
        ),
        ({"stride_h": 0}, r"stride_h: expected a whole number from 1 to 2147483647, received 0"),
        (
            {"kind": "linear", "kernel_h": 1, "out_h": 32, "stride_h": 2},
            r"stride_h: expected 1 for a layer of kind 'lin",
        ),
    ],
)
def test_sizes_that_no_padding_explains_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerError, match=message) as caught:
        LayerShape(**(CONV | change))
    assert len(caught.value.problems) == 1


def test_an_unpadded_large_kernel_is_no_stride() -> None:
    """17 x 17 on 32 x 32 gives 16 x 16 at stride 1 without padding, where all kernel rows but one use a line again."""
    device = load("eyeriss_v1")
    unpadded, padded = (LayerShape(**LARGE, stride_h=stride, stride_w=stride) for stride in (1, 2))
    costs = evaluate([LayerJob(shape=unpadded), LayerJob(shape=padded)], device).layers
    assert costs[0].macs == costs[1].macs
    # A bus takes an input to each of 16 output rows at stride 1, and to 9 at stride 2: so much was counted for both.
    words = [(cost.network_pj / device.network_energy_pj_per_bit) / 16 for cost in costs]
    inputs = costs[0].ifmap_sram_bits // 16
    assert words[0] - words[1] == pytest.approx((16 - 9) * inputs)


def test_lines_that_stay_follow_from_the_stride() -> None:
    """Half of the buffer holds 12 lines: at stride 2 five outputs of a window of 3, where 63 // 32 said ten."""
    sizes: dict[str, Any] = {"kernel_h": 3, "in_h": 63, "in_w": 64, "out_h": 32, "out_w": 64, "stride_h": 2}
    shape = LayerShape(name="odd", kind="conv", in_channels=64, out_channels=1024, **sizes)
    places = {"inputs": 2 * 12 * 64 * 64, "weights": 16 * 1024, "outputs": 4 * 1024}
    buffers = tuple(
        Buffer(name=place, operands=(place,), size_bytes=size, read_energy_pj_per_bit=0, write_energy_pj_per_bit=0)
        for place, size in places.items()
    )
    device = replace(load("gemmini_default"), dataflow="os", buffers=buffers)
    cost = evaluate([LayerJob(shape=shape)], device).layers[0]
    assert cost.dram_weight_bits == -(-32 // 5) * cost.weight_bytes * 8


def test_a_builder_states_its_strides() -> None:
    build = NetworkBuilder("net")
    build.pool("pool", build.conv("conv", build.image(3, 9, 9), 4, (3, 3), stride=2, padded=False), (2, 2), 2)
    layers = {layer.name: layer for layer in build.network().layers}
    assert {(name, layer.stride_h, layer.stride_w) for name, layer in layers.items()} == {
        *(("conv", 2, 2), ("conv.relu", 1, 1), ("pool", 2, 2)),
    }
