"""Explanations of a layer's cost: every formula gives the number that it explains."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Callable
from functools import cache
from types import CodeType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels import (
    DATAFLOWS,
    LAWS,
    NETWORKS,
    WEIGHT_FORMATS,
    Accelerator,
    Blocks,
    Buffer,
    LayerCost,
    LayerError,
    LayerJob,
    LayerShape,
    Memory,
    Registers,
    Residency,
    Unroll,
    evaluate,
    load,
    names,
    tensor_arrays,
)
from hwmodels.cost.evaluate import evaluate_network
from hwmodels.cost.explain import FIGURES, explain, explain_figures
from hwmodels.cost.explanation import Explanation
from hwmodels.device.profiles import read_source_ids
from tests.support.tiers import cases, thinned

DEVICES = {name: load(name) for name in names()}
FUNCTIONS: dict[str, Callable[..., float]] = {"ceil": math.ceil, "floor": math.floor, "max": max, "min": min}
UNITS = {"cycles": "cycles", "bits": "bit", "bytes": "byte", "pj": "pJ"}
SYNTAX = (
    *(ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div),
    *(ast.Call, ast.Name, ast.Load, ast.Constant),
)
SIZES: dict[str, Any] = {
    **{"kernel_h": 3, "kernel_w": 3, "in_h": 32, "in_w": 24, "out_h": 16, "out_w": 12},
    **{"stride_h": 2, "stride_w": 2},
}
CONV = LayerShape(name="conv", kind="conv", in_channels=48, out_channels=40, **SIZES)
POOL = LayerShape(name="pool", kind="pool", in_channels=5, out_channels=5, **SIZES)
LAYERS = {
    "conv": CONV,
    "first": dataclasses.replace(CONV, in_channels=3, kernel_h=7, kernel_w=7, batch=4),
    "grouped": dataclasses.replace(CONV, groups=4, bias=False),
    "depthwise": dataclasses.replace(CONV, out_channels=48, groups=48),
    "multiplied": dataclasses.replace(CONV, out_channels=96, groups=48),
    "skipping": dataclasses.replace(CONV, kernel_h=1, kernel_w=1),
    "tall": dataclasses.replace(CONV, kernel_h=20, kernel_w=2, in_h=40, out_h=40, stride_h=1),
    "linear": LayerShape(name="fc", kind="linear", in_channels=3000, out_channels=1000, batch=2),
    "matmul": LayerShape(name="qk", kind="matmul", in_channels=256, out_channels=392, in_h=98, out_h=98, groups=4),
    "pool": POOL,
    "add": LayerShape(name="add", kind="add", in_channels=7, out_channels=7, in_h=9, out_h=9, operands=3),
    "activation": LayerShape(name="relu", kind="activation", in_channels=7, out_channels=7, in_h=9, out_h=9),
}
FEW = ("first", "grouped", "multiplied", "linear", "matmul")
"""For dataflows that are not a device's own."""


@cache
def parse(formula: str) -> tuple[CodeType, set[str]]:
    """The compiled formula, which calls FUNCTIONS alone, and the names in it."""
    tree = ast.parse(formula, mode="eval")
    nodes = list(ast.walk(tree))
    assert all(isinstance(node, SYNTAX) for node in nodes), formula
    called = {id(node.func): node.func for node in nodes if isinstance(node, ast.Call)}
    assert {ast.unparse(function) for function in called.values()} <= set(FUNCTIONS)
    free = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called}
    return compile(tree, formula, "eval"), free


def value_of(explained: Explanation) -> float:
    """What the formula gives with the values of its terms, which must be the names in it and no others."""
    code, free = parse(explained.formula)
    values = {term.name: term.value for term in explained.terms}
    assert len(values) == len(explained.terms)
    assert set(values) == free
    result: float = eval(code, {"__builtins__": {}, **FUNCTIONS}, values)
    return result


NOTHING = (0, False, False, False)


