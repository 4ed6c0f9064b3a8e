"""The shipped devices against what was published of them: rates, powers, capacities, and where each number is from.

Networks that were measured on them, or simulated, are compared in `tests/golden`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hwmodels
from hwmodels import (
    Accelerator,
    LayerError,
    LayerJob,
    LayerShape,
    NetworkCost,
    Residency,
    evaluate,
    layer_arrays,
    load,
    names,
    profile_entries,
    tell_unpriced,
)
from hwmodels.device.profiles import read_source_ids

EXPECTED = (
    *("bit_serial_16x16", "bitfusion", "edge_tpu", "ethos_u55_128", "ethos_u55_256", "eyeriss_v1", "gap9_ne16"),
    *("ethos_u55_128_sram", "ethos_u55_256_sram"),
    *("gemmini_default", "max78000", "mpic", "nucleo_u385rg_q", "stm32h7a3", "stm32l4r5", "stm32u575", "tpu_v1"),
)
ASSUMED = {
    "bit_serial_16x16": (28, 38),
    "bitfusion": (5, 40),
    "edge_tpu": (22, 32),
    "ethos_u55_128": (5, 43),
    "ethos_u55_128_sram": (4, 39),
    "ethos_u55_256": (5, 44),
    "ethos_u55_256_sram": (4, 40),
    "eyeriss_v1": (4, 30),
    "gap9_ne16": (8, 29),
    "gap9_ne16_240": (8, 29),
    "gemmini_default": (11, 32),
    "haq_bit_serial": (20, 28),
    "max78000": (10, 32),
    "mpic": (16, 26),
    "nucleo_u385rg_q": (23, 29),
    "stm32h7a3": (19, 29),
    "stm32l4r5": (20, 30),
    "stm32u575": (19, 29),
    "tpu_v1": (15, 42),
}
"""How many of a profile's values nobody published, and how many it states: a value that loses its source shows here."""
KEEPERS = {
    "bit_serial_16x16": {"weights": ("weights",), "inputs": ("maps",)},
    "gemmini_default": {"scratchpad": ("maps", "weights")},
    "tpu_v1": {"unified": ("maps",)},
}
"""What stays in which buffer; on all other devices activations pass a memory, which is on the chip on most of them."""
POWERED = (
    "edge_tpu",
    "gap9_ne16",
    "gap9_ne16_240",
    "max78000",
    "mpic",
    "nucleo_u385rg_q",
    "stm32h7a3",
    "stm32l4r5",
    "stm32u575",
)
"""Devices of which only the power of the whole is known."""


def _conv(
    channels: int, filters: int, size: int, *, kernel: int = 3, padding: int = 1, groups: int = 1, batch: int = 1
) -> LayerShape:
    out = size + 2 * padding - kernel + 1
    return LayerShape(
        name="conv",
        kind="conv",
        in_channels=channels,
        out_channels=filters,
        kernel_h=kernel,
        kernel_w=kernel,
        in_h=size,
        in_w=size,
        out_h=out,
        out_w=out,
        groups=groups,
        batch=batch,
    )


def _cost(device: Accelerator, shape: LayerShape, bits: int = 8, input_bits: int | None = None) -> NetworkCost:
    inputs = bits if input_bits is None else input_bits
    return evaluate([LayerJob(shape=shape, weight_bits=bits, input_bits=inputs, output_bits=inputs)], device)


def _energies(device: Accelerator) -> list[float]:
    """Return every energy of a part."""
    values = [device.mac_energy_pj, device.network_energy_pj_per_bit, device.registers.energy_pj_per_bit]
    values += [buffer.read_energy_pj_per_bit for buffer in device.buffers]
    values += [buffer.write_energy_pj_per_bit for buffer in device.buffers]
    return [*values, *(memory.energy_pj_per_bit for memory in device.memories), device.vector.energy_pj_per_operation]


def test_the_devices_that_were_promised_ship() -> None:
    assert set(EXPECTED) <= set(names())
    assert set(ASSUMED) == set(names())


@pytest.mark.parametrize("name", names())
def test_how_much_is_assumed(name: str) -> None:
    device = load(name)
    assert (len(device.assumed), len(device.sources)) == ASSUMED[name]


