"""Properties of the cost that hold for any layer (Hypothesis)."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import (
    DATAFLOWS,
    LAWS,
    Accelerator,
    LayerCost,
    LayerJob,
    LayerShape,
    evaluate,
    layer_arrays,
    load,
    names,
)
from hwmodels.memory import stored_weights

DEVICES = {name: load(name) for name in names()}
devices = st.sampled_from(sorted(DEVICES)).map(DEVICES.__getitem__)
widths = st.integers(1, 8)


@st.composite
def shapes(draw: st.DrawFn) -> LayerShape:
    """Convolutions with padding, stride and groups, and linear layers."""
    if draw(st.booleans()):
        in_channels, out_channels = draw(st.integers(1, 5000)), draw(st.integers(1, 2000))
        return LayerShape(name="fc", kind="linear", in_channels=in_channels, out_channels=out_channels)
    groups, kernel, stride = draw(st.integers(1, 32)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    out_h, out_w = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    return LayerShape(
        name="conv",
        kind="conv",
        in_channels=groups * draw(st.integers(1, 64)),
        out_channels=groups * draw(st.integers(1, 64)),
        kernel_h=kernel,
        kernel_w=kernel,
        in_h=out_h * stride,
        in_w=out_w * stride,
        out_h=out_h,
        out_w=out_w,
        groups=groups,
    )


@st.composite
def jobs(draw: st.DrawFn) -> LayerJob:
    """Jobs of at most 8 bits, which every device takes."""
    return LayerJob(
        shape=draw(shapes()),
        weight_bits=draw(widths),
        input_bits=draw(widths),
        output_bits=draw(widths),
        density=draw(st.floats(0, 1)),
        codebook_size=draw(st.none() | st.integers(1, 256)),
    )


def _layer(job: LayerJob, device: str) -> LayerCost:
    return evaluate([job], DEVICES[device]).layers[0]


@given(job=jobs(), device=devices, dataflow=st.sampled_from(sorted(DATAFLOWS)), pipelined=st.booleans())
def test_never_below_the_roofline(job: LayerJob, device: Accelerator, dataflow: str, pipelined: bool) -> None:
    device = dataclasses.replace(device, dataflow=dataflow, pipelined_folds=pipelined)
    law = LAWS[device.precision_law]
    weight_bits, input_bits = (
        next(width for width in supported if width >= bits)
        for supported, bits in ((device.weight_bits, job.weight_bits), (device.input_bits, job.input_bits))
    )
    peak = device.units * float(
        law(weight_bits, input_bits, device.native_bits, device.mac_energy_pj).macs_per_unit_cycle
    )
    cost = evaluate([job], device)
    layer = cost.layers[0]
    assert layer.compute_cycles >= job.shape.macs / peak * (1 - 1e-12)
    assert layer.latency_cycles >= layer.compute_cycles
    assert layer.latency_cycles >= cost.dram_bits / device.dram_bits_per_cycle
    assert 0 < layer.utilisation <= 1
    assert 0 < layer.mapping_efficiency <= 1
    assert layer.dram_input_bits >= job.shape.inputs * job.input_bits
    assert layer.dram_output_bits == job.shape.outputs * job.output_bits
    assert layer.dram_weight_bits >= layer.weight_bytes * 8 or "dense" not in device.weight_formats


@given(job=jobs(), bits=st.integers(1, 31))
def test_storage_grows_with_bits_but_for_the_scale_that_float32_lacks(job: LayerJob, bits: int) -> None:
    narrow, wide = (dataclasses.replace(job, weight_bits=width) for width in (bits, bits + 1))
    sizes = stored_weights(layer_arrays([narrow, wide])).bytes_by_format
    scale_bytes = 4 * job.shape.out_channels if bits + 1 == 32 else 0
    assert np.all(sizes[:, 0] <= sizes[:, 1] + scale_bytes)


@given(job=jobs(), device=devices, factor=st.floats(1.0, 100.0))
def test_more_bandwidth_is_never_slower(job: LayerJob, device: Accelerator, factor: float) -> None:
    bandwidth = device.dram_bandwidth_bits_per_s * factor
    faster = dataclasses.replace(device, dram_bandwidth_bits_per_s=bandwidth)
    assert evaluate([job], faster).latency_cycles <= evaluate([job], device).latency_cycles


@given(job=jobs(), operand=st.sampled_from(["weight_bits", "input_bits", "output_bits"]), wider=widths)
def test_wider_operands_never_save_energy_on_bitfusion(job: LayerJob, operand: str, wider: int) -> None:
    narrow, wide = sorted((getattr(job, operand), wider))
    low, high = (_layer(dataclasses.replace(job, **{operand: bits}), "bitfusion") for bits in (narrow, wide))
    assert low.energy_pj <= high.energy_pj * (1 + 1e-12)
    assert low.mac_pj <= high.mac_pj


@given(job=jobs())
def test_nothing_is_gained_in_arithmetic_below_native_on_gemmini(job: LayerJob) -> None:
    native = dataclasses.replace(job, weight_bits=8, input_bits=8)
    ours, theirs = _layer(job, "gemmini_default"), _layer(native, "gemmini_default")
    assert ours.mac_pj == theirs.mac_pj
    assert ours.compute_cycles == theirs.compute_cycles
    assert ours.filter_sram_bits == theirs.filter_sram_bits


@given(job=jobs(), device=st.sampled_from(["bitfusion", "gemmini_default", "bit_serial_16x16"]))
def test_zeros_save_neither_macs_nor_compute(job: LayerJob, device: str) -> None:
    dense = dataclasses.replace(job, density=1.0)
    ours, theirs = _layer(job, device), _layer(dense, device)
    assert (ours.mac_pj, ours.compute_cycles) == (theirs.mac_pj, theirs.compute_cycles)
    assert ours.latency_cycles <= theirs.latency_cycles
