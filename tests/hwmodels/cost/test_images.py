"""A batch runs in the parts that cost the least, and never more than its images one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwmodels import NETWORKS, NetworkCost, evaluate, load, names, stack, stack_tensors

GEMMINI, BIT_SERIAL = load("gemmini_default"), load("bit_serial_16x16")
KEEPERS = [name for name in names() if load(name).map_buffer is not None]
SMALL = ("lenet5", "mlperf_tiny_resnet8", "mlperf_tiny_mobilenet")


def cost(network: str, batch: int, device: str) -> NetworkCost:
    """Of a batch at 8 bits."""
    built = NETWORKS[network](batch)
    return evaluate(built.jobs(), load(device), built.tensors)


@pytest.mark.parametrize("network", SMALL)
@pytest.mark.parametrize("device", KEEPERS)
def test_a_batch_costs_no_more_than_its_even_parts(device: str, network: str) -> None:
    costs = {batch: cost(network, batch, device) for batch in (1, 2, 3, 6, 12)}
    for batch, whole in costs.items():
        assert batch % whole.runs == 0
        assert whole.latency_cycles <= batch * costs[1].latency_cycles
        for part, alone in costs.items():
            if batch % part == 0:
                assert whole.energy_pj <= batch // part * alone.energy_pj * (1 + 1e-12), (batch, part)


def test_images_that_find_no_room_together_run_one_by_one_and_cost_what_they_do_alone() -> None:
    """ResNet-8's weights take 78 KB of the 64 KB that are there; all at once 16 images took 2.17 times the energy."""
    single, batch = (cost("mlperf_tiny_resnet8", images, "bit_serial_16x16") for images in (1, 16))
    assert batch.runs == 16
    assert batch.energy_pj == pytest.approx(16 * single.energy_pj)
    assert (batch.latency_cycles, batch.dram_bits) == (16 * single.latency_cycles, 16 * single.dram_bits)
    assert any("runs in 16 parts" in note and "each fetches the weights" in note for note in batch.notes)


def test_a_part_is_of_as_many_images_as_find_room() -> None:
    parts = [cost("mlperf_tiny_mobilenet", batch, "gemmini_default") for batch in (4, 16)]
    assert [part.runs for part in parts] == [1, 4]
    assert parts[1].energy_pj == pytest.approx(4 * parts[0].energy_pj)
    assert parts[1].latency_cycles == 4 * parts[0].latency_cycles


def test_parts_after_the_first_find_the_weights_where_those_of_all_layers_stay() -> None:
    single, batch = (cost("mlperf_tiny_resnet8", images, "gemmini_default") for images in (1, 16))
    assert (single.runs, batch.runs) == (1, 8)
    weight_bits = 8 * 80128
    assert sum(layer.dram_weight_bits for layer in batch.layers) == weight_bits, "all images find them"
    assert batch.dram_bits == weight_bits + 16 * (single.dram_bits - weight_bits)
    assert batch.macs == 16 * single.macs
    for name in ("mac", "vector", "register", "network"):
        assert batch.energy_pj_by_component[name] == pytest.approx(16 * single.energy_pj_by_component[name])
    assert 15 * single.latency_cycles < batch.latency_cycles < 16 * single.latency_cycles
    assert any("runs in 8 parts" in note and "only the first fetches them" in note for note in batch.notes)
    buffers = [replace(each, size_bytes=100_000) if "inputs" in each.operands else each for each in GEMMINI.buffers]
    many = NETWORKS["mlperf_tiny_resnet8"](16)
    small = evaluate(many.jobs(), replace(GEMMINI, buffers=tuple(buffers)), many.tensors)
    fetched = sum(layer.dram_weight_bits for layer in small.layers)
    assert fetched == small.runs * weight_bits > weight_bits, "weights and activations of an image take 127 KB"


@pytest.mark.parametrize("name", ["gemmini_default", "bit_serial_16x16"])
def test_candidates_of_other_batches_run_image_after_image_as_each_does_alone(name: str) -> None:
    device, networks = load(name), [NETWORKS["mlperf_tiny_resnet8"](batch) for batch in (1, 6, 16)]
    if name == "bit_serial_16x16":
        networks = [NETWORKS["lenet5"](batch) for batch in (1, 16, 64)]
    jobs, tensors = [each.jobs() for each in networks], [each.tensors for each in networks]
    costs = evaluate(stack(jobs), device, stack_tensors(tensors))
    alone = [evaluate(each, device, held) for each, held in zip(jobs, tensors, strict=True)]
    assert alone[0].runs < alone[-1].runs
    assert costs.latency_cycles.tolist() == [one.latency_cycles for one in alone]
    assert costs.dram_bits.tolist() == [one.dram_bits for one in alone]
    assert costs.energy_pj.tolist() == pytest.approx([one.energy_pj for one in alone])