@pytest.mark.parametrize("name", names())
def test_overhead_buffer_bandwidth_and_static_power_are_stated_or_said_to_be_assumed_0(name: str) -> None:
    device = load(name)
    stated = {key: value for key, value, _ in profile_entries(device)}
    keys = {"array.layer_overhead_cycles", "power.static_w"}
    keys |= {f"buffers.{buffer.name}.bandwidth_bits_per_cycle" for buffer in device.buffers}
    assert keys <= set(stated)
    assert set(device.unpriced) == {key for key in keys if not stated[key]}
    note = f"{tell_unpriced(name, device.unpriced)}; `explorer devices show` and `Accelerator.unpriced` name them"
    assert (note in _cost(device, _conv(64, 64, 16)).notes) == bool(device.unpriced)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["power.static_w"], "1 value"),
        (["a.bandwidth_bits_per_cycle", "power.static_w"], "2 values, one of a bandwidth that limits nothing then"),
        (["a.bandwidth_b", "b.bandwidth_b"], "2 values, 2 of bandwidths that limit nothing then"),
    ],
)
def test_how_many_values_are_taken_as_0_is_told_in_a_short_line(keys: list[str], said: str) -> None:
    assert tell_unpriced("mine", keys) == f"assumed 0 on mine: {said}"


def test_what_a_user_says_to_be_0_with_a_source_has_that_price() -> None:
    device = load("gemmini_default")
    assert "power.static_w" in device.unpriced
    measured = replace(device, sources={**device.sources, "power.static_w": "our measurement"})
    assert "power.static_w" not in measured.unpriced
    # A device made in Python has no sources: what it leaves at 0 is assumed.
    assert "array.layer_overhead_cycles" in replace(device, sources={}).unpriced


@pytest.mark.parametrize("name", names())
def test_every_energy_bandwidth_size_and_clock_says_where_it_is_from(name: str) -> None:
    listed = {key: source for key, _, source in profile_entries(load(name))}
    physical = [key for key in listed if key.endswith(("_pj", "_per_bit", "_per_operation", "_per_s", "_bytes", "_hz"))]
    device = load(name)
    assert len(physical) >= 3 + 3 * len(device.buffers) + 2 * len(device.memories)
    assert {listed[key] for key in physical} <= read_source_ids() | {"assumed"}


def test_every_publication_is_cited() -> None:
    files = [file for file in Path(hwmodels.__file__).parent.rglob("*") if file.suffix in {".py", ".toml", ".md"}]
    cited = "".join(file.read_text(encoding="utf-8") for file in files)
    # The benchmark that two sets of results belong to, and the formats of `hwmodels.storage.memory`.
    elsewhere = {"mlperf_tiny_neurips2021": "MLPerf Tiny", "han_iclr2016": "Han et al."}
    assert [id_ for id_ in sorted(read_source_ids()) if id_ not in cited and elsewhere.get(id_, id_) not in cited] == []


@pytest.mark.parametrize(
    ("name", "bits", "macs_per_second"),
    [
        # 92 and 4 tera-operations in a second, of which a MAC is two: Jouppi et al., 2017, and Google's Coral.
        ("tpu_v1", 8, 92e12 / 2),
        ("tpu_v1", 16, 92e12 / 2 / 4),
        ("edge_tpu", 8, 4e12 / 2),
        # Arm counts 128 and 256 MACs in a cycle.
        ("ethos_u55_128", 8, 128 * 500e6),
        ("ethos_u55_256", 8, 256 * 500e6),
        # 64 processors of 9 multipliers each, at any width of weights.
        ("max78000", 8, 576 * 50e6),
        ("max78000", 1, 576 * 50e6),
        # 512 units, which hold 16 products of 2 bits each and take 4 cycles for one of 16 bits.
        ("bitfusion", 8, 512 * 500e6),
        ("bitfusion", 2, 16 * 512 * 500e6),
        ("bitfusion", 16, 512 * 500e6 / 4),
        ("gemmini_default", 8, 256 * 1e9),
        ("gemmini_default", 4, 256 * 1e9),
        # 256 units, a cycle for each bit of a weight.
        ("bit_serial_16x16", 8, 256 * 500e6 / 8),
        ("bit_serial_16x16", 1, 256 * 500e6),
        # MACs of ResNet-8 over its measured time, which leaves 1 to 2 % for additions and pooling (MLPerf Tiny 1.2).
        ("stm32h7a3", 8, 12_501_632 * 24.585),
        ("stm32u575", 8, 12_501_632 * 9.057),
        ("stm32l4r5", 8, 12_501_632 * 6.062),
    ],
)
def test_a_layer_that_fills_the_device_runs_at_its_published_rate(name: str, bits: int, macs_per_second: float) -> None:
    device = load(name)
    input_bits = bits if name in ("bitfusion", "tpu_v1") else device.input_bits[0]
    layer = _cost(device, _conv(512, 512, 48, batch=8), bits, input_bits).layers[0]
    assert layer.macs / layer.compute_cycles * device.clock_hz == pytest.approx(macs_per_second, rel=0.02)