def check(job: LayerJob, device: Accelerator, stays: tuple[int, bool, bool, bool]) -> None:
    """Hold every figure's formula against the cost, given what of the layer's operands stays on chip."""
    operands, second, *others = stays
    residency = (min(operands, job.shape.operands), second and job.shape.kind == "matmul", *others)
    cost = evaluate_network([job], device, tensor_arrays(()), Residency(*map(np.atleast_1d, residency))).layers[0]
    for figure, explained in zip(FIGURES, explain_figures(job, device, FIGURES, cost), strict=True):
        expected = getattr(cost, figure)
        assert (explained.layer, explained.figure, explained.value) == (job.shape.name, figure, expected)
        assert explained.unit == UNITS.get(figure.split("_")[-1], "")
        found = value_of(explained)
        where = f"{device.name}, {device.dataflow}, {job}\n{explained}"
        if isinstance(expected, int):
            assert found == expected, where
        else:
            assert found == pytest.approx(expected, rel=1e-9, abs=0), where
        for term in explained.terms:
            assert term.source, where
            if term.source.startswith("explain "):
                assert term.source == f"explain {term.name}"
                assert term.name in FIGURES
                assert term.value == getattr(cost, term.name)


def with_dataflow(device: Accelerator, dataflow: str) -> Accelerator:
    """The device with another dataflow, and what that needs."""
    registers = device.registers if device.registers.words else Registers(words=261, energy_pj_per_bit=0.1)
    buffers = device.buffers
    if dataflow == "rs":  # which keeps no activations
        buffers = tuple(dataclasses.replace(buffer, keeps=()) for buffer in buffers)
    return dataclasses.replace(
        device,
        buffers=buffers,
        dataflow=dataflow,
        rows=max(device.rows, 12),
        columns=max(device.columns, 14),
        registers=registers,
    )


@thinned("device layer", 2, names(), LAYERS)
def test_every_formula_gives_its_number(device: str, layer: str) -> None:
    check(LayerJob(shape=LAYERS[layer]), DEVICES[device], NOTHING)


@pytest.mark.slow
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("device", names())
def test_every_formula_gives_its_number_on_any_dataflow(device: str, dataflow: str) -> None:
    for name in FEW:
        check(LayerJob(shape=LAYERS[name]), with_dataflow(DEVICES[device], dataflow), NOTHING)


def test_a_figure_alone_is_explained_as_beside_the_others() -> None:
    job, device = LayerJob(shape=CONV), DEVICES["bitfusion"]
    assert tuple(explain(job, device, figure) for figure in FIGURES) == explain_figures(job, device, FIGURES)


def test_all_numbers_but_those_of_the_layer_and_the_profile_are_explained() -> None:
    left_out = {"name", "kind", "bound", "weight_format", "buffers_pj", "macs", "vector_operations"}
    left_out |= {"resident_inputs", "resident_second", "resident_output", "resident_beside"}
    assert set(LayerCost._fields) - set(FIGURES) == left_out


places = st.sampled_from(
    (
        (("weights",), ("inputs",), ("outputs",)),
        (("weights", "inputs", "outputs"),),
        (("outputs",), ("weights", "inputs")),
        (("inputs", "outputs"), ("weights",)),
    )
)
place_names = st.lists(st.text(min_size=1, max_size=3), min_size=3, max_size=3, unique=True)
energies = st.just(0.0) | st.floats(1e-3, 3.0)
LOOPS = ("out_h", "out_w", "out_channels", "in_channels", "kernel", "depthwise_channels")
bandwidths = st.sampled_from((0.0, 8.0, 37.5, 4096.0))


@st.composite
def unrolls(draw: st.DrawFn) -> Unroll:
    """Loops side by side, with no more depthwise channels than there are lanes for them."""
    loops = {loop: draw(st.integers(1, 9)) for loop in LOOPS}
    lanes = loops["out_channels"] * loops["in_channels"]
    loops["depthwise_channels"] = min(loops["depthwise_channels"], lanes)
    return Unroll(**loops, rate=draw(st.floats(0.1, 2.0)))


blocks = st.builds(
    Blocks,
    traversals=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=3).map(tuple),
    depthwise_kernel=st.integers(1, 9),
    weights_per_cycle=st.floats(0.1, 20.0),
    outputs_per_cycle=st.floats(0.1, 20.0),
    outputs=st.integers(1, 5000),
)
"""Sets of weights, decoders and blocks of any size."""


