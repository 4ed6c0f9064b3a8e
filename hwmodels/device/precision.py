"""How the rate and the energy of a multiply-accumulate unit follow from the widths of its operands.

Every law is a pure function of the same signature, listed in LAWS under the name that a device profile uses; that of a
profile with the law "table" is made of the rates that it states (`tabulate`). None of them gives a fraction of a cycle:
rates are a whole number of MACs per whole number of cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from hwmodels import bounds
from hwmodels.arrays import FloatArray, IntArray, IntLike, ceil_div
from hwmodels.checks import check_number, shown


class MacCost(NamedTuple):
    """Rate and energy of one unit, of the widths' common shape."""

    parallel_macs: IntArray
    """MACs of one dot product that a unit performs together ..."""
    serial_cycles: IntArray
    """... in this many cycles."""
    energy_pj: FloatArray
    """Energy of one MAC."""

    @property
    def macs_per_unit_cycle(self) -> FloatArray:
        """MACs per unit and cycle."""
        return self.parallel_macs / self.serial_cycles


PrecisionLaw = Callable[[IntLike, IntLike, int, float], MacCost]
"""(weight_bits, input_bits, native_bits, energy of one MAC at 8 x 8 bits in pJ) -> MacCost."""

RateTable = tuple[tuple[int, int, float], ...]
"""(weight_bits, input_bits, MACs per unit and cycle) of every pair of widths, each pair once."""
TABLE = "table"
"""Name of the law that a profile makes of its own rates."""
TABLE_REFERENCE = (8, 8)
"""The pair of widths to which a profile's energy of one MAC refers."""
_LARGEST_DENOMINATOR = 1000

_PE_WIDTHS_BITS = (2.0, 4.0, 8.0, 16.0)
_PE_ENERGY_PJ = (0.0407, 0.0824, 0.2034, 0.6027)
"""Synthesised systolic processing element with accumulator and registers, 45 nm (Bit Fusion, ISCA 2018)."""