def test_eyeriss_has_168_elements_of_which_a_layer_of_alexnet_uses_most() -> None:
    # JSSC 2017, table V: 156 of 168 elements are active in conv3 to conv5.
    device = load("eyeriss_v1")
    assert device.units == 168
    layer = _cost(device, _conv(256, 384, 13, batch=4), 16).layers[0]
    assert layer.mapping_efficiency == pytest.approx(156 / 168, rel=0.01)
    assert layer.bound == "compute"


def test_eyeriss_energies_of_16_bits() -> None:
    device = load("eyeriss_v1")
    words = (
        device.registers.energy_pj_per_bit,
        device.network_energy_pj_per_bit,
        device.find_buffer("weights").read_energy_pj_per_bit,
        device.find_memory("weights").energy_pj_per_bit,
    )
    assert tuple(16 * each for each in words) == pytest.approx((1.0, 4.0, 15.0, 460.0))
    one_image = _cost(device, _conv(256, 384, 13), 16).layers[0]
    assert one_image.mac_pj / one_image.macs == 2.0
    assert one_image.register_pj / one_image.macs == pytest.approx(4.0)
    assert _cost(device, _conv(256, 384, 13), 8).layers[0].mac_pj == one_image.mac_pj


def test_gap9_takes_at_most_the_rate_of_its_engine_and_gains_from_narrow_weights_in_part() -> None:
    for name in ("gap9_ne16", "gap9_ne16_240"):
        device = load(name)
        cycles = {bits: _cost(device, _conv(64, 64, 48), bits, 8).layers[0].compute_cycles for bits in (2, 4, 8)}
        # 9 positions, 16 channels and 9 elements of a kernel, in 8 cycles for 8 bits.
        assert 0.4 < _conv(64, 64, 48).macs / cycles[8] / (9 * 16 * 9 / 8) < 1.0
        # Loads and the way out are the same at all widths: 2 bits are not four times as fast.
        assert 1.6 < cycles[8] / cycles[4] < 1.9
        assert 2.3 < cycles[8] / cycles[2] < 2.8


def test_both_operating_points_of_gap9_were_fitted_to_the_same_cycles() -> None:
    # The two measurements agree on cycles, as they must if nothing off the chip is waited for.
    slow, fast = load("gap9_ne16_240"), load("gap9_ne16")
    assert slow.layer_overhead_cycles == pytest.approx(fast.layer_overhead_cycles, rel=0.003)
    assert slow.bits_per_cycle(slow.find_memory("weights")) == fast.bits_per_cycle(fast.find_memory("weights")) == 64


@pytest.mark.parametrize(
    ("shape", "vendor_cycles"),
    [
        # Cycles of one layer that the vendor's generator tests its formula with (ai8x-synthesis, izer/test), less the
        # one of the start. It adds about 3 for each input position and fold of channels, which weighs for few filters.
        (_conv(3, 64, 32), 67_980),
        (_conv(3, 64, 32, padding=0), 59_772),
        (_conv(128, 16, 8), 2_484),
        (_conv(128, 16, 8, padding=0), 1_436),
        (_conv(1, 8, 28), 8_188),
    ],
)
def test_max78000_takes_the_vendors_cycles_or_a_little_less(shape: LayerShape, vendor_cycles: int) -> None:
    ratio = _cost(load("max78000"), shape).latency_cycles / vendor_cycles
    assert (0.95 if shape.out_channels == 64 else 0.75) < ratio < 1.0


def test_narrow_weights_grow_the_capacity_of_max78000_but_save_no_time() -> None:
    device = load("max78000")
    # 1.5 times its 768 kernels of 9 bytes for each of 64 processors.
    shape = _conv(64, 1152, 8)
    wide, narrow = (_cost(device, shape, bits, 8) for bits in (8, 4))
    weights = [next(fit for fit in cost.fits if fit.place == "memories.weights") for cost in (wide, narrow)]
    assert [fit.size_bytes for fit in weights] == [64 * 768 * 9] * 2
    assert [fit.fits for fit in weights] == [False, True]
    assert any("does not fit the device" in note for note in wide.notes)
    assert narrow.layers[0].compute_cycles == wide.layers[0].compute_cycles
    assert narrow.energy_pj == pytest.approx(wide.energy_pj, rel=0.01)


