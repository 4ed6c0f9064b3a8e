"""The cost of a network: sums, bounds, notes and errors."""

from __future__ import annotations

import dataclasses

import pytest

from hwmodels import (
    ENERGY_COMPONENTS,
    NETWORKS,
    ActivationTensor,
    LayerError,
    LayerJob,
    LayerShape,
    Memory,
    evaluate,
    load,
    names,
    stack,
)

CONV = LayerShape(
    name="conv",
    kind="conv",
    in_channels=16,
    out_channels=32,
    kernel_h=3,
    kernel_w=3,
    in_h=16,
    in_w=16,
    out_h=16,
    out_w=16,
)
FC = LayerShape(name="fc", kind="linear", in_channels=512, out_channels=10)
JOBS = [LayerJob(shape=CONV), LayerJob(shape=FC)]


@pytest.mark.parametrize("device", names())
def test_the_network_is_the_sum_of_its_layers(device: str) -> None:
    cost = evaluate(JOBS, load(device))
    assert [layer.name for layer in cost.layers] == ["conv", "fc"]
    assert cost.energy_pj == pytest.approx(sum(layer.energy_pj for layer in cost.layers))
    assert cost.latency_cycles == sum(layer.latency_cycles for layer in cost.layers)
    assert cost.weight_bytes == sum(layer.weight_bytes for layer in cost.layers)
    assert cost.macs == CONV.macs + FC.macs
    assert cost.latency_ms == pytest.approx(cost.latency_cycles / load(device).clock_hz * 1e3)
    for layer in cost.layers:
        assert layer.energy_pj == pytest.approx(sum(getattr(layer, f"{part}_pj") for part in ENERGY_COMPONENTS))
        assert layer.sram_pj == pytest.approx(sum(layer.buffers_pj.values()))
        rest = layer.dram_cycles - layer.first_tile_cycles
        waits = {"compute": layer.compute_cycles, "sram": layer.sram_cycles, "dram": rest}
        assert waits["compute" if layer.bound == "decoder" else layer.bound] == max(waits.values())
        assert layer.latency_cycles == layer.overhead_cycles + layer.first_tile_cycles + max(waits.values())


