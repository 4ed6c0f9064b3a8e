"""Precision laws by hand, against their published figures."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels import LAWS
from hwmodels.device.precision import bit_pairs, bit_serial, fixed, fusion, power, product, tabulate


def test_product_law() -> None:
    mac = product(np.array([8, 4, 2]), 8, 8, 0.2)
    np.testing.assert_allclose(mac.energy_pj, [0.2, 0.1, 0.05])
    assert mac.macs_per_unit_cycle.tolist() == [1, 1, 1]


def test_power_law_meets_the_published_elements() -> None:
    bits = np.array([2, 4, 8, 16])
    np.testing.assert_allclose(power(bits, bits, 8, 0.2034).energy_pj, [0.0407, 0.0824, 0.2034, 0.6027])
    # Unequal widths lie at their geometric mean, and 1 and 32 bits on the outer pieces.
    assert float(power(16, 4, 8, 0.2034).energy_pj) == pytest.approx(0.2034)
    assert float(power(1, 1, 8, 0.2034).energy_pj) == pytest.approx(0.0407 * 0.0407 / 0.0824)
    assert float(power(32, 32, 8, 0.2034).energy_pj) == pytest.approx(0.6027 * 0.6027 / 0.2034)


@pytest.mark.parametrize(
    ("weight_bits", "input_bits", "macs_per_cycle", "energy_pj"),
    [
        *[(8, 8, 1, 0.459), (4, 4, 4, 0.115), (2, 2, 16, 0.0287), (1, 1, 16, 0.0287)],
        *[(3, 8, 2, 0.2295), (2, 8, 4, 0.115), (16, 16, 0.25, 1.836), (16, 4, 1, 0.459)],
    ],
)
def test_fusion_law(weight_bits: int, input_bits: int, macs_per_cycle: float, energy_pj: float) -> None:
    mac = fusion(weight_bits, input_bits, 8, 0.459)
    assert float(mac.macs_per_unit_cycle) == macs_per_cycle
    assert float(mac.energy_pj) == pytest.approx(energy_pj, rel=3e-3)


def test_bit_serial_law_is_linear_in_weight_bits_alone() -> None:
    mac = bit_serial(np.array([1, 2, 3, 8]), np.array([8, 2, 8, 8]), 8, 0.8)
    assert mac.serial_cycles.tolist() == [1, 2, 3, 8]
    np.testing.assert_allclose(mac.energy_pj, [0.1, 0.2, 0.3, 0.8])
    assert int(bit_serial(2, 16, 8, 0.8).serial_cycles) == 4


def test_bit_pairs_are_time_and_energy_of_both_widths() -> None:
    mac = bit_pairs(np.array([8, 4, 3]), np.array([8, 8, 5]), 8, 0.64)
    assert mac.serial_cycles.tolist() == [64, 32, 15]
    np.testing.assert_allclose(mac.energy_pj, [0.64, 0.32, 0.15])


def test_fixed_law_gains_nothing_below_native() -> None:
    mac = fixed(np.array([1, 4, 8, 16]), 8, 8, 0.2)
    np.testing.assert_allclose(mac.energy_pj, [0.2, 0.2, 0.2, 0.4])
    assert mac.macs_per_unit_cycle.tolist() == [1, 1, 1, 0.5]
    # The energy is stated at 8 x 8 bits: four passes of a 4-bit unit, one of a 16-bit one.
    assert float(fixed(4, 4, 4, 0.2).energy_pj) == pytest.approx(0.05)
    assert float(fixed(16, 16, 16, 0.2).energy_pj) == pytest.approx(0.2)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_broadcasts_and_meets_the_8_bit_energy(name: str) -> None:
    mac = LAWS[name](np.array([2, 4, 8]).reshape(3, 1), np.array([4, 8]), 8, 0.3)
    for field in mac:
        assert field.shape == (3, 2)
    assert float(LAWS[name](8, 8, 8, 0.3).energy_pj) == pytest.approx(0.3)


def test_a_table_gives_its_rates_and_the_same_power_at_each() -> None:
    law = tabulate(((8, 8, 2.1), (4, 8, 2.3), (8, 4, 2), (4, 4, 3.5)))
    mac = law(np.array([[8], [4]]), np.array([8, 4]), 8, 0.42)
    assert mac.parallel_macs.tolist() == [[21, 2], [23, 7]]
    assert mac.serial_cycles.tolist() == [[10, 1], [10, 2]]
    np.testing.assert_allclose(mac.macs_per_unit_cycle, [[2.1, 2.0], [2.3, 3.5]])
    np.testing.assert_allclose(mac.energy_pj * mac.macs_per_unit_cycle, 0.42 * 2.1)
