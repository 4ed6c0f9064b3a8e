"""Properties of the cost that hold for any layer (Hypothesis)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import (
    DATAFLOWS,
    SYSTOLIC_DATAFLOWS,
    Accelerator,
    LayerCost,
    LayerError,
    LayerJob,
    LayerShape,
    Registers,
    Unroll,
    evaluate,
    layer_arrays,
    load,
    names,
    systolic_counts,
)
from hwmodels.storage.memory import measure_weights
from hwmodels.workload.layer import LAYER_KINDS, MAXIMUM_BITS, PRODUCT_KINDS, VECTOR_KINDS

DEVICES = {name: load(name) for name in names()}
UNROLLS = (Unroll(rate=0.6), Unroll(out_w=2, out_channels=8, in_channels=8, depthwise_channels=8))
Made = TypeVar("Made")
widths = st.integers(1, 8)
any_width = st.integers(1, MAXIMUM_BITS)
BITS = ("weight_bits", "input_bits", "output_bits")
factors = st.floats(1.0, 20.0)


@st.composite
def devices(draw: st.DrawFn) -> Accelerator:
    """Every shipped device as it is, and with each of the other dataflows."""
    device = DEVICES[draw(st.sampled_from(sorted(DEVICES)))]
    dataflow = draw(st.sampled_from((device.dataflow, *DATAFLOWS)))
    if dataflow == device.dataflow:
        return device
    return dataclasses.replace(
        device,
        buffers=tuple(dataclasses.replace(buffer, keeps=()) for buffer in device.buffers),
        dataflow=dataflow,
        rows=max(device.rows, draw(st.integers(4, 64))),
        columns=max(device.columns, draw(st.integers(4, 64))),
        pipelined_folds=draw(st.booleans()),
        diagonal_groups=draw(st.booleans()),
        k_packing=draw(st.sampled_from(("dense", "channels"))),
        output_traffic=draw(st.sampled_from(("outputs", "sums"))),
        registers=Registers(words=261),
        unroll=draw(st.sampled_from(UNROLLS)),
    )


@st.composite
def shapes(draw: st.DrawFn) -> LayerShape:
    """Convolutions with padding, stride and groups, and linear layers."""
    batch = draw(st.sampled_from((1, 1, 2, 16)))
    if draw(st.booleans()):
        return LayerShape(
            name="fc",
            kind="linear" if draw(st.booleans()) else "matmul",
            in_channels=draw(st.integers(1, 5000)),
            out_channels=draw(st.integers(1, 2000)),
            batch=batch,
        )
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
        stride_h=stride,
        stride_w=stride,
        groups=groups,
        batch=batch,
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


vector_shapes = st.builds(
    lambda kind, channels, size, window: LayerShape(
        name=kind,
        kind=kind,
        in_channels=channels,
        out_channels=channels,
        kernel_h=window if kind == "pool" else 1,
        kernel_w=window if kind == "pool" else 1,
        in_h=size * (window if kind == "pool" else 1),
        in_w=size * (window if kind == "pool" else 1),
        out_h=size,
        out_w=size,
        stride_h=window if kind == "pool" else 1,
        stride_w=window if kind == "pool" else 1,
        operands=2 if kind == "add" else 1,
    ),
    st.sampled_from(("pool", "add", "activation")),
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(1, 4),
)


def _layer(job: LayerJob, device: str) -> LayerCost:
    return evaluate([job], DEVICES[device]).layers[0]


def in_memory(bits: int, device: Accelerator) -> int:
    """The bits that an activation takes in memory."""
    fitting = [width for width in device.input_bits if width >= bits]
    return bits if "activations" in device.packed or not fitting else fitting[0]


@given(job=jobs(), device=devices())
def test_never_below_the_roofline(job: LayerJob, device: Accelerator) -> None:
    weight_bits, input_bits = (
        next(width for width in supported if width >= bits)
        for supported, bits in ((device.weight_bits, job.weight_bits), (device.input_bits, job.input_bits))
    )
    per_unit = float(device.law(weight_bits, input_bits, device.native_bits, device.mac_energy_pj).macs_per_unit_cycle)
    cost = evaluate([job], device)
    layer = cost.layers[0]
    assert layer.compute_cycles >= job.shape.macs / (device.units * device.unit_rate * per_unit) * (1 - 1e-12)
    assert layer.latency_cycles >= layer.compute_cycles
    bandwidth = sum(device.bits_per_cycle(memory) for memory in device.memories)
    assert layer.latency_cycles >= cost.dram_bits / bandwidth
    assert 0 < layer.utilisation <= 1
    assert 0 < layer.mapping_efficiency <= 1
    assert layer.dram_input_bits >= job.shape.inputs * job.input_bits
    if device.output_traffic == "outputs":
        assert layer.dram_output_bits == job.shape.outputs * in_memory(job.output_bits, device)
    assert layer.dram_weight_bits >= layer.weight_bytes * 8


@given(shape=vector_shapes, device=devices(), bits=widths)
def test_no_layer_is_free(shape: LayerShape, device: Accelerator, bits: int) -> None:
    dear = dataclasses.replace(device, vector=dataclasses.replace(device.vector, energy_pj_per_operation=1.0))
    layer = evaluate([LayerJob(shape=shape, input_bits=bits, output_bits=bits)], dear).layers[0]
    assert layer.macs == layer.weight_bytes == layer.dram_weight_bits == 0
    assert layer.vector_pj > 0
    if shape.kind in device.vector.fused:
        assert (layer.compute_cycles, layer.dram_input_bits, layer.dram_output_bits) == (0, 0, 0)
    else:
        unit = device.vector
        own = unit.pool_operations_per_cycle if shape.kind == "pool" else 0.0
        assert layer.compute_cycles * (own or unit.operations_per_cycle) >= shape.vector_operations
        held = in_memory(bits, device)
        assert (layer.dram_input_bits, layer.dram_output_bits) == (shape.inputs * held, shape.outputs * held)
        assert layer.latency_cycles >= max(layer.compute_cycles, layer.dram_cycles)


@given(
    layers=st.lists(st.builds(LayerJob, shape=shapes() | vector_shapes, **dict.fromkeys(BITS, any_width)), min_size=1),
    device=devices(),
)
def test_any_mix_of_widths_has_a_cost_or_is_refused(layers: list[LayerJob], device: Accelerator) -> None:
    """A file that is quantised in part: layers without products may be wider than any product of the device."""
    try:
        cost = evaluate(layers, device)
    except LayerError as error:
        problems = error.problems
    else:
        assert 0 <= cost.energy_pj < np.inf
        assert cost.latency_cycles >= 0
        return
    wide = [job for job in layers if job.shape.kind in PRODUCT_KINDS]
    assert len(problems) == 1
    assert any(job.weight_bits > device.weight_bits[-1] or job.input_bits > device.input_bits[-1] for job in wide) or (
        0 < device.maximum_layers < len(wide)
    )


@st.composite
def large_shapes(draw: st.DrawFn) -> LayerShape:
    """Layers of any size that a field can state, alone and as a product."""
    kind: Any = draw(st.sampled_from(LAYER_KINDS))
    many = st.integers(0, 30).flatmap(lambda power: st.integers(2**power, 2 ** (power + 1) - 1))
    few = st.integers(1, 64)
    groups = draw(few) if kind in ("conv", "matmul") else 1
    channels = draw(many) // groups * groups or groups
    slides = kind in ("conv", "pool")
    stride_h, stride_w = (draw(few), draw(few)) if slides else (1, 1)
    out_h, out_w = max(draw(many) // stride_h, 1), draw(few)
    return LayerShape(
        name="large",
        kind=kind,
        in_channels=channels,
        out_channels=channels if kind in VECTOR_KINDS else draw(many) // groups * groups or groups,
        kernel_h=draw(few) if slides else 1,
        kernel_w=draw(few) if slides else 1,
        in_h=out_h * stride_h,
        in_w=out_w * stride_w,
        out_h=out_h,
        out_w=out_w,
        stride_h=stride_h,
        stride_w=stride_w,
        groups=groups,
        batch=draw(few),
        operands=2 if kind == "add" else 1,
    )


def or_refused(make: Callable[[], Made]) -> Made | None:
    """What is made, or None after one line that says why not."""
    try:
        return make()
    except LayerError as error:
        problems = error.problems
    assert len(problems) == 1
    assert "more than can be counted exactly" in problems[0]
    return None


@given(data=st.data(), device=devices(), count=st.integers(1, 3), bits=st.tuples(widths, widths, any_width))
def test_whatever_size_is_counted_exactly_or_refused(
    data: st.DataObject, device: Accelerator, count: int, bits: tuple[int, int, int]
) -> None:
    shape = or_refused(lambda: data.draw(large_shapes()))
    if shape is None:
        return
    jobs = [LayerJob(shape=shape, weight_bits=bits[0], input_bits=bits[1], output_bits=bits[2])] * count
    cost = or_refused(lambda: evaluate(jobs, device))
    if cost is None:
        return
    window = shape.kernel_h * shape.kernel_w * shape.in_channels // shape.groups
    macs = count * shape.batch * shape.out_h * shape.out_w * window * shape.out_channels
    layer = cost.layers[0]
    moved = layer.dram_input_bits + layer.dram_weight_bits + layer.dram_output_bits
    if shape.kind in PRODUCT_KINDS:
        assert cost.macs == macs <= 2**53
        assert layer.dram_input_bits >= shape.inputs * bits[1]
        assert moved <= 3 * 64 * macs + 64 * (shape.inputs + shape.outputs)
        assert 0 < layer.utilisation <= 1
        assert 0 < layer.mapping_efficiency <= 1
    assert cost.latency_cycles >= count * max(layer.compute_cycles, layer.sram_cycles)
    assert layer.compute_cycles * device.units * device.unroll.rate * 64 >= layer.macs
    assert cost.dram_bits == count * moved < 2**53
    assert 0 <= cost.energy_pj < np.inf
    assert cost.weight_bytes * 8 >= count * shape.weights * bits[0]


@given(device=devices(), power=st.integers(20, 45))
def test_networks_as_large_as_there_are_have_a_cost(device: Accelerator, power: int) -> None:
    """A language model of 7 billion weights on 4,096 tokens takes 2^45 MACs."""
    shape = LayerShape(
        name="fc", kind="linear", in_channels=2**12, out_channels=2 ** (power - 20), in_h=2**8, out_h=2**8
    )
    assert evaluate([LayerJob(shape=shape)], device).macs == 2**power


@given(job=jobs(), bits=st.integers(1, 31))
def test_storage_grows_with_bits_but_for_the_scale_that_float32_lacks(job: LayerJob, bits: int) -> None:
    narrow, wide = (dataclasses.replace(job, weight_bits=width) for width in (bits, bits + 1))
    sizes = measure_weights(layer_arrays([narrow, wide])).bytes_by_format
    scale_bytes = 4 * job.shape.out_channels if bits + 1 == 32 else 0
    assert np.all(sizes[:, 0] <= sizes[:, 1] + scale_bytes)


@given(job=jobs(), device=devices(), factor=factors, which=st.integers(0, 2))
def test_more_bandwidth_is_never_slower(job: LayerJob, device: Accelerator, factor: float, which: int) -> None:
    slow = _with_bandwidths(device, which, 1.0)
    fast = _with_bandwidths(device, which, factor)
    assert evaluate([job], fast).latency_cycles <= evaluate([job], slow).latency_cycles


def _with_bandwidths(device: Accelerator, which: int, factor: float) -> Accelerator:
    """Return the device with buffers of limited bandwidth: all of them, or all memories, multiplied by a factor."""
    memories = tuple(
        dataclasses.replace(memory, bandwidth_bits_per_s=memory.bandwidth_bits_per_s * (factor if which else 1.0))
        for memory in device.memories
    )
    buffers = tuple(
        dataclasses.replace(buffer, bandwidth_bits_per_cycle=64.0 * (1.0 if which == 1 else factor))
        for buffer in device.buffers
    )
    return dataclasses.replace(device, memories=memories, buffers=buffers)


@given(job=jobs(), device=devices(), factor=factors, data=st.data())
def test_more_buffer_never_costs_traffic_or_time(
    job: LayerJob, device: Accelerator, factor: float, data: st.DataObject
) -> None:
    grown = data.draw(st.sets(st.sampled_from([buffer.name for buffer in device.buffers]), min_size=1))
    buffers = tuple(
        dataclasses.replace(buffer, size_bytes=int(buffer.size_bytes * factor)) if buffer.name in grown else buffer
        for buffer in device.buffers
    )
    small, large = evaluate([job], device), evaluate([job], dataclasses.replace(device, buffers=buffers))
    assert large.dram_bits <= small.dram_bits
    assert large.latency_cycles <= small.latency_cycles


@given(job=jobs(), more=st.tuples(*(st.integers(1, 4) for _ in range(6))), unroll=st.sampled_from(UNROLLS))
def test_more_lanes_never_cost_cycles(job: LayerJob, more: tuple[int, ...], unroll: Unroll) -> None:
    fields = ("out_h", "out_w", "out_channels", "in_channels", "kernel", "depthwise_channels")
    lanes = {field: getattr(unroll, field) * times for field, times in zip(fields, more, strict=True)}
    lanes["depthwise_channels"] = min(lanes["depthwise_channels"], lanes["out_channels"] * lanes["in_channels"])
    wider = dataclasses.replace(unroll, **lanes)
    device = dataclasses.replace(DEVICES["gemmini_default"], dataflow="unrolled")
    few, many = (dataclasses.replace(device, unroll=each) for each in (unroll, wider))
    assert evaluate([job], many).layers[0].compute_cycles <= evaluate([job], few).layers[0].compute_cycles


@given(
    sizes=st.tuples(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 3000)),
    array=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    more=st.tuples(st.integers(0, 64), st.integers(0, 64)),
    dataflow=st.sampled_from(sorted(SYSTOLIC_DATAFLOWS)),
)
def test_a_larger_array_takes_no_more_folds_and_each_only_its_longer_fill(
    sizes: tuple[int, int, int], array: tuple[int, int], more: tuple[int, int], dataflow: str
) -> None:
    # A larger array is not always faster: what one fold waits for grows with its rows and columns.
    small = systolic_counts(*sizes, *array, dataflow)
    large = systolic_counts(*sizes, array[0] + more[0], array[1] + more[1], dataflow)
    folds = [int(counts.row_folds * counts.column_folds) for counts in (small, large)]
    assert folds[1] <= folds[0]
    longer = more[0] * (1 if dataflow == "os" else 2) + more[1]
    assert int(large.cycles) <= int(small.cycles) + folds[1] * longer


@given(job=jobs(), operand=st.sampled_from(["weight_bits", "input_bits", "output_bits"]), wider=widths)
def test_wider_operands_never_save_energy_on_bitfusion(job: LayerJob, operand: str, wider: int) -> None:
    narrow, wide = sorted((getattr(job, operand), wider))
    low, high = (_layer(dataclasses.replace(job, **{operand: bits}), "bitfusion") for bits in (narrow, wide))
    assert low.energy_pj <= high.energy_pj * (1 + 1e-12)
    assert low.mac_pj <= high.mac_pj * (1 + 1e-12)


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
