"""Every energy of every shipped profile against published figures, typed here once more from their publications.

None is read from the package: a constant that changes there, or a row taken for another, shows here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatch

import pytest

from hwmodels import LAWS, energy_ratio, load, names, profile_entries
from hwmodels.device.technology import NODES_NM

CACTI = {
    128: (0.0214, 0.0289),
    1024: (0.0354, 0.103),
    2048: (0.0595, 0.114),
    4096: (0.107, 0.135),
    8192: (0.200, 0.174),
    16384: (0.312, 0.263),
}
"""Bytes of a bank -> pJ per bit of a read and of a write, words of 4 bytes, 45 nm (with Bit Fusion, ISCA 2018)."""
PE_PJ = {2: 0.0407, 4: 0.0824, 8: 0.2034, 16: 0.6027}
"""Bits -> pJ of a cycle of a synthesised systolic element with accumulator and registers (the same)."""
FUSION_UNIT_PJ = 0.459
ADD_8_PJ = 0.03
SRAM_64_PJ = {8: 10.0, 32: 20.0, 1024: 100.0}
"""KB -> pJ of a read of 64 bits (Horowitz, ISSCC 2014, and so is the addition)."""
DRAM_64_PJ = 1300.0
LPDDR4_PJ_PER_BIT = 8.0
"""As Accelergy has it (Wu et al., ICCAD 2019)."""
STILLMAKER = {130: 3.17, 90: 1.95, 65: 1.25, 45: 1.0, 32: 0.64, 20: 0.24, 16: 0.19, 14: 0.15, 10: 0.13, 7: 0.10}
"""Energy at a node relative to 45 nm, 0.9 V (Stillmaker and Baas, Integration 58, 2017)."""
SERIAL_FLASH_PJ_PER_BIT = 0.050 * 1.8 / (0.4e9 * 8) * 1e12
"""50 mA at 1.8 V while 0.4 GB/s are read."""


def _sram(kilobytes: float, low: int, high: int) -> float:
    """PJ per bit of a bank between two published sizes, on the line between them in logarithms."""
    slope = math.log(SRAM_64_PJ[high] / SRAM_64_PJ[low]) / math.log(high / low)
    return SRAM_64_PJ[low] * math.pow(kilobytes / low, slope) / 64


def _bank(size: int, factor: float = 1.0) -> dict[str, float]:
    read, write = CACTI[size]
    return {"read_energy_pj_per_bit": read * factor, "write_energy_pj_per_bit": write * factor}


def _both(pj_per_bit: float) -> dict[str, float]:
    return {"read_energy_pj_per_bit": pj_per_bit, "write_energy_pj_per_bit": pj_per_bit}


def _of(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{part}.{key}": value for part, entries in parts.items() for key, value in entries.items()}


EXPECTED = {
    "bitfusion": _of(
        {
            "arithmetic": {"mac_energy_pj": FUSION_UNIT_PJ},
            "vector": {"energy_pj_per_operation": ADD_8_PJ},
            "buffers.weights": _bank(128),
            "buffers.inputs": _bank(2048),
            "buffers.outputs": _bank(1024),
            "memories.dram": {"energy_pj_per_bit": 15.0},
        }
    ),
    "bit_serial_16x16": _of(
        {
            "arithmetic": {"mac_energy_pj": PE_PJ[8]},
            "vector": {"energy_pj_per_operation": ADD_8_PJ},
            "buffers.weights": _bank(4096),
            "buffers.inputs": _bank(4096),
            "buffers.outputs": _bank(2048),
            "memories.dram": {"energy_pj_per_bit": LPDDR4_PJ_PER_BIT},
        }
    ),
    "gemmini_default": _of(
        {
            "arithmetic": {"mac_energy_pj": PE_PJ[8]},
            "vector": {"energy_pj_per_operation": ADD_8_PJ},
            "buffers.scratchpad": _both(_sram(64, 32, 1024)),
            "buffers.accumulator": _both(SRAM_64_PJ[32] / 64),
            "memories.dram": {"energy_pj_per_bit": LPDDR4_PJ_PER_BIT},
        }
    ),
    "eyeriss_v1": _of(
        {
            # 2, 1, 4, 15 and 460 pJ for 16 bits (Gao et al., ASPLOS 2017).
            "arithmetic": {"mac_energy_pj": 2.0},
            "registers": {"energy_pj_per_bit": 1.0 / 16},
            "array": {"network_energy_pj_per_bit": 4.0 / 16},
            "buffers.global": _both(15.0 / 16),
            "memories.dram": {"energy_pj_per_bit": 460.0 / 16},
            "vector": {"energy_pj_per_operation": ADD_8_PJ * STILLMAKER[65]},
        }
    ),
    "tpu_v1": _of(
        {
            "arithmetic": {"mac_energy_pj": PE_PJ[8] * STILLMAKER[32]},
            "vector": {"energy_pj_per_operation": ADD_8_PJ * STILLMAKER[32]},
            "buffers.weight_fifo": _both(_sram(64, 32, 1024) * STILLMAKER[32]),
            "buffers.unified": _both(SRAM_64_PJ[1024] / 64 * STILLMAKER[32]),
            "buffers.accumulators": _bank(16384, STILLMAKER[32]),
            "memories.weight_memory": {"energy_pj_per_bit": DRAM_64_PJ / 64},
            "memories.host": {"energy_pj_per_bit": 0.0},
        }
    ),
    "ethos_u55_*": _of(
        {
            "arithmetic": {"mac_energy_pj": PE_PJ[8]},
            "vector": {"energy_pj_per_operation": ADD_8_PJ},
            "buffers.shram": _bank(1024),
            "buffers.decoder": _bank(128),
            "buffers.staged_weights": {
                "read_energy_pj_per_bit": CACTI[128][0],
                "write_energy_pj_per_bit": SRAM_64_PJ[1024] / 64,
            },
            "memories.sram": {"energy_pj_per_bit": SRAM_64_PJ[1024] / 64},
            "memories.flash": {"energy_pj_per_bit": SERIAL_FLASH_PJ_PER_BIT},
        }
    ),
}
"""Profiles, as patterns -> dotted key -> pJ. Elsewhere only the power of the whole is known: all energies are 0."""
ROUND_NUMBERS = ("haq_bit_serial",)
"""Profiles of a published time whose energies are not compared: none is published, and they say so."""


def _energies(name: str) -> dict[str, float]:
    return {key: value for key, value, _ in profile_entries(load(name)) if "_pj" in key}


@pytest.mark.parametrize("name", names())
def test_every_energy_is_a_published_one(name: str) -> None:
    found = _energies(name)
    if name in ROUND_NUMBERS:
        sources = {key: source for key, _, source in profile_entries(load(name))}
        assert {sources[key] for key in found} == {"assumed"}
        return
    expected = next((table for pattern, table in EXPECTED.items() if fnmatch(name, pattern)), dict.fromkeys(found, 0.0))
    assert set(found) <= set(expected)
    # A profile states two or three digits of what is worked out here.
    assert found == pytest.approx({key: expected[key] for key in found}, rel=5e-3)


def test_published_rows_are_stated_as_they_are() -> None:
    rows = {value for row in CACTI.values() for value in row} | {*PE_PJ.values(), FUSION_UNIT_PJ, ADD_8_PJ}
    for name in names():
        for key, value, source in profile_entries(load(name)):
            if source == "bitfusion_isca2018" and "_pj" in key and not key.startswith("memories."):
                assert value in rows, (name, key)


def test_energies_by_node() -> None:
    assert dict.fromkeys(NODES_NM) == dict.fromkeys(STILLMAKER)
    for start, before in STILLMAKER.items():
        for end, after in STILLMAKER.items():
            assert energy_ratio(start, end) == pytest.approx(after / before, rel=1e-12)


def test_energies_of_an_element_by_width() -> None:
    for bits, energy in PE_PJ.items():
        assert float(LAWS["power"](bits, bits, 8, PE_PJ[8]).energy_pj) == pytest.approx(energy, rel=1e-12)
    # So energy grows as b^1.02, b^1.30 and b^1.57 with each doubling.
    for bits, exponent in ((2, 1.02), (4, 1.30), (8, 1.57)):
        assert math.log2(PE_PJ[2 * bits] / PE_PJ[bits]) == pytest.approx(exponent, abs=0.005)


@pytest.mark.parametrize(("bits", "energy"), [(8, 0.459), (4, 0.115), (2, 0.0287)])
def test_energies_of_a_fusion_unit(bits: int, energy: float) -> None:
    device = load("bitfusion")
    cost = device.law(bits, bits, device.native_bits, device.mac_energy_pj)
    assert float(cost.energy_pj) == pytest.approx(energy, rel=3e-3)