def test_bitfusion_by_hand() -> None:
    conv, fc = evaluate(JOBS, load("bitfusion")).layers
    # 144 x 32 on 16 x 32: 9 folds of 256 positions, one fill of 2 * 16 + 32 - 2.
    assert conv.compute_cycles == 9 * 256 + 62
    assert (conv.mapping_efficiency, conv.macs) == (1.0, 256 * 144 * 32)
    # Every unit takes energy in every cycle, those of the fill too.
    assert conv.mac_pj == pytest.approx((9 * 256 + 62) * 512 * 0.459)
    assert (conv.dram_weight_bits, conv.dram_input_bits) == ((144 * 32 + 32 * 8) * 8, 256 * 16 * 8)
    assert conv.dram_pj == 15 * (conv.dram_weight_bits + conv.dram_input_bits + conv.dram_output_bits)
    # 32 folds of one position: loading 16 rows of weights takes longer; and DRAM longer still.
    assert fc.compute_cycles == 31 * 16 + 63
    assert fc.dram_cycles == -(-(5200 + 512 + 10) * 8 // 192) > 0
    assert (fc.bound, fc.weight_bytes, fc.weight_format) == ("compute", 5200, "dense")


def test_bit_serial_time_is_linear_in_weight_bits() -> None:
    device = load("bit_serial_16x16")
    cycles = [evaluate([LayerJob(shape=CONV, weight_bits=b)], device).layers[0].compute_cycles for b in (2, 4, 8)]
    folds = 16 * 2
    assert cycles == [folds * (30 + 144 * bits) for bits in (2, 4, 8)]


def test_depthwise_runs_group_by_group() -> None:
    depthwise = dataclasses.replace(CONV, out_channels=16, groups=16)
    layer = evaluate([LayerJob(shape=depthwise)], load("bit_serial_16x16")).layers[0]
    assert layer.macs == 256 * 9 * 16
    assert layer.compute_cycles == 16 * 16 * (30 + 9 * 8)


def test_density_and_codebook_save_storage_and_what_the_device_reads() -> None:
    job = LayerJob(shape=CONV, weight_bits=8, density=0.5, codebook_size=4)
    plain = LayerJob(shape=CONV, weight_bits=8)
    for name, credited in (("bit_serial_16x16", True), ("bitfusion", False), ("gemmini_default", False)):
        ours, theirs = (evaluate([each], load(name)).layers[0] for each in (job, plain))
        assert (ours.compute_cycles, ours.mac_pj) == (theirs.compute_cycles, theirs.mac_pj)
        assert (ours.weight_bytes, ours.weight_format) == (144 * 32 // 4 + 4 + 32 * 8, "codebook")
        assert (ours.dram_weight_bits == ours.weight_bytes * 8) is credited
        assert credited or ours.dram_weight_bits == theirs.dram_weight_bits


def test_notes_say_what_the_numbers_hide() -> None:
    big = LayerShape(name="big", kind="linear", in_channels=4096, out_channels=4096)
    jobs = [
        LayerJob(shape=CONV, weight_bits=4, density=0.2),
        LayerJob(shape=big, input_bits=5),
        LayerJob(shape=FC, codebook_size=2),
    ]
    tensors = [ActivationTensor(name="a", elements=10**6, bits=8, first_step=0, last_step=0)]
    assert any(
        "the activation peak of 1000000 bytes exceeds the 49152 bytes of bitfusion's" in note
        for note in evaluate(JOBS, load("bitfusion"), tensors).notes
    )
    cost = evaluate(jobs, load("gemmini_default"), tensors)
    assert cost.peak_activation_bytes == 10**6
    for expected in (
        "4-bit weights run as 8-bit weights on gemmini_default: they save storage and DRAM traffic, but",
        "5-bit inputs run as 8-bit inputs on gemmini_default",
        "gemmini_default does not skip zeros: they save neither MACs nor time (conv)",
        "gemmini_default cannot read relative_index weights: they count for storage",
        "cannot read codebook weights: they count for storage, and DRAM traffic is that of dense (fc)",
        "scratchpad has no room for a beside what else is alive: memory is written and read",
    ):
        assert any(expected in note for note in cost.notes), (expected, cost.notes)
    assert evaluate(JOBS, load("gemmini_default")).notes == (
        "activations pass memory: which of them could stay in scratchpad is not known without their lives",
        "assumed 0 on gemmini_default: 4 values, 2 of bandwidths that limit nothing then; `explorer devices "
        "show` and `Accelerator.unpriced` name them",
    )


@pytest.mark.parametrize("name", names())
def test_zeros_are_said_to_save_time_where_they_do(name: str) -> None:
    device = load(name)
    shape = LayerShape(name="fc", kind="linear", in_channels=512, out_channels=512)
    job = LayerJob(shape=shape, weight_bits=device.weight_bits[-1], input_bits=device.input_bits[-1], entropy_bits=7.0)
    full, pruned = (evaluate([each], device) for each in (job, dataclasses.replace(job, entropy_bits=1.0, density=0.1)))
    (told,) = (note for note in pruned.notes if "does not skip zeros" in note)
    nothing = "neither MACs nor time" in told
    assert nothing == (pruned.layers[0].dram_weight_bits == full.layers[0].dram_weight_bits)
    assert pruned.latency_cycles == full.latency_cycles or not nothing


def test_a_refetched_operand_is_noted() -> None:
    shape = LayerShape(
        name="wide", kind="conv", in_channels=512, out_channels=512, in_h=64, in_w=64, out_h=64, out_w=64
    )
    notes = evaluate([LayerJob(shape=shape)] * 5, load("bitfusion")).notes
    assert any("exceed their buffer" in note and "all layers" in note for note in notes)


@pytest.mark.parametrize("device", names())
def test_candidates_times_layers_equal_one_at_a_time(device: str) -> None:
    accelerator = load(device)
    candidates = [
        [
            LayerJob(shape=CONV, weight_bits=w, input_bits=8, density=d),
            LayerJob(shape=FC, weight_bits=8, codebook_size=c),
        ]
        for w, d, c in ((2, 1.0, 4), (4, 0.5, None), (8, 0.1, 16))
    ]
    costs = evaluate(stack(candidates), accelerator)
    for index, jobs in enumerate(candidates):
        cost = evaluate(jobs, accelerator)
        for field in ("latency_cycles", "weight_bytes", "dram_bits", "macs"):
            assert getattr(costs, field)[index] == getattr(cost, field)
        assert costs.energy_pj[index] == pytest.approx(cost.energy_pj, rel=1e-12)
        assert costs.latency_ms[index] == pytest.approx(cost.latency_ms, rel=1e-12)
        for component, energy_pj in costs.energy_pj_by_component().items():
            assert energy_pj[index] == pytest.approx(cost.energy_pj_by_component[component], rel=1e-12)


def test_too_wide_an_operand_is_refused() -> None:
    jobs = [LayerJob(shape=CONV), LayerJob(shape=FC, weight_bits=32)]
    with pytest.raises(LayerError, match=r"layer 'fc': expected weight_bits <= 8 on gemmini_default .*=32: quantise"):
        evaluate(jobs, load("gemmini_default"))
    with pytest.raises(LayerError, match=r"layer 1: expected weight_bits <= 16 on bitfusion \(it supports 2, 4, 8, 16"):
        evaluate(stack([jobs]), load("bitfusion"))
    with pytest.raises(LayerError, match=r"expected at least one layer"):
        evaluate([], load("bitfusion"))


def test_static_power_pays_for_time() -> None:
    device = dataclasses.replace(load("bitfusion"), static_power_w=0.1)
    cost = evaluate(JOBS, device)
    assert sum(layer.static_pj for layer in cost.layers) == pytest.approx(0.1 * cost.latency_ms * 1e9)


def test_an_energy_factor_multiplies_every_part() -> None:
    device = dataclasses.replace(load("eyeriss_v1"), energy_factor=1.0)
    jobs = [dataclasses.replace(job, weight_bits=16, input_bits=16) for job in JOBS]
    once, twice = (evaluate(jobs, each) for each in (device, dataclasses.replace(device, energy_factor=2.0)))
    for part, energy_pj in once.energy_pj_by_component.items():
        assert twice.energy_pj_by_component[part] == pytest.approx(2 * energy_pj, rel=1e-12)
    assert once.energy_pj_by_component["static"] > 0


def test_the_vector_unit_takes_energy_by_the_bit() -> None:
    shape = LayerShape(name="relu", kind="activation", in_channels=50, out_channels=50)
    for bits, energy_pj in ((8, 50 * 0.03), (4, 50 * 0.015), (16, 50 * 0.06)):
        cost = evaluate([LayerJob(shape=shape, input_bits=bits)], load("bitfusion"))
        assert cost.energy_pj_by_component["vector"] == pytest.approx(energy_pj)


def test_weights_beyond_a_memory_come_at_its_overflow_bandwidth() -> None:
    # Two layers of 6,000,000 bytes each on 8,000,000: a third of every layer comes at 3.3 Gbit/s.
    device = load("edge_tpu")
    shapes = [
        LayerShape(name=name, kind="linear", in_channels=2000, out_channels=3000, bias=False) for name in ("a", "b")
    ]
    jobs = [LayerJob(shape=shape, weight_bits=8) for shape in shapes]
    fast, slow = evaluate(jobs[:1], device), evaluate(jobs, device)
    memory = device.find_memory("weights")
    bits = slow.layers[0].dram_weight_bits
    excess = 1 - memory.size_bytes * 8 / (2 * bits)
    expected = bits * (1 - excess) / device.bits_per_cycle(memory) + bits * excess / (3.3e9 / device.clock_hz)
    assert slow.layers[0].dram_cycles == pytest.approx(expected, abs=2)
    assert fast.layers[0].dram_cycles < slow.layers[0].dram_cycles / 10
    fit = next(fit for fit in slow.fits if fit.place == "memories.parameters")
    assert (fit.fits, fit.required, fit.needed_bytes) == (False, False, slow.weight_bytes)
    assert any("the rest comes more slowly, for every run" in note for note in slow.notes)
    assert not any("memories.parameters" in note for note in fast.notes)


def test_a_program_takes_its_share_of_a_memory() -> None:
    jobs = NETWORKS["mlperf_tiny_resnet8"]().jobs(weight_bits=8, input_bits=8)
    device = load("stm32l4r5")
    flash, sram = device.memories
    without = dataclasses.replace(device, memories=(dataclasses.replace(flash, program_bytes=0), sram))
    found = [evaluate(jobs, each) for each in (device, without)]
    needs = [next(fit.needed_bytes for fit in cost.fits if "weights" in fit.holds) for cost in found]
    assert needs == [found[0].weight_bytes + 3000, found[0].weight_bytes]
    assert found[0].latency_cycles == found[1].latency_cycles


def test_a_network_that_does_not_fit_is_noted_by_how_much() -> None:
    big = LayerShape(name="big", kind="linear", in_channels=2000, out_channels=2000, bias=False)
    cost = evaluate([LayerJob(shape=big)], load("stm32u575"))
    fit = next(fit for fit in cost.fits if fit.required)
    assert not fit.fits
    note = next(note for note in cost.notes if "does not fit" in note)
    assert f"weights need {cost.weight_bytes} bytes, {cost.weight_bytes - fit.size_bytes} more than" in note


def test_a_memory_of_one_operand_holds_that_alone() -> None:
    sizes = {"weights": 500, "inputs": 300, "outputs": 200}
    memories = tuple(
        Memory(name=name, operands=(name,), bandwidth_bits_per_s=1e9, energy_pj_per_bit=1.0, size_bytes=size)
        for name, size in sizes.items()
    )
    shape = LayerShape(name="fc", kind="linear", in_channels=10, out_channels=20, bias=False)
    tensors = [ActivationTensor(name="x", elements=250, bits=8, first_step=0, last_step=0)]
    cost = evaluate([LayerJob(shape=shape)], dataclasses.replace(load("gemmini_default"), memories=memories), tensors)
    found = {fit.place: (fit.needed_bytes, fit.fits) for fit in cost.fits if fit.place.startswith("memories")}
    # 200 weights and 20 scales of 4 bytes; activations of 250 bytes, of which inputs and outputs may each be all.
    assert found == {
        "memories.weights": (280, True),
        "memories.inputs": (250, True),
        "memories.outputs": (250, False),
    }


SMALL = LayerShape(
    name="conv",
    kind="conv",
    in_channels=8,
    out_channels=32,
    kernel_h=3,
    kernel_w=3,
    in_h=8,
    in_w=8,
    out_h=8,
    out_w=8,
)


def test_rows_that_the_channels_just_fill_take_one_kernel_position_at_a_time() -> None:
    # 4 x 4 bits: a unit takes 4 products together, so that 16 channels are 4 rows of 16, in 9 folds of the kernel; 15
    # channels are fewer than rows, and 135 products are 34 rows: 3 folds.
    for channels, folds in ((16, 9), (15, 3)):
        shape = dataclasses.replace(SMALL, in_channels=channels)
        layer = evaluate([LayerJob(shape=shape, weight_bits=4, input_bits=4)], load("bitfusion")).layers[0]
        assert layer.compute_cycles == (folds - 1) * 64 + (2 * 16 + 32 - 2 + 64)


def test_sets_of_a_small_map_lie_side_by_side_in_both_directions() -> None:
    # Eyeriss, 12 x 14: sets of 3 kernel rows and 7 output rows, 4 above each other and 2 beside each other, no element
    # without work.
    shape = dataclasses.replace(SMALL, in_h=7, in_w=7, out_h=7, out_w=7)
    layer = evaluate([LayerJob(shape=shape, weight_bits=16, input_bits=16)], load("eyeriss_v1")).layers[0]
    assert layer.mapping_efficiency == pytest.approx(1.0)


def test_pooling_may_have_a_rate_of_its_own() -> None:
    pool = LayerShape(
        name="pool",
        kind="pool",
        in_channels=8,
        out_channels=8,
        kernel_h=2,
        kernel_w=2,
        in_h=8,
        in_w=8,
        out_h=4,
        out_w=4,
        stride_h=2,
        stride_w=2,
    )
    add = LayerShape(
        name="add", kind="add", in_channels=8, out_channels=8, in_h=8, in_w=8, out_h=8, out_w=8, operands=2
    )
    device = load("ethos_u55_128")
    pooled, added = evaluate([LayerJob(shape=pool), LayerJob(shape=add)], device).layers
    assert (pooled.vector_operations, pooled.compute_cycles) == (512, 394)  # 512 / 1.3
    assert (added.vector_operations, added.compute_cycles) == (512, 512 * 1.5)


def test_what_is_needed_elsewhere_cannot_be_fused() -> None:
    device = dataclasses.replace(load("bitfusion"), layer_overhead_cycles=100)
    relu = LayerShape(
        name="relu", kind="activation", in_channels=32, out_channels=32, in_h=16, in_w=16, out_h=16, out_w=16
    )
    fused, apart = evaluate(
        [LayerJob(shape=relu), LayerJob(shape=dataclasses.replace(relu, name="apart"), fusible=False)], device
    ).layers
    assert (fused.latency_cycles, fused.dram_pj) == (0, 0)
    bits = 32 * 256 * 8
    assert (apart.compute_cycles, apart.dram_input_bits, apart.dram_output_bits) == (256, bits, bits)
    assert apart.latency_cycles == 100 + max(256, -(-2 * bits // 192))
    assert fused.vector_pj == apart.vector_pj > 0
