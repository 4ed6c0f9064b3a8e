"""How large or small a device's numbers may be: beyond, a profile has a slip of unit or exponent.

Within these bounds every cost is a finite number. They lie far outside of what is built, as their reasons say.
"""

from typing import NamedTuple


class Span(NamedTuple):
    """From the smallest to the largest value; with `or_zero` 0 is one, too."""

    lowest: float
    highest: float
    or_zero: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether a value is within the span; NaN is within none."""
        return self.lowest <= value <= self.highest or (self.or_zero and value == 0)

    def __str__(self) -> str:
        """Return the span in words, as error messages say it."""
        return f"{'0 or ' if self.or_zero else ''}from {self.lowest:g} to {self.highest:g}"


UNITS = 2**20
"""Side of an array, or units of one unrolled loop: a whole wafer has 900,000 cores."""
SIZE_BYTES = 2**50
"""A memory: a data centre's worth, 1 PiB."""
CLOCK_HZ = Span(1e3, 1e12)
"""From below a watch's 32 kHz to beyond superconducting logic's hundreds of GHz."""
ENERGY_PJ = Span(0.0, 1e9)
"""One operation, or one bit moved: 1 mJ, more than a transmission by radio."""
POWER_W = Span(0.0, 1e6)
"""A megawatt, a small data centre."""
BANDWIDTH_BITS_PER_S = Span(1e3, 1e18)
"""From a serial EEPROM to five times a wafer's memory of 21 PB/s."""
OVERFLOW_BANDWIDTH_BITS_PER_S = Span(*BANDWIDTH_BITS_PER_S[:2], or_zero=True)
PER_CYCLE = Span(1e-6, 1e9)
"""Bits, or operations, in one clock cycle: from one in a million cycles to more than a wafer does."""
PER_CYCLE_OR_ZERO = Span(*PER_CYCLE[:2], or_zero=True)
FACTOR = Span(1e-6, 1e6)
"""What a measurement can ask of a model: one further off is of something else."""
RATE = Span(1e-6, 1e3)
"""Steps that do work, in each clock cycle."""
MEASURED_RATE = Span(1e-2, 1e5)
"""MACs of a unit in each clock cycle."""
ACCESSES = Span(0.0, 1e3)
"""Of registers, for one MAC, which has three operands."""
SHARE = Span(0.0, 1.0)