def product(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
    """Return one MAC per cycle at any width, of an energy in proportion to the product of the widths.

    So it is in an array multiplier. Over-rewards narrow widths: accumulator, registers and control do not shrink.
    """
    weight_bits, input_bits = _broadcast(weight_bits, input_bits)
    one = np.ones_like(weight_bits)
    return MacCost(one, one, np.asarray(energy_pj_8x8 * (weight_bits * input_bits) / 64.0))


def power(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
    """Return one MAC per cycle at any width, of an energy as published for whole processing elements.

    Log-log interpolation between 2, 4, 8 and 16 bits (energy grows as b^1.02, b^1.30, b^1.57), and along the
    outer pieces beyond. Unequal widths count as their geometric mean, which is assumed.
    """
    weight_bits, input_bits = _broadcast(weight_bits, input_bits)
    log_width = (np.log2(weight_bits) + np.log2(input_bits)) / 2.0
    widths, energies = np.log2(_PE_WIDTHS_BITS), np.log2(_PE_ENERGY_PJ)
    piece = np.clip(np.searchsorted(widths, log_width, side="right") - 1, 0, len(widths) - 2)
    exponent = np.diff(energies) / np.diff(widths)
    log_energy = energies[piece] + exponent[piece] * (log_width - widths[piece])
    one = np.ones_like(weight_bits)
    return MacCost(one, one, energy_pj_8x8 * np.exp2(log_energy) / _PE_ENERGY_PJ[2])


def fusion(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
    """Return what 2-bit multipliers fused in space give: narrow operands run side by side.

    Widths round up to 2, 4, 8 or 16 bits; a unit performs (8/weight)(8/input) MACs per cycle at constant
    energy per cycle, and 16-bit operands take two passes each. Source: Bit Fusion, ISCA 2018.
    """
    weight_bits, input_bits = _broadcast(weight_bits, input_bits)
    weight_bits, input_bits = _next_power_of_two(weight_bits), _next_power_of_two(input_bits)
    parallel = np.maximum(8 // weight_bits, 1) * np.maximum(8 // input_bits, 1)
    serial = ceil_div(weight_bits, 8) * ceil_div(input_bits, 8)
    return MacCost(parallel, serial, energy_pj_8x8 * serial / parallel)


def bit_serial(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
    """Return time and energy that are linear in the weight's bits, which enter one by one.

    Inputs are taken in whole, `native_bits` at a time: narrower ones gain nothing. Source: Stripes, MICRO 2016.
    """
    weight_bits, input_bits = _broadcast(weight_bits, input_bits)
    serial = weight_bits * ceil_div(input_bits, native_bits)
    return MacCost(np.ones_like(serial), serial, np.asarray(energy_pj_8x8 * serial / 8.0))


def bit_pairs(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
    """Return time and energy in proportion to the product of the widths: a unit takes a bit of each at a time.

    Source: Bit-serial accelerators such as those of HAQ, CVPR 2019.
    """
    weight_bits, input_bits = _broadcast(weight_bits, input_bits)
    serial = weight_bits * input_bits
    return MacCost(np.ones_like(serial), serial, np.asarray(energy_pj_8x8 * serial / 64.0))


def fixed(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
    """Return what a unit of one width gives: nothing is gained below `native_bits`, wider operands take passes."""
    weight_bits, input_bits = _broadcast(weight_bits, input_bits)
    passes = ceil_div(weight_bits, native_bits) * ceil_div(input_bits, native_bits)
    # The 8 x 8 MAC is itself one of several passes when the unit is narrower than 8 bits.
    passes_8x8 = (-(-8 // native_bits)) ** 2
    return MacCost(np.ones_like(passes), passes, energy_pj_8x8 * passes / passes_8x8)


@cache
def tabulate(rates: RateTable) -> PrecisionLaw:
    """Return the law of a unit that was measured at each pair of widths.

    A rate of 2.1 is 21 MACs in 10 cycles. A unit takes the same power at all of them: energy follows time. The pair
    `TABLE_REFERENCE` must be there; pairs that are not have no meaning.
    """
    size = max(max(weight, inputs) for weight, inputs, _ in rates) + 1
    macs, cycles = np.zeros((size, size), np.int64), np.ones((size, size), np.int64)
    for weight, inputs, rate in rates:
        fraction = Fraction(str(rate)).limit_denominator(_LARGEST_DENOMINATOR)
        macs[weight, inputs], cycles[weight, inputs] = fraction.numerator, fraction.denominator
    reference = macs[TABLE_REFERENCE] / cycles[TABLE_REFERENCE]

    def law(weight_bits: IntLike, input_bits: IntLike, native_bits: int, energy_pj_8x8: float) -> MacCost:
        pairs = _broadcast(weight_bits, input_bits)
        parallel, serial = macs[pairs], cycles[pairs]
        return MacCost(parallel, serial, np.asarray(energy_pj_8x8 * reference * serial / parallel))

    return law


def list_rate_problems(
    law: str, rows: RateTable, weight_bits: tuple[int, ...], input_bits: tuple[int, ...]
) -> list[str]:
    """Return what is wrong with the rates of the law "table", which must be those of every pair of widths."""
    key = "arithmetic.macs_per_cycle"
    if law != TABLE:
        return [f"{key}: expected none for the law {shown(law)}, received {shown(rows)}"] if rows else []
    if not all(isinstance(row, tuple) and [type(each) for each in row[:-1]] == [int, int] for row in rows):
        return [f"{key}: expected [weight_bits, input_bits, MACs] for each pair of widths, received {shown(rows)}"]
    found = [line for *_, rate in rows for line in check_number(key, rate, bounds.MEASURED_RATE)]
    stated = [(weight, inputs) for weight, inputs, _ in rows]
    needed = [(weight, inputs) for weight in weight_bits for inputs in input_bits]
    if len(stated) != len(needed) or not all(pair in stated for pair in (*needed, TABLE_REFERENCE)):
        found.append(
            f"{key}: expected one entry for each pair of arithmetic.weight_bits and arithmetic.input_bits, (8, 8) "
            f"among them, received those of {shown(stated)}"
        )
    return found


def _broadcast(weight_bits: IntLike, input_bits: IntLike) -> tuple[IntArray, IntArray]:
    """Return both widths as arrays of their common shape."""
    weight, inputs = np.broadcast_arrays(np.asarray(weight_bits, np.int64), np.asarray(input_bits, np.int64))
    return weight, inputs


def _next_power_of_two(bits: IntArray) -> IntArray:
    """Return the bits rounded up to 2, 4, 8, 16 ..."""
    rounded: IntArray = np.left_shift(1, np.ceil(np.log2(np.maximum(bits, 2))).astype(np.int64))
    return rounded


LAWS: Mapping[str, PrecisionLaw] = MappingProxyType(
    {
        "product": product,
        "power": power,
        "fusion": fusion,
        "bit_serial": bit_serial,
        "bit_pairs": bit_pairs,
        "fixed": fixed,
    }
)