@pytest.mark.parametrize("name", names())
def test_what_a_device_keeps(name: str) -> None:
    kept = {buffer.name: buffer.keeps for buffer in load(name).buffers if buffer.keeps}
    assert kept == KEEPERS.get(name, {})


def test_max78000_takes_32_layers() -> None:
    job = LayerJob(shape=_conv(64, 64, 8))
    device = load("max78000")
    assert evaluate([job] * 32, device).macs == 32 * job.shape.macs
    with pytest.raises(LayerError, match=r"expected layers <= 32 on max78000, received 33 layers"):
        evaluate([job] * 33, device)


def test_the_parts_of_a_busy_tpu_add_up_to_its_measured_power() -> None:
    # 28 W idle and 40 W busy are measured; the energies of the parts are assumed, and had no part in that.
    device = load("tpu_v1")
    layers = layer_arrays([LayerJob(shape=_conv(512, 512, 48, batch=8))])
    amid_others = Residency(*map(np.atleast_1d, (1, False, True, True)))
    cost = evaluate(layers, device, residency=amid_others)
    assert device.static_power_w == 28.0
    assert cost.energy_pj * 1e-9 / cost.latency_ms == pytest.approx(40.0, rel=0.1)


def test_tpu_waits_for_weights_where_each_is_used_once() -> None:
    shape = LayerShape(name="fc", kind="linear", in_channels=2048, out_channels=2048)
    cost = _cost(load("tpu_v1"), shape)
    assert cost.layers[0].bound == "dram"
    # 34 GB/s of weights, biases and scales included.
    assert cost.weight_bytes / cost.latency_ms == pytest.approx(34e6, rel=0.05)


@pytest.mark.parametrize("name", POWERED)
def test_where_only_power_is_known_energy_is_power_times_time(name: str) -> None:
    device = load(name)
    assert device.static_power_w > 0
    assert set(_energies(device)) == {0.0}
    cost = _cost(device, _conv(64, 64, 16))
    assert cost.energy_pj * 1e-9 == pytest.approx(device.static_power_w * cost.latency_ms)


@pytest.mark.parametrize("name", sorted(set(names()) - set(POWERED)))
def test_elsewhere_arithmetic_and_every_memory_off_the_chip_take_energy(name: str) -> None:
    device = load(name)
    cost = _cost(device, _conv(64, 64, 16))
    parts = cost.energy_pj_by_component
    assert min(parts["mac"], parts["sram"], parts["dram"]) > 0
    # An access costs more the farther from the array: a MAC of 8 bits less than 8 bits of the memory behind it.
    assert cost.layers[0].mac_pj / cost.macs < 8 * device.find_memory("weights").energy_pj_per_bit


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        # A run's energy times the runs in a second, of ResNet-8 in MLPerf Tiny, of visual wake words (GAP9) and of
        # TinyissimoYOLO.
        ("stm32h7a3", 5090.283e-6 * 24.585),
        ("stm32u575", 2578.969e-6 * 9.057),
        ("stm32l4r5", 6919.375e-6 * 6.062),
        ("nucleo_u385rg_q", 965.5817e-6 * 5.481),
        ("gap9_ne16", 58.356e-6 * 890.551),
        ("gap9_ne16_240", 40.801e-6 * 577.979),
        ("max78000", 196e-6 * 180),
        # From 5.3 to 5.46 mW.
        ("mpic", (5.3e-3 + 5.46e-3) / 2),
        ("edge_tpu", 2.0),
    ],
)
def test_powers_are_those_that_were_measured(name: str, watts: float) -> None:
    assert load(name).static_power_w == pytest.approx(watts, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("stm32h7a3", {"flash": 2 * 2**20, "sram": 1_190_000}),
        ("stm32u575", {"flash": 2 * 2**20, "sram": 768 * 2**10}),
        ("stm32l4r5", {"flash": 2 * 2**20, "sram": 640 * 2**10}),
        ("nucleo_u385rg_q", {"flash": 2**20, "sram": 2**18}),
        ("gap9_ne16", {"l2": 3 * 2**19}),
        ("mpic", {"sram": 512 * 2**10}),
        ("max78000", {"weights": 432 * 2**10, "data": 512 * 2**10}),
        ("tpu_v1", {"weight_memory": 8 * 2**30, "host": 0}),
        ("edge_tpu", {"parameters": 8_000_000, "activations": 0}),
    ],
)
def test_memories_that_a_network_must_fit(name: str, sizes: dict[str, int]) -> None:
    assert {memory.name: memory.size_bytes for memory in load(name).memories} == sizes


