"""The record of one accelerator: its array, buffers, memories, arithmetic and energies, each with its source."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from hwmodels import bounds
from hwmodels.checks import choice, number, shown, text, whole_number
from hwmodels.device.dataflows import DATAFLOWS
from hwmodels.device.parts import OPERANDS, Buffer, Memory, Registers, Unroll, VectorUnit
from hwmodels.device.precision import LAWS
from hwmodels.device.technology import NODES_NM
from hwmodels.errors import DeviceError
from hwmodels.storage.memory import WEIGHT_FORMATS
from hwmodels.workload.layer import MAXIMUM_BITS

ASSUMED = "assumed"
"""The source of a number that nobody published: a choice of this package or of the profile's author."""

K_PACKINGS = ("dense", "channels")
OUTPUT_TRAFFIC = ("outputs", "sums")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An array of multiply-accumulate units with operand buffers in front of one or more memories.

    A job's width rounds up to the next of `weight_bits` and `input_bits`, which is what buffers hold and what
    `precision_law` is applied to; memories hold weights packed at the job's own width. `mac_energy_pj` is that
    of one MAC of 8 x 8 bits. `idle_energy_share` is the share of the energy of its MACs, at the layer's widths, that a
    unit without work takes in each cycle in which the array computes.
    `weight_formats` are those that the device decodes on the way from memory: smaller formats count for storage
    only. With a `k_packing` of "channels", rows take the channels of one kernel position at a time, unless there
    are fewer channels than rows. With an `output_traffic` of "sums", each output passes to memory, and from it,
    at accumulator width. `network_energy_pj_per_bit` is that of moving a word between two elements of the array.
    `energy_factor` multiplies all energies: it calibrates the model to one measurement, which its source names.
    `maximum_layers` is 0 where there is no limit. `sources` gives for each dotted profile key a reference's id,
    or "assumed".

    Raises:
        DeviceError: a field is out of range; all of them are reported at once.
    """

    name: str
    title: str
    dataflow: str
    clock_hz: float
    buffers: tuple[Buffer, ...]
    memories: tuple[Memory, ...]
    precision_law: str
    native_bits: int
    weight_bits: tuple[int, ...]
    input_bits: tuple[int, ...]
    accumulator_bits: int
    mac_energy_pj: float
    static_power_w: float
    weight_formats: tuple[str, ...]
    vector: VectorUnit
    rows: int = 1
    columns: int = 1
    pipelined_folds: bool = False
    k_packing: str = "dense"
    idle_energy_share: float = 0.0
    output_traffic: str = "outputs"
    network_energy_pj_per_bit: float = 0.0
    layer_overhead_cycles: int = 0
    maximum_layers: int = 0
    node_nm: int = 45
    energy_factor: float = 1.0
    registers: Registers = field(default_factory=Registers)
    unroll: Unroll = field(default_factory=Unroll)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        problems = [*_number_problems(self), *_choice_problems(self), *_part_problems(self)]
        if problems:
            raise DeviceError([f"device {shown(self.name)}: {problem}" for problem in problems])

    @property
    def units(self) -> int:
        """Multiply-accumulate units that may work side by side."""
        return self.unroll.units if self.dataflow == "unrolled" else self.rows * self.columns

    @property
    def assumed(self) -> tuple[str, ...]:
        """Profile keys whose value has no published source."""
        return tuple(sorted(key for key, source in self.sources.items() if source == ASSUMED))

    def buffer_of(self, operand: str) -> Buffer:
        """Return the buffer that holds "weights", "inputs" or "outputs"."""
        return next(buffer for buffer in self.buffers if operand in buffer.operands)

    def memory_of(self, operand: str) -> Memory:
        """Return the memory that keeps "weights", "inputs" or "outputs"."""
        return next(memory for memory in self.memories if operand in memory.operands)

    def bits_per_cycle(self, memory: Memory) -> float:
        """Return a memory's bandwidth in bits per clock cycle of the array."""
        return memory.bandwidth_bits_per_s / self.clock_hz

    def digest(self) -> str:
        """Return a SHA-256 over every field: equal digests have equal costs in one package version."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def _number_problems(device: Accelerator) -> list[str]:
    """Return one line for each number that is out of range."""
    return [
        *whole_number("array.rows", device.rows, 1, bounds.UNITS),
        *whole_number("array.columns", device.columns, 1, bounds.UNITS),
        *number("array.clock_hz", device.clock_hz, bounds.CLOCK_HZ),
        *number("array.network_energy_pj_per_bit", device.network_energy_pj_per_bit, bounds.ENERGY_PJ),
        *whole_number("array.layer_overhead_cycles", device.layer_overhead_cycles, 0),
        *whole_number("array.maximum_layers", device.maximum_layers, 0),
        *whole_number("arithmetic.native_bits", device.native_bits, 1, MAXIMUM_BITS),
        *whole_number("arithmetic.accumulator_bits", device.accumulator_bits, 1, 2 * MAXIMUM_BITS),
        *number("arithmetic.mac_energy_pj", device.mac_energy_pj, bounds.ENERGY_PJ),
        *number("arithmetic.idle_energy_share", device.idle_energy_share, bounds.SHARE),
        *number("power.static_w", device.static_power_w, bounds.POWER_W),
        *number("power.energy_factor", device.energy_factor, bounds.FACTOR),
    ]


def _choice_problems(device: Accelerator) -> list[str]:
    """Return one line for each name, list or switch that is not one of the admissible ones."""
    problems = [
        *text("name", device.name),
        *text("title", device.title),
        *choice("array.dataflow", device.dataflow, DATAFLOWS),
        *choice("array.k_packing", device.k_packing, K_PACKINGS),
        *choice("array.output_traffic", device.output_traffic, OUTPUT_TRAFFIC),
        *choice("arithmetic.law", device.precision_law, LAWS),
    ]
    if device.node_nm not in NODES_NM:
        problems.append(
            f"`array.node_nm` must be one of {', '.join(map(str, NODES_NM))}, but got {shown(device.node_nm)}"
        )
    if not isinstance(device.pipelined_folds, bool):
        problems.append(f"`array.pipelined_folds` must be true or false, but got {shown(device.pipelined_folds)}")
    for key, widths in (("weight_bits", device.weight_bits), ("input_bits", device.input_bits)):
        found = [line for width in widths for line in whole_number(f"arithmetic.{key}", width, 1, MAXIMUM_BITS)]
        if not found and (not widths or list(widths) != sorted(set(widths))):
            found = [f"`arithmetic.{key}` must be ascending widths, at least one, but got {shown(list(widths))}"]
        problems += found
    for weight_format in device.weight_formats:
        problems += choice("arithmetic.weight_formats", weight_format, WEIGHT_FORMATS)
    if "dense" not in device.weight_formats:
        got = list(device.weight_formats)
        problems.append(
            f"`arithmetic.weight_formats` must contain 'dense', which every network has, but got {shown(got)}"
        )
    return problems


def _part_problems(device: Accelerator) -> list[str]:
    """Return what is wrong with buffers, memories and other parts: each operand must live in exactly one of each."""
    places: tuple[Buffer | Memory, ...] = (*device.buffers, *device.memories)
    problems = [problem for place in places for problem in place.problems()]
    problems += [*device.registers.problems(), *device.vector.problems(), *device.unroll.problems()]
    for table, kind in (("buffers", Buffer), ("memories", Memory)):
        names = [place.name for place in places if isinstance(place, kind)]
        problems += [f"`{table}` must have names of their own, but {name!r} occurs twice" for name in _twice(names)]
        for operand in OPERANDS:
            holders = [place.name for place in places if isinstance(place, kind) and operand in place.operands]
            if len(holders) != 1:
                held = f"but got {', '.join(holders)}" if holders else "but none does"
                problems.append(f"exactly one of `{table}` must hold the {operand}, {held}")
    if device.dataflow == "rs" and isinstance(device.registers.words, int) and device.registers.words < 3:
        problems.append(
            "`registers.words >= 3` must hold for the row-stationary dataflow (a weight, an input and a sum in every "
            f"element), but got {device.registers.words}"
        )
    return problems


def _twice(names: list[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
