"""The parts of an accelerator beside its array: buffers, memories, registers, vector unit, unrolled loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwmodels import bounds
from hwmodels.checks import choice, number, whole_number

OPERANDS = ("weights", "inputs", "outputs")
READERS = ("edge", "unit")
FUSABLE = ("pool", "activation")
"""An addition is not among them: its second operand has to come from somewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """One on-chip SRAM and the operands that live in it (several share it in a unified buffer).

    `read_by` says who reads it: the array's "edge", from where words travel on, or every "unit" by itself, one
    word for each MAC. A `bandwidth_bits_per_cycle` of 0 means that the buffer keeps up with its readers.
    """

    name: str
    operands: tuple[str, ...]
    size_bytes: int
    read_energy_pj_per_bit: float
    write_energy_pj_per_bit: float
    bandwidth_bits_per_cycle: float = 0.0
    read_by: Literal["edge", "unit"] = "edge"

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        key = f"buffers.{self.name}"
        found = [
            *whole_number(f"{key}.size_bytes", self.size_bytes, 1, bounds.BYTES),
            *number(f"{key}.read_energy_pj_per_bit", self.read_energy_pj_per_bit, bounds.ENERGY_PJ),
            *number(f"{key}.write_energy_pj_per_bit", self.write_energy_pj_per_bit, bounds.ENERGY_PJ),
            *number(f"{key}.bandwidth_bits_per_cycle", self.bandwidth_bits_per_cycle, bounds.PER_CYCLE_OR_ZERO),
            *choice(f"{key}.read_by", self.read_by, READERS),
        ]
        for operand in self.operands:
            found += choice(f"{key}.operands", operand, OPERANDS)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A memory behind the buffers, DRAM or an MCU's flash and SRAM, and the operands that are kept in it.

    A `size_bytes` of 0 means that its size is the system's affair: everything fits. With an
    `overflow_bandwidth_bits_per_s` above 0, weights that exceed the size come from elsewhere, at that bandwidth;
    with 0, a network of more weights does not fit the device.
    """

    name: str
    operands: tuple[str, ...]
    bandwidth_bits_per_s: float
    energy_pj_per_bit: float
    size_bytes: int = 0
    overflow_bandwidth_bits_per_s: float = 0.0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        key = f"memories.{self.name}"
        found = [
            *number(f"{key}.bandwidth_bits_per_s", self.bandwidth_bits_per_s, bounds.BANDWIDTH),
            *number(f"{key}.energy_pj_per_bit", self.energy_pj_per_bit, bounds.ENERGY_PJ),
            *whole_number(f"{key}.size_bytes", self.size_bytes, 0, bounds.BYTES),
            *number(
                f"{key}.overflow_bandwidth_bits_per_s", self.overflow_bandwidth_bits_per_s, bounds.OVERFLOW_BANDWIDTH
            ),
        ]
        if not found and self.overflow_bandwidth_bits_per_s and not self.size_bytes:
            found.append(f"`{key}.overflow_bandwidth_bits_per_s` needs `{key}.size_bytes`, beyond which it holds")
        for operand in self.operands:
            found += choice(f"{key}.operands", operand, OPERANDS)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """Register files of one processing element; words are of the native width.

    Their energy is counted `accesses_per_mac` times for each MAC; where a published MAC energy includes the
    element's registers, an element has none.
    """

    words: int = 0
    accesses_per_mac: float = 0.0
    energy_pj_per_bit: float = 0.0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        return [
            *whole_number("registers.words", self.words, 0),
            *number("registers.accesses_per_mac", self.accesses_per_mac, bounds.ACCESSES),
            *number("registers.energy_pj_per_bit", self.energy_pj_per_bit, bounds.ENERGY_PJ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """What computes pooling, element-wise additions and activation functions.

    Pooling may have a rate of its own; a `pool_operations_per_cycle` of 0 is that of the others. Layers of the kinds in
    `fused` work on results as they leave the array: they take energy, but neither time
    nor memory traffic of their own. The energy is that of one operation on 8 bits, and grows with the width.
    """

    operations_per_cycle: float
    energy_pj_per_operation: float
    fused: tuple[str, ...] = ()
    pool_operations_per_cycle: float = 0.0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        found = [
            *number("vector.operations_per_cycle", self.operations_per_cycle, bounds.PER_CYCLE),
            *number("vector.energy_pj_per_operation", self.energy_pj_per_operation, bounds.ENERGY_PJ),
            *number("vector.pool_operations_per_cycle", self.pool_operations_per_cycle, bounds.PER_CYCLE_OR_ZERO),
        ]
        for kind in self.fused:
            found += choice("vector.fused", kind, FUSABLE)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroll:
    """The loops that run side by side in an engine that is no systolic array.

    A step takes `out_h x out_w` positions, `out_channels` and `in_channels` of one group and `kernel` of the
    kernel's elements; in a depthwise convolution, `depthwise_channels` groups take the place of the channels.
    `rate` is the share of steps that do work (above 1 where a step is faster than one clock cycle): what is
    measured of a processor, loads and loop overheads included.
    """

    out_h: int = 1
    out_w: int = 1
    out_channels: int = 1
    in_channels: int = 1
    kernel: int = 1
    depthwise_channels: int = 1
    rate: float = 1.0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        counts = ("out_h", "out_w", "out_channels", "in_channels", "kernel", "depthwise_channels")
        found = [
            line for field in counts for line in whole_number(f"unroll.{field}", getattr(self, field), 1, bounds.UNITS)
        ]
        found += number("unroll.rate", self.rate, bounds.RATE)
        if not found and self.depthwise_channels > self.out_channels * self.in_channels:
            found.append(
                "`unroll.depthwise_channels <= unroll.out_channels * unroll.in_channels` must hold (there are no more "
                f"lanes), but got {self.depthwise_channels} and {self.out_channels * self.in_channels}"
            )
        return found

    @property
    def units(self) -> int:
        """MACs of one step."""
        return self.out_h * self.out_w * self.out_channels * self.in_channels * self.kernel
