"""Energy and time of microcontrollers and neural processors against the measurements of MLPerf Tiny, closed division.

Each profile states a power that was fitted to ResNet-8, or visual wake words for GAP9 (the row of its energy run): the
other three networks are predictions. Ethos-U55 has no measured energy there: `test_vela.py` compares its bytes and
cycles with Vela's. For MAX78000 and Edge TPU there is no entry at all, so that nothing of theirs is checked here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hwmodels import NETWORKS, NetworkCost, calibrate, evaluate, load

Rows = list[dict[str, str]]

SYSTEMS = {
    "stm32h7a3": ("1.2", "NUCLEO_H7A3ZI_Q"),
    "stm32u575": ("1.2", "NUCLEO_U575ZI_Q"),
    "stm32l4r5": ("1.2", "NUCLEO_L4R5ZI"),
    "nucleo_u385rg_q": ("1.3", "NUCLEO_U385RG_Q"),
    "gap9_ne16": ("1.0", "gap9_800_370"),
    "gap9_ne16_240": ("1.0", "gap9_650_240"),
}
"""Profile -> (version of the results, system)."""
BENCHMARKS = {
    "ic": "mlperf_tiny_resnet8",
    "kws": "mlperf_tiny_ds_cnn",
    "vww": "mlperf_tiny_mobilenet",
    "ad": "mlperf_tiny_autoencoder",
}
FITTED = {**dict.fromkeys(SYSTEMS, "ic"), "gap9_ne16": "vww", "gap9_ne16_240": "vww"}
PREDICTED = [(device, benchmark) for device in SYSTEMS for benchmark in BENCHMARKS if benchmark != FITTED[device]]
FACTOR = 1.5


def _cost(device: str, benchmark: str) -> NetworkCost:
    network = NETWORKS[BENCHMARKS[benchmark]]()
    return evaluate(network.jobs(), load(device), network.tensors)


@pytest.fixture(scope="module")
def measured(golden: Callable[[str], Rows]) -> dict[tuple[str, str], tuple[float, float]]:
    """(profile, benchmark) -> (energy in uJ, seconds) of one inference."""
    found = {}
    rows = {
        (row["version"], row["system"], row["bench"], row["kind"]): row
        for row in golden("mlperf_tiny.csv")
        if row["div"] == "closed"
    }
    for device, key in SYSTEMS.items():
        for benchmark in BENCHMARKS:
            energy = rows[*key, benchmark, "energy"]
            # From version 1.3 on, runs in a second stand in the row of the performance run alone.
            rate = energy["throughput_inf_s"] or rows[*key, benchmark, "performance"]["throughput_inf_s"]
            found[device, benchmark] = (float(energy["energy_uJ"]), 1.0 / float(rate))
    assert len(found) == len(SYSTEMS) * len(BENCHMARKS)
    return found


Measured = dict[tuple[str, str], tuple[float, float]]


@pytest.mark.parametrize("device", SYSTEMS)
def test_the_fitted_network_is_met(measured: Measured, device: str) -> None:
    energy_uj, seconds = measured[device, FITTED[device]]
    cost = _cost(device, FITTED[device])
    assert cost.energy_pj * 1e-6 == pytest.approx(energy_uj, rel=0.01)
    assert cost.latency_ms == pytest.approx(1e3 * seconds, rel=0.01)


@pytest.mark.parametrize(("device", "benchmark"), PREDICTED)
def test_energy_of_the_other_networks_is_predicted(measured: Measured, device: str, benchmark: str) -> None:
    ratio = _cost(device, benchmark).energy_pj * 1e-6 / measured[device, benchmark][0]
    assert 1 / FACTOR <= ratio <= FACTOR


@pytest.mark.parametrize(("device", "benchmark"), [pair for pair in PREDICTED if pair[0].startswith("gap9")])
def test_time_of_the_other_networks_is_predicted_where_it_was_fitted_by_layer(
    measured: Measured, device: str, benchmark: str
) -> None:
    assert 0.9 <= _cost(device, benchmark).latency_ms / 1e3 / measured[device, benchmark][1] <= 1.25


@pytest.mark.parametrize(("benchmark", "ratio"), [("kws", 0.80), ("vww", 1.10), ("ad", 1.00)])
def test_times_of_the_newest_microcontroller(measured: Measured, benchmark: str, ratio: float) -> None:
    # The flash was fitted to the autoencoder; the other two are predictions.
    seconds = measured["nucleo_u385rg_q", benchmark][1]
    assert _cost("nucleo_u385rg_q", benchmark).latency_ms / 1e3 / seconds == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("device", SYSTEMS)
def test_a_fit_to_another_network_predicts_resnet(measured: Measured, device: str) -> None:
    network = NETWORKS[BENCHMARKS["vww"]]()
    fitted = calibrate(load(device), network.jobs(), measured[device, "vww"][0] * 1e6, "MLPerf Tiny, vww")
    resnet = NETWORKS[BENCHMARKS["ic"]]()
    ratio = evaluate(resnet.jobs(), fitted).energy_pj * 1e-6 / measured[device, "ic"][0]
    assert 1 / FACTOR <= ratio <= FACTOR


@pytest.mark.parametrize("device", ["stm32h7a3", "stm32u575", "stm32l4r5", "nucleo_u385rg_q"])
def test_four_bit_weights_save_flash_but_no_time_where_arithmetic_decides(device: str) -> None:
    network = NETWORKS[BENCHMARKS["ic"]]()
    narrow, wide = (evaluate(network.jobs(weight_bits=bits, input_bits=8), load(device)) for bits in (4, 8))
    assert narrow.weight_bytes < wide.weight_bytes
    assert narrow.latency_cycles == pytest.approx(wide.latency_cycles, rel=0.01)
    assert any("4-bit weights run as 8-bit weights" in note for note in narrow.notes)