@st.composite
def buffers(draw: st.DrawFn, one: Buffer, *, keeps: bool) -> tuple[Buffer, ...]:
    """Buffers of any name and size, each operand in one of them; that of inputs may keep activations."""
    return tuple(
        dataclasses.replace(
            one,
            name=name,
            operands=operands,
            size_bytes=draw(st.integers(1, 100_000)),
            read_energy_pj_per_bit=draw(energies),
            write_energy_pj_per_bit=draw(energies),
            bandwidth_bits_per_cycle=draw(bandwidths),
            read_by=draw(st.sampled_from(("edge", "edge", "unit"))),
            keeps=("maps",) if "inputs" in operands and keeps else (),
        )
        for name, operands in zip(draw(place_names), draw(places), strict=False)
    )


@st.composite
def memories(draw: st.DrawFn, one: Memory) -> tuple[Memory, ...]:
    """The same of memories; one of size 0, which holds everything, has nothing that overflows."""
    return tuple(
        dataclasses.replace(
            one,
            name=name,
            operands=operands,
            energy_pj_per_bit=draw(energies),
            bandwidth_bits_per_s=draw(st.floats(1e7, 1e12)),
            size_bytes=size_bytes,
            overflow_bandwidth_bits_per_s=draw(st.sampled_from((0.0, 4e9))) if size_bytes else 0.0,
        )
        for name, operands in zip(draw(place_names), draw(places), strict=False)
        for size_bytes in [draw(st.sampled_from((0, 1000, 100_000)))]
    )


@st.composite
def devices(draw: st.DrawFn) -> Accelerator:
    """Devices of any dataflow, precision law, buffers and memories, with places of any name."""
    device = with_dataflow(DEVICES[draw(st.sampled_from(sorted(DEVICES)))], draw(st.sampled_from(sorted(DATAFLOWS))))
    output_traffic = draw(st.sampled_from(("outputs", "sums")))
    keeps = device.dataflow != "rs" and output_traffic == "outputs" and draw(st.booleans())
    return dataclasses.replace(
        device,
        buffers=draw(buffers(device.buffers[0], keeps=keeps)),
        memories=draw(memories(device.memories[0])),
        rows=draw(st.integers(1, 40)),
        columns=draw(st.integers(1, 40)),
        pipelined_folds=draw(st.booleans()),
        diagonal_groups=draw(st.booleans()),
        k_packing=draw(st.sampled_from(("dense", "channels"))),
        output_traffic=output_traffic,
        precision_law=draw(st.sampled_from(sorted(LAWS))),
        macs_per_cycle=(),
        native_bits=draw(st.sampled_from((2, 4, 8, 16))),
        weight_bits=draw(st.sampled_from(((1, 2, 4, 8, 16, 32), (8, 32)))),
        input_bits=draw(st.sampled_from(((1, 3, 8, 32), (16, 32)))),
        weight_formats=draw(
            st.sampled_from((("dense",), ("csr", "dense", "codebook"), ("dense", "bitmap"), ("entropy",)))
        ),
        vector=dataclasses.replace(
            device.vector,
            operations_per_cycle=draw(st.sampled_from((0.3, 1.0, 32.0))),
            pool_operations_per_cycle=draw(st.sampled_from((0.0, 1.5))),
            fused=draw(st.sampled_from(((), ("pool", "activation")))),
        ),
        idle_energy_share=draw(st.sampled_from((0.0, 0.3, 1.0))),
        network_energy_pj_per_bit=draw(energies),
        static_power_w=draw(energies),
        layer_overhead_cycles=draw(st.integers(0, 1000)),
        energy_factor=draw(st.floats(0.5, 2.0)),
        registers=Registers(words=draw(st.integers(3, 300)), accesses_per_mac=draw(energies), energy_pj_per_bit=0.3),
        unroll=draw(unrolls()),
        blocks=draw(blocks),
    )


