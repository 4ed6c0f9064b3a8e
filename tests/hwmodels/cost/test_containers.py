"""A device whose files hold whole bytes gains nothing from narrower operands in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import NETWORKS, LayerJob, LayerShape, evaluate, layer_arrays, load, names, with_widths
from hwmodels.device.accelerator import Accelerator
from hwmodels.workload.tensor_arrays import tensor_arrays

RESNET = NETWORKS["mlperf_tiny_resnet8"]()
BYTES = ("edge_tpu", "ethos_u55_128", "ethos_u55_256_sram", "gap9_ne16", "max78000", "stm32h7a3", "tpu_v1")


def figures(device: Accelerator, weight_bits: int, input_bits: int) -> tuple[float, ...]:
    """Energy, time, memory and traffic."""
    jobs, tensors = RESNET.at(weight_bits, input_bits)
    cost = evaluate(jobs, device, tensors)
    sizes = (cost.weight_bytes, cost.peak_activation_bytes, cost.arena_bytes, cost.dram_bits)
    return (round(cost.energy_pj - cost.energy_pj_by_component["vector"], 3), cost.latency_cycles, *sizes)


@pytest.mark.parametrize("name", BYTES)
def test_activations_of_4_bits_take_bytes(name: str) -> None:
    device = load(name)
    assert "activations" not in device.packed
    assert figures(device, 8, 4) == figures(device, 8, 8)
    packed = dataclasses.replace(device, packed=("weights", "activations"))
    assert figures(packed, 8, 4)[3] == figures(packed, 8, 8)[3] // 2


def test_weights_of_4_bits_take_bytes_on_an_edge_tpu_and_half_of_them_on_a_microcontroller() -> None:
    assert figures(load("edge_tpu"), 4, 8) == figures(load("edge_tpu"), 8, 8)
    flash = [figures(load("stm32h7a3"), bits, 8)[2] for bits in (4, 8)]
    stored = 8 * sum(layer.out_channels for layer in RESNET.layers if layer.weights)
    odd = 8  # half a byte for each of the 16 filters of 27 weights
    assert flash[1] - stored == 2 * (flash[0] - stored - odd)


def test_a_large_network_does_not_fit_the_edge_tpu_for_being_narrow() -> None:
    network, device = NETWORKS["resnet50"](), load("edge_tpu")
    packing = dataclasses.replace(device, packed=("weights", "activations"))
    wide, narrow = (evaluate(network.at(bits, 8).jobs, device).latency_ms for bits in (8, 4))
    assert narrow == wide > 1.5 * evaluate(network.at(4, 8).jobs, packing).latency_ms


def test_wider_sums_are_held_as_they_are_and_candidates_as_each_alone() -> None:
    device = load("ethos_u55_128")
    assert [device.contain(bits, "activations") for bits in (1, 8, 9, 32)] == [8, 8, 16, 32]
    layers = with_widths(layer_arrays(RESNET.jobs()), input_bits=np.array([[4], [8]]), output_bits=np.array([[4], [8]]))
    costs = evaluate(layers, device, tensor_arrays(RESNET.tensors))
    assert costs.dram_bits[0] == costs.dram_bits[1]
    assert costs.latency_cycles[0] == costs.latency_cycles[1]
    assert costs.peak_activation_bytes.tolist() == [49152, 49152]


def test_a_width_limits_the_entropy_of_coded_weights_whatever_holds_them() -> None:
    device = load("ethos_u55_128")
    packed = dataclasses.replace(device, packed=("weights", "activations"))
    for bits in (2, 4, 8):
        jobs = RESNET.jobs(bits, 8)
        assert evaluate(jobs, device).weight_bytes == evaluate(jobs, packed).weight_bytes
    coded, width = (dataclasses.replace(RESNET.jobs(4, 8)[0], entropy_bits=bits) for bits in (2.0, 4 / 1.06))
    assert evaluate([coded], device).weight_bytes < evaluate([width], device).weight_bytes
    assert evaluate([width], device).weight_bytes == evaluate(RESNET.jobs(4, 8)[:1], device).weight_bytes


@pytest.mark.parametrize("name", names())
def test_what_units_compute_does_not_follow_from_what_memories_hold(name: str) -> None:
    product = LayerShape(name="qk", kind="matmul", in_channels=64, out_channels=100, in_h=100, out_h=100)
    jobs = [LayerJob(shape=product, weight_bits=2, input_bits=4), *RESNET.jobs(2, 4)]
    held = [dataclasses.replace(load(name), packed=packed) for packed in ((), ("weights", "activations"))]
    containers, packed = (evaluate(jobs, device).layers for device in held)
    for one, other in zip(containers, packed, strict=True):
        assert (one.mac_pj, one.vector_pj, one.array_cycles) == (other.mac_pj, other.vector_pj, other.array_cycles)


def test_the_second_operand_of_a_product_of_activations_is_one() -> None:
    device = dataclasses.replace(load("edge_tpu"), packed=("weights",))
    product = LayerShape(name="qk", kind="matmul", in_channels=64, out_channels=100, in_h=100, out_h=100)
    moved = [
        evaluate([LayerJob(shape=product, weight_bits=bits)], device).layers[0].dram_weight_bits for bits in (2, 8)
    ]
    assert moved == [8 * 64 * 100] * 2


NARROW_WEIGHTS = {
    "edge_tpu": "memories hold them as wide, and they save nothing",
    "ethos_u55_128": "they save what their lower entropy does",
    "stm32h7a3": "they save storage and DRAM traffic",
}


@pytest.mark.parametrize("name", NARROW_WEIGHTS)
def test_the_note_says_what_narrow_operands_save(name: str) -> None:
    jobs, tensors = RESNET.at(4, 4)
    notes = evaluate(jobs, load(name), tensors).notes
    weights = f"4-bit weights run as 8-bit weights on {name}: {NARROW_WEIGHTS[name]}"
    inputs = f"4-bit inputs run as 8-bit inputs on {name}: memories hold them as wide, and they save nothing"
    for start in (weights, inputs):
        assert any(note.startswith(start) for note in notes)
