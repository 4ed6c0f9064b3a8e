"""The record of one accelerator: its array, buffers, memories, arithmetic and energies, each with its source."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from hwmodels import bounds
from hwmodels.checks import check_choice, check_number, check_text, check_whole_number, list_twice, shown
from hwmodels.device.dataflows import DATAFLOWS
from hwmodels.device.keeping import list_residency_problems
from hwmodels.device.parts import OPERANDS, STORED_OPERANDS, Blocks, Buffer, Memory, Registers, Unroll, VectorUnit
from hwmodels.device.precision import LAWS, TABLE, PrecisionLaw, RateTable, list_rate_problems, tabulate
from hwmodels.device.technology import NODES_NM
from hwmodels.errors import DeviceError
from hwmodels.storage.memory import PACKED_FORMATS, WEIGHT_FORMATS
from hwmodels.workload.layer import MAXIMUM_BITS

ASSUMED = "assumed"
"""The source of a number that nobody published: a choice of this package or of the profile's author."""

K_PACKINGS = ("dense", "channels")
OUTPUT_TRAFFIC = ("outputs", "sums")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An array of multiply-accumulate units with operand buffers in front of one or more memories.

    Attributes:
        name: Its name in `hwmodels.names()`, or a name of one's own.
        title: What it is, in words.
        dataflow: A key of `DATAFLOWS`.
        clock_hz: Of the array.
        buffers: Each operand lives in exactly one.
        memories: Each operand is kept in exactly one.
        precision_law: A key of `LAWS`, or "table": how rate and energy of a MAC follow from the widths.
        native_bits: Width for which a unit is built.
        weight_bits: Ascending widths of weights; a job's width rounds up to the next of them, which is what buffers
            hold and what the law is applied to.
        input_bits: The same of inputs.
        packed: Of "weights" and "activations", what memories hold at a job's own width; the other takes as many bits as
            the device computes with, such as the int8 containers of a file.
        accumulator_bits: Width of a partial sum.
        mac_energy_pj: Energy of one MAC of 8 x 8 bits.
        macs_per_cycle: For the law "table", (weight_bits, input_bits, MACs) of every pair of widths.
        static_power_w: What it takes at all times.
        weight_formats: Those that it decodes on the way from memory; smaller formats count for storage only.
        vector: What computes pooling, additions and activation functions.
        rows: Rows of the array; without meaning for unrolled loops, and so are columns.
        columns: Columns of the array.
        pipelined_folds: Whether the next fold is loaded while the current one runs.
        diagonal_groups: Whether a fold takes as many groups of a grouped convolution as its diagonal holds, in blocks;
            else groups run in turn.
        k_packing: "channels" where rows take the channels of one kernel position at a time, unless there are fewer
            channels than rows; else "dense".
        idle_energy_share: Ratio of the energy of its MACs, at the layer's widths, that a unit without work takes in
            each cycle in which the array computes.
        output_traffic: "sums" where each output passes to memory, and from it, at accumulator width; else "outputs".
        network_energy_pj_per_bit: Of moving a word between two elements of the array.
        layer_overhead_cycles: Of starting a layer.
        maximum_layers: With products; 0 is no limit.
        node_nm: Technology node of the energies.
        energy_factor: Multiplies all energies: it calibrates the model to one measurement, which its source names.
        registers: Of one element of the array.
        unroll: The loops that run side by side, for the dataflows "unrolled", "blocks" and "ne16".
        blocks: What stands before and behind them, for the dataflow "blocks".
        sources: For each dotted profile key a reference's id, or "assumed".

    Raises:
        DeviceError: a field is out of range; all of them are reported at once.

    Example:
        >>> import hwmodels
        >>> device = hwmodels.load("bitfusion")
        >>> device.units, device.clock_hz, device.weight_bits
        (512, 500000000.0, (2, 4, 8, 16))
        >>> device.assumed[0], device.assumed[-1]
        ('array.layer_overhead_cycles', 'power.static_w')
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
    packed: tuple[str, ...] = STORED_OPERANDS
    macs_per_cycle: RateTable = ()
    rows: int = 1
    columns: int = 1
    pipelined_folds: bool = False
    diagonal_groups: bool = False
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
    blocks: Blocks = field(default_factory=Blocks)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse fields that are out of range or contradict each other."""
        rates = (self.precision_law, self.macs_per_cycle, self.weight_bits, self.input_bits)
        problems = [
            *_number_problems(self),
            *_choice_problems(self),
            *list_rate_problems(*rates),
            *_part_problems(self),
        ]
        if problems:
            raise DeviceError([f"device {shown(self.name)}: {problem}" for problem in problems])

    @property
    def units(self) -> int:
        """Multiply-accumulate units that may work side by side."""
        return math.prod(self.side_by_side)

    @property
    def side_by_side(self) -> tuple[int, int, int]:
        """Rows, columns and depth of the units: in unrolled loops the positions, channels and elements of a step."""
        if self.has_rows:
            return self.rows, self.columns, 1
        loops = self.unroll
        return loops.out_h * loops.out_w, loops.out_channels, loops.in_channels * loops.kernel

    @property
    def has_rows(self) -> bool:
        """Whether the units stand in rows and columns; else `unroll` says how many there are."""
        return "array.rows" in DATAFLOWS[self.dataflow].profile_keys

    @property
    def law(self) -> PrecisionLaw:
        """How rate and energy of a MAC follow from the widths."""
        return tabulate(self.macs_per_cycle) if self.precision_law == TABLE else LAWS[self.precision_law]

    @property
    def storage_formats(self) -> tuple[str, ...]:
        """Formats to choose from for what is stored: any that software unpacks, unless the device reads coded ones."""
        if "dense" not in self.weight_formats:
            return self.weight_formats
        return tuple(dict.fromkeys((*PACKED_FORMATS, *self.weight_formats)))

    @property
    def unit_rate(self) -> float:
        """Steps of a unit in each clock cycle, 1 in an array of rows and columns."""
        return 1.0 if self.has_rows else self.unroll.rate

    @property
    def assumed(self) -> tuple[str, ...]:
        """Profile keys whose value has no published source."""
        return tuple(sorted(key for key, source in self.sources.items() if source == ASSUMED))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Profile keys of what takes no time or energy here since nobody published it: 0, stated as assumed or not.

        Without static power, time has no price; without a bandwidth, no buffer is ever waited for.
        """
        costs = {
            "array.layer_overhead_cycles": self.layer_overhead_cycles,
            **{f"buffers.{each.name}.bandwidth_bits_per_cycle": each.bandwidth_bits_per_cycle for each in self.buffers},
            "power.static_w": self.static_power_w,
        }
        return tuple(key for key, cost in costs.items() if not cost and self.sources.get(key, ASSUMED) == ASSUMED)

    def contain(self, bits: int, operand: str) -> int:
        """Return the width at which memories hold "weights" or "activations" of so many bits.

        Wider ones than the device computes with, as of a network's last sums, are held as they are.
        """
        if operand in self.packed:
            return bits
        widths = self.weight_bits if operand == "weights" else self.input_bits
        return next((width for width in widths if width >= bits), bits)

    def find_buffer(self, operand: str) -> Buffer:
        """Return the buffer that holds "weights", "inputs" or "outputs"."""
        return next(buffer for buffer in self.buffers if operand in buffer.operands)

    @property
    def map_buffer(self) -> Buffer | None:
        """The buffer that keeps activations between layers; None where all of them pass memory."""
        return next((buffer for buffer in self.buffers if "maps" in buffer.keeps), None)

    def find_memory(self, operand: str) -> Memory:
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
        *check_whole_number("array.rows", device.rows, 1, bounds.UNITS),
        *check_whole_number("array.columns", device.columns, 1, bounds.UNITS),
        *check_number("array.clock_hz", device.clock_hz, bounds.CLOCK_HZ),
        *check_number("array.network_energy_pj_per_bit", device.network_energy_pj_per_bit, bounds.ENERGY_PJ),
        *check_whole_number("array.layer_overhead_cycles", device.layer_overhead_cycles, 0),
        *check_whole_number("array.maximum_layers", device.maximum_layers, 0),
        *check_whole_number("arithmetic.native_bits", device.native_bits, 1, MAXIMUM_BITS),
        *check_whole_number("arithmetic.accumulator_bits", device.accumulator_bits, 1, 2 * MAXIMUM_BITS),
        *check_number("arithmetic.mac_energy_pj", device.mac_energy_pj, bounds.ENERGY_PJ),
        *check_number("arithmetic.idle_energy_share", device.idle_energy_share, bounds.SHARE),
        *check_number("power.static_w", device.static_power_w, bounds.POWER_W),
        *check_number("power.energy_factor", device.energy_factor, bounds.FACTOR),
    ]