@st.composite
def jobs(draw: st.DrawFn) -> LayerJob:
    """Layers of every kind, with any widths, zeros and codebooks."""
    shape = draw(st.sampled_from(sorted(LAYERS)).map(LAYERS.__getitem__))
    if shape.kind == "conv":
        groups, out_h, out_w = draw(st.integers(1, 12)), draw(st.integers(1, 30)), draw(st.integers(1, 30))
        strides = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        shape = dataclasses.replace(
            shape,
            in_channels=groups * draw(st.integers(1, 30)),
            out_channels=groups * draw(st.integers(1, 30)),
            groups=groups,
            kernel_h=draw(st.integers(1, 8)),
            kernel_w=draw(st.integers(1, 8)),
            in_h=out_h * strides[0],
            in_w=out_w * strides[1],
            stride_h=strides[0],
            stride_w=strides[1],
            dilation_h=draw(st.integers(1, 2)),
            dilation_w=draw(st.integers(1, 2)),
            out_h=out_h,
            out_w=out_w,
            bias=draw(st.booleans()),
        )
    codebook_size, codebooks = draw(st.none() | st.integers(1, 300)), draw(st.sampled_from((1, shape.out_channels)))
    input_bits = draw(st.integers(1, 32))
    return LayerJob(
        shape=dataclasses.replace(shape, batch=draw(st.integers(1, 4))),
        weight_bits=draw(st.sampled_from((1, 2, 3, 4, 8, 31, 32))),
        input_bits=input_bits,
        output_bits=draw(st.integers(1, 32)),
        stored_input_bits=draw(st.none() | st.integers(input_bits, 32)),
        density=draw(st.sampled_from((0.0, 0.01, 0.1, 0.5, 1.0)) | st.floats(0, 1)),
        codebook_size=codebook_size,
        codebooks=codebooks,
        index_code_bits=draw(st.none() | st.floats(0.5, 8.0)) if codebook_size else None,
        entropy_bits=draw(st.none() | st.just(0.0) | st.floats(0, 8)),
        fusible=draw(st.booleans()),
        weights_elsewhere=draw(st.booleans()),
    )


@cases(15, 300)
def test_any_formula_gives_its_number(count: int) -> None:
    stays = st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans())
    settings(max_examples=count)(given(job=jobs(), device=devices(), stays=stays)(check))()


def test_weights_of_another_layer_take_no_storage_but_are_fetched() -> None:
    shared, device = LayerJob(shape=CONV, weights_elsewhere=True), load("bitfusion")
    check(shared, device, NOTHING)
    assert explain(shared, device, "weight_bytes").value == 0
    own = explain(LayerJob(shape=CONV), device, "dram_weight_bits").value
    assert explain(shared, device, "dram_weight_bits").value == own > 0


def test_what_stays_is_explained() -> None:
    network = NETWORKS["mlperf_tiny_resnet8"]()
    device = load("gemmini_default")
    layers = evaluate(network.jobs(), device, network.tensors).layers
    add, job = next((layer, job) for layer, job in zip(layers, network.jobs(), strict=True) if layer.kind == "add")
    assert (add.resident_inputs, add.resident_output, add.dram_input_bits, add.dram_output_bits) == (2, True, 0, 0)
    explained = explain(job, device, "dram_input_bits", add)
    assert (explained.value, value_of(explained)) == (0, 0)
    term = next(term for term in explained.terms if term.name == "resident_inputs")
    assert (term.value, term.source) == (2, "what stays on chip (hwmodels.cost.residency)")
    assert explain(job, device, "dram_input_bits").value == 2 * 16 * 32 * 32 * 8, "alone, it reads memory"


FORMATS = {
    "dense": LayerJob(shape=CONV),
    "codebook": LayerJob(shape=CONV, codebook_size=6),
    "codebook_huffman": LayerJob(shape=CONV, codebook_size=6, index_code_bits=1.7),
    "bitmap": LayerJob(shape=CONV, density=0.5),
    "relative_index": LayerJob(shape=CONV, density=0.05),
    "csr": LayerJob(shape=dataclasses.replace(CONV, in_channels=4000), density=0.0005),
    "entropy": LayerJob(shape=CONV, entropy_bits=2.34),
}
"""A job whose weights are smallest in each format."""


@pytest.mark.parametrize("weight_format", WEIGHT_FORMATS)
def test_storage_is_explained_in_the_smallest_format(weight_format: str) -> None:
    job, device = FORMATS[weight_format], DEVICES["gemmini_default"]
    if weight_format == "entropy":
        device = dataclasses.replace(device, weight_formats=("entropy",))
    assert evaluate([job], device).layers[0].weight_format == weight_format
    explained = explain(job, device, "weight_bytes")
    assert explained.reference.startswith(f"{weight_format}, the smallest of ")
    assert value_of(explained) == explained.value


def test_traffic_is_explained_in_a_format_that_the_device_reads() -> None:
    explained = explain(FORMATS["codebook"], DEVICES["gemmini_default"], "dram_weight_bits")
    assert explained.formula.startswith("8 * (out_channels * ceil(k * weight_bits / 8)")
    assert "dense, the smallest of arithmetic.weight_formats: " in explained.reference


