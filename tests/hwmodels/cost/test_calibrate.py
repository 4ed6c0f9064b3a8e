"""Calibration to a measurement, and other technology nodes."""

from __future__ import annotations

import dataclasses

import pytest

from hwmodels import DeviceError, LayerJob, LayerShape, calibrate, energy_ratio, evaluate, load, scale_to_node

JOBS = [LayerJob(shape=LayerShape(name="fc", kind="linear", in_channels=512, out_channels=64, batch=8))]


def test_a_calibrated_device_takes_the_measured_energy() -> None:
    device = load("gemmini_default")
    fitted = calibrate(device, JOBS, 123e6, "our bench, fc, May")
    cost = evaluate(JOBS, fitted)
    assert cost.energy_pj == pytest.approx(123e6)
    assert fitted.sources["power.energy_factor"] == "our bench, fc, May"
    # Every component by the same factor, and again relative to what was fitted before.
    factor = 123e6 / evaluate(JOBS, device).energy_pj
    for component, energy_pj in evaluate(JOBS, device).energy_pj_by_component.items():
        assert cost.energy_pj_by_component[component] == pytest.approx(factor * energy_pj)
    assert calibrate(fitted, JOBS, 246e6, "again").energy_factor == pytest.approx(2 * fitted.energy_factor)
    assert cost.latency_cycles == evaluate(JOBS, device).latency_cycles


def test_what_cannot_be_calibrated_is_refused() -> None:
    device = load("gemmini_default")
    with pytest.raises(DeviceError, match=r"measured_energy_pj: expected a number from 0.001 to 1e\+18, received 0"):
        calibrate(device, JOBS, 0.0, "bench")
    with pytest.raises(DeviceError, match=r"source: expected a non-empty text, received ''"):
        calibrate(device, JOBS, 1.0, "")
    silent = dataclasses.replace(
        scale_to_node(device, 45),
        mac_energy_pj=0,
        buffers=tuple(
            dataclasses.replace(buffer, read_energy_pj_per_bit=0, write_energy_pj_per_bit=0)
            for buffer in device.buffers
        ),
        memories=tuple(dataclasses.replace(memory, energy_pj_per_bit=0) for memory in device.memories),
    )
    with pytest.raises(DeviceError, match=r"its energies are all 0, so no factor gives 1 pJ: state at least its power"):
        calibrate(silent, JOBS, 1.0, "bench")


def test_on_chip_energies_follow_the_node_and_others_do_not() -> None:
    device = dataclasses.replace(load("bitfusion"), static_power_w=0.1)
    smaller = scale_to_node(device, 16)
    before, after = (evaluate(JOBS, each).energy_pj_by_component for each in (device, smaller))
    for component in ("mac", "sram"):
        assert after[component] == pytest.approx(0.19 * before[component])
    for component in ("dram", "static"):
        assert after[component] == before[component]
    assert smaller.sources["arithmetic.mac_energy_pj"].startswith("scaled from 45 to 16 nm")
    assert smaller.sources["memories.dram.energy_pj_per_bit"] == device.sources["memories.dram.energy_pj_per_bit"]
    back = scale_to_node(smaller, 45)
    assert back.mac_energy_pj == pytest.approx(device.mac_energy_pj)


def test_energy_falls_with_the_node() -> None:
    ratios = [energy_ratio(45, node) for node in (130, 90, 65, 45, 32, 20, 16, 14, 10, 7)]
    assert ratios == sorted(ratios, reverse=True)
    assert energy_ratio(130, 7) == pytest.approx(0.10 / 3.17)
    with pytest.raises(DeviceError, match=r"expected a node of 130, 90, .* received 28 nm: choose the nearest"):
        energy_ratio(45, 28)