def _choice_problems(device: Accelerator) -> list[str]:
    """Return one line for each name, list or switch that is not one of the admissible ones."""
    problems = [
        *check_text("name", device.name),
        *check_text("title", device.title),
        *check_choice("array.dataflow", device.dataflow, DATAFLOWS),
        *check_choice("array.k_packing", device.k_packing, K_PACKINGS),
        *check_choice("array.output_traffic", device.output_traffic, OUTPUT_TRAFFIC),
        *check_choice("arithmetic.law", device.precision_law, (*LAWS, TABLE)),
    ]
    if device.node_nm not in NODES_NM:
        problems.append(
            f"array.node_nm: expected one of {', '.join(map(str, NODES_NM))}, received {shown(device.node_nm)}"
        )
    for key, switch in (("pipelined_folds", device.pipelined_folds), ("diagonal_groups", device.diagonal_groups)):
        if not isinstance(switch, bool):
            problems.append(f"array.{key}: expected true or false, received {shown(switch)}")
    for key, widths in (("weight_bits", device.weight_bits), ("input_bits", device.input_bits)):
        found = [line for width in widths for line in check_whole_number(f"arithmetic.{key}", width, 1, MAXIMUM_BITS)]
        if not found and (not widths or list(widths) != sorted(set(widths))):
            found = [f"arithmetic.{key}: expected ascending widths, at least one, received {shown(list(widths))}"]
        problems += found
    for operand in device.packed:
        problems += check_choice("arithmetic.packed", operand, STORED_OPERANDS)
    for weight_format in device.weight_formats:
        problems += check_choice("arithmetic.weight_formats", weight_format, WEIGHT_FORMATS)
    if not {"dense", "entropy"} & set(device.weight_formats):
        got = list(device.weight_formats)
        problems.append(
            "arithmetic.weight_formats: expected 'dense' or 'entropy' among them, which every network has, "
            f"received {shown(got)}"
        )
    return problems


