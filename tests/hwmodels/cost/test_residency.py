"""What stays on chip, against a simulation step by step, and what must hold whatever stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import (
    NETWORKS,
    NOTHING_STAYS,
    Accelerator,
    ActivationTensor,
    DeviceError,
    LayerError,
    LayerJob,
    MapKeeper,
    NetworkCost,
    evaluate,
    layer_arrays,
    load,
    names,
    stack,
    stack_tensors,
    with_widths,
)
from hwmodels.workload.network_builder import ActivationFunction, FeatureMap, NetworkBuilder
from tests.oracles.residency import Chip, find_staying
from tests.support.passing import keep_nothing

Workload = tuple[tuple[LayerJob, ...], tuple[ActivationTensor, ...]]


def with_size(device: Accelerator, size_bytes: int, weight_bytes: int | None = None) -> Accelerator:
    """The device with another size of the buffer that keeps activations, and of that of the weights."""
    sizes = {"weights": weight_bytes} if weight_bytes is not None else {}
    sizes["inputs"] = size_bytes
    buffers = device.buffers
    for operand, size in sizes.items():
        buffers = tuple(replace(each, size_bytes=size) if operand in each.operands else each for each in buffers)
    return replace(device, buffers=buffers)


def unified(device: Accelerator) -> Accelerator:
    """The device with one buffer for all operands."""
    buffer = replace(device.find_buffer("inputs"), operands=("weights", "inputs", "outputs"), keeps=("maps", "weights"))
    return replace(device, buffers=(buffer,))


def apart(device: Accelerator) -> Accelerator:
    """The device with a buffer for each operand, of which that of inputs keeps activations."""
    one = device.find_buffer("inputs")
    keeps = {"weights": ("weights",), "inputs": ("maps",), "outputs": ()}
    return replace(
        device,
        buffers=tuple(replace(one, name=each, operands=(each,), keeps=kept) for each, kept in keeps.items()),
    )


GEMMINI = load("gemmini_default")
DEVICES = {
    "shared": GEMMINI,
    "apart": apart(GEMMINI),
    "unified": unified(GEMMINI),
    "in place": replace(apart(load("bit_serial_16x16")), dataflow="os"),
}


@st.composite
def workloads(draw: st.DrawFn, batch: int = 1) -> Workload:
    """Networks with branches, additions, pools, functions in place and two results, at widths of their own."""
    build = NetworkBuilder("random", batch)
    size = draw(st.integers(2, 8))
    maps: list[FeatureMap] = [build.image(draw(st.integers(1, 6)), size, size)]
    for index in range(draw(st.integers(1, 9))):
        x = maps[draw(st.integers(max(0, len(maps) - 3), len(maps) - 1))]
        same = [other for other in maps if replace(other, tensor=0) == replace(x, tensor=0)]
        kind = draw(st.sampled_from(("conv", "depthwise", "add", "pool", "linear")))
        function: ActivationFunction = draw(st.sampled_from(("", "relu")))
        if kind == "add":
            y = draw(st.sampled_from(same))
            maps.append(build.add(f"add{index}", x, y, function))
        elif kind == "pool" and min(x.height, x.width) >= 2:
            maps.append(build.pool(f"pool{index}", x, (2, 2), 2))
        elif kind == "linear":
            maps.append(build.linear(f"fc{index}", x, draw(st.integers(1, 40)), function))
        elif kind == "depthwise":
            maps.append(build.conv(f"dw{index}", x, x.channels, (3, 3), groups=x.channels, function=function))
        else:
            channels, kernel = draw(st.integers(1, 24)), draw(st.sampled_from((1, 3)))
            maps.append(build.conv(f"conv{index}", x, channels, (kernel, kernel), function=function))
    network = build.network()
    widths = st.sampled_from((2, 4, 8))
    tensors = tuple(replace(tensor, bits=draw(widths)) for tensor in network.tensors)
    reads = [[t.bits for t in tensors if layer in t.readers] for layer in range(len(network.layers))]
    writes = [next(t.bits for t in tensors if layer in t.writers) for layer in range(len(network.layers))]
    jobs = tuple(
        LayerJob(shape=shape, weight_bits=draw(widths), input_bits=max(read), output_bits=written)
        for shape, read, written in zip(network.layers, reads, writes, strict=True)
    )
    return jobs, tensors


def staying(cost: NetworkCost, jobs: Sequence[LayerJob], tensors: Sequence[ActivationTensor]) -> list[bool | None]:
    """Whether each activation stays as its writers' and readers' costs say; None where they contradict each other."""
    found: list[bool | None] = []
    for tensor in tensors:
        said = {cost.layers[layer].resident_output for layer in tensor.writers}
        found.append(said.pop() if len(said) == 1 else None if said else False)
    return found


@pytest.mark.parametrize("device", DEVICES)
@given(workload=workloads(), size=st.integers(1, 6000), weight_size=st.integers(1, 6000))
def test_what_stays_is_what_a_simulation_keeps(device: str, workload: Workload, size: int, weight_size: int) -> None:
    jobs, tensors = workload
    shared = device in ("shared", "unified")
    chip = with_size(DEVICES[device], size, None if shared else weight_size)
    simulated = Chip(
        capacity=8 * size,
        weight_capacity=None if shared else 8 * weight_size,
        columns=chip.columns,
        weight_widths=chip.weight_bits,
        input_widths=chip.input_bits,
    )
    expected = find_staying(jobs, tensors, simulated)
    cost, off = evaluate(jobs, chip, tensors), evaluate(jobs, keep_nothing(chip), tensors)
    assert staying(cost, jobs, tensors) == [
        stay if tensor.writers else False for stay, tensor in zip(expected, tensors, strict=True)
    ]
    for index, (layer, before) in enumerate(zip(cost.layers, off.layers, strict=True)):
        operands = jobs[index].shape.operands
        stay = sum(tensor.readers.count(index) for tensor, kept in zip(tensors, expected, strict=True) if kept)
        assert layer.resident_inputs == stay
        once = before.dram_input_bits if not layer.macs else jobs[index].shape.inputs * jobs[index].memory_input_bits
        if layer.resident_beside or stay:
            assert layer.dram_input_bits == (once * (operands - stay) // operands if before.dram_input_bits else 0)
        else:
            assert layer.dram_input_bits == before.dram_input_bits
        assert layer.dram_output_bits == (0 if layer.resident_output else before.dram_output_bits)


@pytest.mark.parametrize("device", DEVICES)
@given(workload=workloads(), sizes=st.tuples(st.integers(1, 6000), st.integers(1, 6000)))
def test_a_larger_buffer_never_sends_more_to_memory_and_keeping_never_more_than_not(
    device: str, workload: Workload, sizes: tuple[int, int]
) -> None:
    jobs, tensors = workload
    small, large = (evaluate(jobs, with_size(DEVICES[device], size), tensors) for size in sorted(sizes))
    without = evaluate(jobs, keep_nothing(with_size(DEVICES[device], min(sizes))), tensors)
    kept_small, kept_large = staying(small, jobs, tensors), staying(large, jobs, tensors)
    assert all(after or not before for before, after in zip(kept_small, kept_large, strict=True))
    assert large.dram_bits <= small.dram_bits <= without.dram_bits
    for layer, before in zip(small.layers, without.layers, strict=True):
        assert layer.dram_weight_bits <= before.dram_weight_bits
        assert layer.dram_input_bits <= before.dram_input_bits
        assert layer.dram_output_bits <= before.dram_output_bits
        assert layer.latency_cycles <= before.latency_cycles
    assert small.energy_pj <= without.energy_pj


@given(data=st.data(), size=st.integers(1, 6000))
def test_candidates_cost_what_each_costs_alone(data: st.DataObject, size: int) -> None:
    jobs, tensors = data.draw(workloads())
    widths = st.sampled_from((2, 4, 8))
    candidates = [(jobs, tensors)]
    for _ in range(3):
        narrow = tuple(replace(job, weight_bits=data.draw(widths)) for job in jobs)
        candidates.append((narrow, tuple(replace(tensor, bits=data.draw(widths)) for tensor in tensors)))
    chip = with_size(GEMMINI, size)
    costs = evaluate(stack([each for each, _ in candidates]), chip, stack_tensors([each for _, each in candidates]))
    for index, (each, held) in enumerate(candidates):
        one = evaluate(each, chip, held)
        assert costs.energy_pj[index] == pytest.approx(one.energy_pj, rel=1e-12)
        assert (costs.latency_cycles[index], costs.dram_bits[index]) == (one.latency_cycles, one.dram_bits)
        assert costs.peak_activation_bytes[index] == one.peak_activation_bytes
        assert [fit.needed_bytes[index] for fit in costs.memory_fits] == [fit.needed_bytes for fit in one.fits]
        assert costs.fits[index] == all(fit.fits for fit in one.fits if fit.required)
        kept = ("activations stay", "has no room", "where memory holds activations")
        ours, theirs = (
            [re.sub(r"\(.*\)", "", note) for note in notes if any(words in note for words in kept)]
            for notes in (costs.list_notes(index), one.notes)
        )
        assert ours == theirs


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("operand", ["weight_bits", "input_bits", "output_bits"])
def test_whichever_width_makes_the_candidates_each_has_its_fits_and_notes(name: str, operand: str) -> None:
    network, device = NETWORKS["lenet5"](), load(name)
    layers = layer_arrays(network.jobs())
    costs = evaluate(with_widths(layers, **{operand: np.array([[[4]], [[8]]])}), device, network.tensors)
    assert costs.fits.shape == (2, 1)
    for index, bits in enumerate((4, 8)):
        chosen: dict[str, Any] = {operand: bits}
        jobs = [replace(job, **chosen) for job in network.jobs()]
        one = evaluate(jobs, device, network.tensors)
        assert tuple(fit.take((index, 0)) for fit in costs.memory_fits) == one.fits
        assert len(costs.list_notes((index, 0))) == len(one.notes)


def test_no_candidates_are_refused() -> None:
    network = NETWORKS["lenet5"]()
    none = with_widths(layer_arrays(network.jobs()), weight_bits=np.zeros((0, 1), dtype=int))
    with pytest.raises(LayerError, match=r"at least one candidate and one layer, received arrays of shape \(0, 11\)"):
        evaluate(none, GEMMINI, network.tensors)


def test_the_inputs_and_the_results_pass_memory() -> None:
    network = NETWORKS["mlperf_tiny_resnet8"]()
    cost = evaluate(network.jobs(), GEMMINI, network.tensors)
    by_name = {layer.name: layer for layer in cost.layers}
    assert by_name["conv1"].dram_input_bits == 3 * 32 * 32 * 8
    assert by_name["softmax"].dram_output_bits == 0 or "activation" in GEMMINI.vector.fused
    moved = sum(layer.dram_input_bits + layer.dram_output_bits for layer in cost.layers)
    assert moved == 3 * 32 * 32 * 8
    assert cost.dram_bits == moved + 8 * 80128


def test_a_buffer_keeps_only_what_lives_in_it() -> None:
    scratchpad, accumulator = GEMMINI.buffers
    with pytest.raises(DeviceError, match=r"buffers.accumulator.keeps: expected 'inputs' among the operands"):
        replace(GEMMINI, buffers=(scratchpad, replace(accumulator, keeps=("maps",))))
    with pytest.raises(DeviceError, match=r"buffers.scratchpad.keeps: expected one of .*, received 'sums'"):
        replace(GEMMINI, buffers=(replace(scratchpad, keeps=("sums",)), accumulator))
    with pytest.raises(DeviceError, match=r"buffers.scratchpad.keeps: expected none where array.output_traffic is"):
        replace(GEMMINI, output_traffic="sums")
    eyeriss = load("eyeriss_v1")
    with pytest.raises(DeviceError, match=r"buffers.global.keeps: expected none for the dataflow 'rs'"):
        replace(eyeriss, buffers=(replace(eyeriss.buffers[0], keeps=("maps",)),))


def test_activations_of_another_network_are_refused() -> None:
    network, other = NETWORKS["lenet5"](), NETWORKS["resnet20"]()
    with pytest.raises(LayerError, match=r"expected writers and readers among 11 layers, counted from 0, received 15"):
        evaluate(network.jobs(), GEMMINI, other.tensors)
    with pytest.raises(
        LayerError, match=r"of as many candidates as there are layers of, \(3,\), or of one, received \(2,\)$"
    ):
        evaluate(stack([network.jobs()] * 3), GEMMINI, stack_tensors([network.tensors] * 2))
    with pytest.raises(LayerError, match=r"expected at least one activation, received none"):
        MapKeeper(GEMMINI, (), len(network.layers))
    with pytest.raises(LayerError, match=r"expected candidates of one network.* others at position 1 than at 0"):
        stack_tensors([network.tensors, other.tensors])


@pytest.mark.parametrize("name", ["gemmini_default", "bit_serial_16x16"])
def test_what_stays_may_be_given_beside_the_activations(name: str) -> None:
    network, device = NETWORKS["mlperf_tiny_resnet8"](), load(name)
    layers = layer_arrays(network.jobs())
    found = evaluate(layers, device, network.tensors)
    given = evaluate(layers, device, network.tensors, found.terms.kept.residency)
    assert given.energy_pj == found.energy_pj
    assert [fit.needed_bytes.tolist() for fit in given.memory_fits] == [
        fit.needed_bytes.tolist() for fit in found.memory_fits
    ]
    nothing = evaluate(layers, device, network.tensors, NOTHING_STAYS)
    assert nothing.dram_bits > found.dram_bits
    for costs in (given, nothing):
        assert f"what stays in {device.find_buffer('inputs').name} is given" in " ".join(costs.list_notes(()))


def test_the_notes_of_a_candidate_are_of_what_stays_by_what_was_given() -> None:
    network = NETWORKS["mlperf_tiny_resnet8"]()
    dear = replace(GEMMINI.memories[0], energy_pj_per_bit=100.0)
    guessed = {**GEMMINI.sources, "memories.dram.energy_pj_per_bit": "assumed"}
    device = replace(GEMMINI, memories=(dear,), sources=guessed)
    shares = []
    for stays in (None, NOTHING_STAYS):
        costs = evaluate(layer_arrays(network.jobs()), device, network.tensors, stays)
        share = costs.energy_pj_by_component()["dram"] / costs.energy_pj
        noted = [note for note in costs.list_notes(()) if note.startswith(f"{100 * share:.0f} % of the energy is")]
        assert len(noted) == 1
        shares.append(round(float(share), 2))
    assert shares[0] < shares[1]