def test_a_reader_can_redo_it() -> None:
    explained = explain(LayerJob(shape=CONV, weight_bits=4), DEVICES["bitfusion"], "dram_cycles")
    assert str(explained).splitlines() == [
        "dram_cycles of conv = 2230 cycles",
        "  = ceil((dram_weight_bits + dram_input_bits + dram_output_bits) / "
        "(memories_dram_bandwidth_bits_per_s / clock_hz))",
        "  dram_weight_bits = 71680 bit  [explain dram_weight_bits]",
        "  dram_input_bits = 294912 bit  [explain dram_input_bits]",
        "  dram_output_bits = 61440 bit  [explain dram_output_bits]",
        "  memories_dram_bandwidth_bits_per_s = 96000000000 bit/s  "
        "[memories.dram.bandwidth_bits_per_s: bitfusion_isca2018]",
        "  clock_hz = 500000000 Hz  [array.clock_hz: bitfusion_isca2018]",
        "  formula: traffic of the slowest memory (hwmodels.cost.latency)",
    ]


def test_primary_facts_have_their_references() -> None:
    device, ids = DEVICES["eyeriss_v1"], read_source_ids()
    for figure in FIGURES:
        for term in explain(LayerJob(shape=CONV), device, figure).terms:
            key, _, source = term.source.partition(": ")
            if key in device.sources:
                assert source == "assumed" or source in ids


def test_a_term_says_where_it_is_from() -> None:
    job, stated = LayerJob(shape=CONV), DEVICES["bitfusion"]
    unstated = dataclasses.replace(stated, sources={})
    sources = {
        (device.sources == {}, term.name): term.source
        for device in (stated, unstated)
        for figure in ("compute_cycles", "energy_pj", "mac_pj")
        for term in explain(job, device, figure).terms
    }
    assert sources[False, "rows"] == "array.rows: bitfusion_isca2018"
    assert sources[True, "rows"] == "array.rows: stated without a source"
    assert sources[False, "energy_factor"] == "power.energy_factor: not in the profile, the default"
    assert sources[False, "mac_pj"] == "explain mac_pj"
    assert sources[False, "m"] == "the layer: batch * out_h * out_w"
    assert "law 'fusion' at 8 x 8 bits" in sources[False, "parallel_macs"]


def test_a_name_of_a_buffer_may_be_any_text() -> None:
    device = DEVICES["gemmini_default"]
    odd = dataclasses.replace(device.buffers[0], name="scratch pad-1"), *device.buffers[1:]
    explained = explain(LayerJob(shape=CONV), dataclasses.replace(device, buffers=odd), "sram_pj")
    assert "buffers_scratch_20_pad_2d_1_read_energy_pj_per_bit" in [term.name for term in explained.terms]
    assert value_of(explained) == pytest.approx(explained.value)


@pytest.mark.parametrize(
    ("kind", "figure", "reference"),
    [
        (
            "activation",
            "compute_cycles",
            r"works on results as they leave the array \(vector.fused: bitfusion_isca2018",
        ),
        ("add", "mac_pj", "a layer of kind 'add' has neither products nor weights"),
        ("matmul", "weight_bytes", "not stored with the network"),
    ],
)
def test_what_a_layer_lacks_is_said(kind: str, figure: str, reference: str) -> None:
    explained = explain(LayerJob(shape=LAYERS[kind]), DEVICES["bitfusion"], figure)
    assert (explained.formula, explained.value, explained.terms) == ("0", 0, ())
    assert re.search(reference, explained.reference)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("dram_cycle", r"unknown figure 'dram_cycle': did you mean 'dram_cycles'\? Known figures are compute_cycles, "),
        ("name", "unknown figure 'name': .*Known figures are compute_cycles"),
    ],
)
def test_an_unknown_figure_is_refused(figure: str, text: str) -> None:
    with pytest.raises(LayerError, match=text):
        explain(LayerJob(shape=CONV), DEVICES["bitfusion"], figure)


def test_a_layer_that_the_device_cannot_run_is_refused() -> None:
    with pytest.raises(LayerError, match="expected weight_bits <= 16 on bitfusion"):
        explain(LayerJob(shape=CONV, weight_bits=17), DEVICES["bitfusion"], "energy_pj")