@pytest.mark.parametrize(
    ("name", "kilobytes"),
    [
        ("bitfusion", {"weights": 64, "inputs": 32, "outputs": 16}),
        ("bit_serial_16x16", {"weights": 64, "inputs": 64, "outputs": 32}),
        ("gemmini_default", {"scratchpad": 256, "accumulator": 64}),
        ("eyeriss_v1", {"global": 108}),
        # Four tiles of 256 x 256 weights; 4096 sums of 32 bits for each of 256 columns.
        ("tpu_v1", {"weight_fifo": 4 * 64, "unified": 24 * 1024, "accumulators": 4 * 1024}),
        # Staged in two banks of 1 MB of the reference system Corstone-300.
        ("ethos_u55_128", {"shram": 24, "staged_weights": 2048}),
        ("ethos_u55_256", {"shram": 48, "staged_weights": 2048}),
        ("gap9_ne16", {"l1": 128}),
        ("gap9_ne16_240", {"l1": 128}),
        ("edge_tpu", {"sram": 8e6 / 1024}),
    ],
)
def test_buffers_have_their_published_sizes(name: str, kilobytes: dict[str, float]) -> None:
    assert {buffer.name: buffer.size_bytes / 1024 for buffer in load(name).buffers} == kilobytes


@pytest.mark.parametrize(
    ("name", "clock_hz", "bandwidths"),
    [
        # 192 bits a cycle (ISCA 2018); 128 bits a cycle (DAC 2021); 64 bits at 90 MHz; 34 GB/s (ISCA 2017).
        ("bitfusion", 500e6, {"dram": 192 * 500e6}),
        ("gemmini_default", 1e9, {"dram": 8 * 16e9}),
        ("eyeriss_v1", 200e6, {"dram": 64 * 90e6}),
        # 16 lanes of 8 Gbit/s, 128 bits in 130, lead to the host.
        ("tpu_v1", 700e6, {"weight_memory": 8 * 34e9, "host": 16 * 8e9 * 128 / 130}),
        # 4 and 0.5 GB/s: Vela's "high-end embedded" system.
        ("ethos_u55_128", 500e6, {"sram": 8 * 4e9, "flash": 8 * 0.5e9}),
        ("ethos_u55_256", 500e6, {"sram": 8 * 4e9, "flash": 8 * 0.5e9}),
        ("edge_tpu", 480e6, {"parameters": 8 * 64 * 480e6, "activations": 8 * 64 * 480e6}),
        ("bit_serial_16x16", 500e6, {"dram": 8 * 8e9}),
    ],
)
def test_clocks_and_bandwidths_are_the_published_ones(name: str, clock_hz: float, bandwidths: dict[str, float]) -> None:
    device = load(name)
    assert device.clock_hz == clock_hz
    assert {memory.name: memory.bandwidth_bits_per_s for memory in device.memories} == pytest.approx(bandwidths)


@pytest.mark.parametrize("name", names())
def test_depthwise_layers_leave_every_device_but_a_processor_mostly_idle(name: str) -> None:
    device = load(name)
    bits = device.weight_bits[-1] if name in ("eyeriss_v1", "bitfusion") else 8
    dense, depthwise = (_cost(device, _conv(64, 64, 16, groups=groups), bits, bits).layers[0] for groups in (1, 64))
    slowdown = (depthwise.compute_cycles / depthwise.macs) / (dense.compute_cycles / dense.macs)
    if name.startswith(("stm32", "nucleo", "mpic")):
        # 21 MACs in 10 cycles leave a part of the last ten empty.
        assert slowdown == pytest.approx(1.0, rel=0.02 if name == "mpic" else 0.01)
    elif name == "eyeriss_v1":
        # Its elements hold rows of kernels, whatever their channel.
        assert 1.0 <= slowdown < 2.0
    else:
        assert slowdown >= 8.0


@pytest.mark.parametrize("name", names())
def test_one_bit_weights_take_the_narrowest_width_that_a_device_has(name: str) -> None:
    device = load(name)
    shape = LayerShape(name="fc", kind="linear", in_channels=256, out_channels=64)
    one, native = (
        evaluate([LayerJob(shape=shape, weight_bits=bits, input_bits=8)], device).layers[0]
        for bits in (1, device.weight_bits[0])
    )
    assert (one.mac_pj, one.compute_cycles) == (native.mac_pj, native.compute_cycles)
    assert one.weight_bytes <= native.weight_bytes
