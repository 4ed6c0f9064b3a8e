"""NE16's cycles, counted tile by tile as its published performance model does, against the closed form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import NETWORKS, LayerJob, LayerShape, evaluate, layer_arrays, load, with_widths

DEVICE = load("gap9_ne16")


def _tile(channels: int, slices: int, kernel: int, bits: int, *, depthwise: bool = False) -> int:
    """Cycles of one output tile: load, weight offset, products and next index for each slice, then the way out."""
    load_inputs = 10 + 9 if kernel == 1 and not depthwise else 6 + 25
    offset = 6 + channels if depthwise else 6
    products = 6 + channels * (1 if kernel == 1 and not depthwise else bits)
    return slices * (load_inputs + offset + products + 2) + 9 + channels + 8 + -(-channels // 8) + 3 + 9 + 1


def _cut(channels: int, size: int) -> list[int]:
    return [min(size, channels - start) for start in range(0, channels, size)]


def _conv(channels: int, filters: int, size: int, kernel: int, groups: int = 1) -> LayerShape:
    edge = size + kernel - 1
    return LayerShape(
        name="conv",
        kind="conv",
        in_channels=channels,
        out_channels=filters,
        kernel_h=kernel,
        kernel_w=kernel,
        in_h=edge,
        in_w=edge,
        out_h=size,
        out_w=size,
        groups=groups,
    )


def _cycles(shape: LayerShape, weight_bits: int, input_bits: int = 8) -> int:
    job = LayerJob(shape=shape, weight_bits=weight_bits, input_bits=input_bits)
    return evaluate([job], DEVICE).layers[0].compute_cycles


@given(
    channels=st.integers(1, 70),
    filters=st.integers(1, 70),
    size=st.integers(1, 10),
    kernel=st.sampled_from((1, 3)),
    bits=st.integers(2, 8),
)
def test_dense_kernels_tile_by_tile(channels: int, filters: int, size: int, kernel: int, bits: int) -> None:
    tiles = (-(-size // 3)) ** 2
    expected = tiles * sum(_tile(each, -(-channels // 16), kernel, bits) for each in _cut(filters, 32))
    assert _cycles(_conv(channels, filters, size, kernel), bits) == expected


@given(channels=st.integers(2, 70), size=st.integers(1, 10), bits=st.integers(2, 8))
def test_depthwise_kernels_tile_by_tile(channels: int, size: int, bits: int) -> None:
    tiles = (-(-size // 3)) ** 2
    expected = tiles * sum(_tile(each, 1, 3, bits, depthwise=True) for each in _cut(channels, 16))
    assert _cycles(_conv(channels, channels, size, 3, groups=channels), bits) == expected


def test_fewer_bits_gain_nothing_in_1x1_kernels_and_fully_connected_layers() -> None:
    linear = LayerShape(name="fc", kind="linear", in_channels=640, out_channels=128)
    for shape in (_conv(64, 64, 8, 1), linear):
        assert len({_cycles(shape, bits) for bits in range(2, 9)}) == 1
    window = [_cycles(_conv(64, 64, 8, 3), bits) for bits in range(2, 9)]
    assert window == sorted(set(window))
    # The fixed part keeps the gain of 2 bits far below 4.
    assert 2.0 < window[-1] / window[0] < 2.6


def test_groups_run_one_after_the_other_and_large_kernels_in_passes() -> None:
    assert _cycles(_conv(64, 64, 9, 3, groups=4), 4) == 4 * _cycles(_conv(16, 16, 9, 3), 4)
    assert _cycles(_conv(16, 16, 9, 5), 4) == 3 * _cycles(_conv(16, 16, 9, 3), 4)  # 25 elements, nine at a time
    assert _cycles(_conv(48, 96, 9, 3, groups=48), 4) == 2 * _cycles(_conv(48, 48, 9, 3, groups=48), 4)


def test_wide_inputs_pass_twice() -> None:
    # 16 channels and one tile: only products are repeated.
    assert _cycles(_conv(16, 16, 3, 1), 8, 16) - _cycles(_conv(16, 16, 3, 1), 8) == 16
    assert _cycles(_conv(16, 16, 3, 3), 4, 16) - _cycles(_conv(16, 16, 3, 3), 4) == 16 * 4


def test_a_start_costs_the_same_at_every_width() -> None:
    bare = dataclasses.replace(DEVICE, layer_overhead_cycles=0)
    job = LayerJob(shape=_conv(16, 16, 9, 3), weight_bits=2, input_bits=8)
    found = evaluate([job], DEVICE).latency_cycles - evaluate([job], bare).latency_cycles
    assert found == DEVICE.layer_overhead_cycles > 3000


def test_candidates_at_once_take_what_each_takes_alone() -> None:
    network = NETWORKS["mlperf_tiny_ds_cnn"]()
    layers = layer_arrays(network.jobs(weight_bits=8, input_bits=8))
    widths = [2, 3, 4, 8]
    many = evaluate(with_widths(layers, weight_bits=np.array(widths).reshape(-1, 1)), DEVICE)
    alone = [evaluate(network.jobs(weight_bits=bits, input_bits=8), DEVICE).latency_cycles for bits in widths]
    assert many.latency_cycles.tolist() == alone


@pytest.mark.parametrize(("bits", "said"), [(8, False), (2, True)])
def test_the_notes_say_which_layers_gain_no_time(bits: int, said: bool) -> None:
    network = NETWORKS["mlperf_tiny_resnet8"]()
    notes = evaluate(network.jobs(weight_bits=bits, input_bits=8), DEVICE).notes
    expected = (
        f"{bits}-bit weights take the time of 8-bit weights on gap9_ne16 in layers with one weight for each pair of "
        "channels (stage2.shortcut, stage3.shortcut, fc)"
    )
    assert (expected in notes) is said
