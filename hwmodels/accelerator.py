"""The record of one accelerator: its array, buffers, DRAM, arithmetic and energies, each with its source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from hwmodels.checks import choice, number, text, whole_number
from hwmodels.errors import DeviceError
from hwmodels.layer import MAXIMUM_BITS
from hwmodels.memory import WEIGHT_FORMATS
from hwmodels.precision import LAWS
from hwmodels.systolic import DATAFLOWS

OPERANDS = ("weights", "inputs", "outputs")
ASSUMED = "assumed"
"""The source of a number that nobody published: a choice of this package or of the profile's author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """One on-chip SRAM and the operands that live in it (several share it in a unified buffer)."""

    name: str
    operands: tuple[str, ...]
    size_bytes: int
    read_energy_pj_per_bit: float
    write_energy_pj_per_bit: float

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        key = f"buffers.{self.name}"
        found = [
            *whole_number(f"{key}.size_bytes", self.size_bytes, 1),
            *number(f"{key}.read_energy_pj_per_bit", self.read_energy_pj_per_bit, 0.0),
            *number(f"{key}.write_energy_pj_per_bit", self.write_energy_pj_per_bit, 0.0),
        ]
        for operand in self.operands:
            found += choice(f"{key}.operands", operand, OPERANDS)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A systolic accelerator with operand buffers behind a DRAM.

    A job's width rounds up to the next of `weight_bits` and `input_bits`, which is what buffers hold and
    what `precision_law` is applied to; DRAM holds weights packed at the job's own width. `mac_energy_pj` is
    that of one MAC of 8 x 8 bits. `weight_formats` are those that the device decodes on the way from DRAM:
    smaller formats count for storage only. `sources` gives for each dotted profile key a reference's id, or
    "assumed".

    Raises:
        DeviceError: a field is out of range; all of them are reported at once.
    """

    name: str
    title: str
    rows: int
    columns: int
    dataflow: str
    pipelined_folds: bool
    clock_hz: float
    buffers: tuple[Buffer, ...]
    dram_bandwidth_bits_per_s: float
    dram_energy_pj_per_bit: float
    precision_law: str
    native_bits: int
    weight_bits: tuple[int, ...]
    input_bits: tuple[int, ...]
    accumulator_bits: int
    mac_energy_pj: float
    static_power_w: float
    weight_formats: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        problems = [*_number_problems(self), *_choice_problems(self), *_buffer_problems(self.buffers)]
        if problems:
            raise DeviceError([f"device {self.name!r}: {problem}" for problem in problems])

    @property
    def units(self) -> int:
        """Multiply-accumulate units in the array."""
        return self.rows * self.columns

    @property
    def dram_bits_per_cycle(self) -> float:
        """DRAM bandwidth in bits per clock cycle of the array."""
        return self.dram_bandwidth_bits_per_s / self.clock_hz

    @property
    def assumed(self) -> tuple[str, ...]:
        """Profile keys whose value has no published source."""
        return tuple(sorted(key for key, source in self.sources.items() if source == ASSUMED))

    def buffer_of(self, operand: str) -> Buffer:
        """Return the buffer that holds "weights", "inputs" or "outputs"."""
        return next(buffer for buffer in self.buffers if operand in buffer.operands)

    def digest(self) -> str:
        """Return a SHA-256 over every field: equal digests have equal costs in one package version."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def _number_problems(device: Accelerator) -> list[str]:
    """Return one line for each number that is out of range."""
    return [
        *whole_number("array.rows", device.rows, 1),
        *whole_number("array.columns", device.columns, 1),
        *number("array.clock_hz", device.clock_hz, 0.0, above=True),
        *number("dram.bandwidth_bits_per_s", device.dram_bandwidth_bits_per_s, 0.0, above=True),
        *number("dram.energy_pj_per_bit", device.dram_energy_pj_per_bit, 0.0),
        *whole_number("arithmetic.native_bits", device.native_bits, 1, MAXIMUM_BITS),
        *whole_number("arithmetic.accumulator_bits", device.accumulator_bits, 1, 2 * MAXIMUM_BITS),
        *number("arithmetic.mac_energy_pj", device.mac_energy_pj, 0.0),
        *number("power.static_w", device.static_power_w, 0.0),
    ]


def _choice_problems(device: Accelerator) -> list[str]:
    """Return one line for each name, list or switch that is not one of the admissible ones."""
    problems = [
        *text("name", device.name),
        *text("title", device.title),
        *choice("array.dataflow", device.dataflow, DATAFLOWS),
        *choice("arithmetic.law", device.precision_law, LAWS),
    ]
    if not isinstance(device.pipelined_folds, bool):
        problems.append(f"`array.pipelined_folds` must be true or false, but got {device.pipelined_folds!r}")
    for key, widths in (("weight_bits", device.weight_bits), ("input_bits", device.input_bits)):
        found = [line for width in widths for line in whole_number(f"arithmetic.{key}", width, 1, MAXIMUM_BITS)]
        if not found and (not widths or list(widths) != sorted(set(widths))):
            found = [f"`arithmetic.{key}` must be ascending widths, at least one, but got {list(widths)}"]
        problems += found
    for weight_format in device.weight_formats:
        problems += choice("arithmetic.weight_formats", weight_format, WEIGHT_FORMATS)
    if "dense" not in device.weight_formats:
        got = list(device.weight_formats)
        problems.append(f"`arithmetic.weight_formats` must contain 'dense', which every network has, but got {got}")
    return problems


def _buffer_problems(buffers: tuple[Buffer, ...]) -> list[str]:
    """Return what is wrong with the buffers: each operand must live in exactly one."""
    problems = [problem for buffer in buffers for problem in buffer.problems()]
    for operand in OPERANDS:
        holders = [buffer.name for buffer in buffers if operand in buffer.operands]
        if len(holders) != 1:
            held = f"but got {', '.join(holders)}" if holders else "but none does"
            problems.append(f"exactly one of `buffers` must hold the {operand}, {held}")
    return problems