def _part_problems(device: Accelerator) -> list[str]:
    """Return what is wrong with buffers, memories and other parts: each operand must live in exactly one of each."""
    places: tuple[Buffer | Memory, ...] = (*device.buffers, *device.memories)
    problems = [problem for place in places for problem in place.problems()]
    problems += [*device.registers.problems(), *device.vector.problems(), *device.unroll.problems()]
    problems += device.blocks.problems()
    for table, kind in (("buffers", Buffer), ("memories", Memory)):
        names = [place.name for place in places if isinstance(place, kind)]
        problems += [f"{table}: expected names that differ, received {name!r} twice" for name in list_twice(names)]
        for operand in OPERANDS:
            holders = [place.name for place in places if isinstance(place, kind) and operand in place.operands]
            if len(holders) != 1:
                held = ", ".join(holders) or "none"
                problems.append(f"{table}: expected exactly one that holds the {operand}, received {held}")
    problems += list_residency_problems(device.buffers, device.dataflow, device.output_traffic)
    memories = [memory.name for memory in device.memories]
    for buffer in (buffer for buffer in device.buffers if buffer.staged_in):
        problems += check_choice(f"buffers.{buffer.name}.staged_in", buffer.staged_in, memories)
    least = DATAFLOWS[device.dataflow].register_words if device.dataflow in DATAFLOWS else 0
    if isinstance(device.registers.words, int) and device.registers.words < least:
        problems.append(
            f"registers.words: expected at least {least} for the dataflow {device.dataflow!r}, "
            f"received {device.registers.words}"
        )
    return problems
