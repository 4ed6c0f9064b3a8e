"""The parts of an accelerator beside its array: buffers, memories, registers, vector unit, unrolled loops, blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwmodels import bounds
from hwmodels.checks import check_choice, check_number, check_whole_number, shown

OPERANDS = ("weights", "inputs", "outputs")
STORED_OPERANDS = ("weights", "activations")
"""What memories pack, or hold in containers of the widths that a device computes with."""
READERS = ("edge", "unit")
KEEPABLE = {"maps": "inputs", "weights": "weights"}
"""What a buffer may keep -> the operand that must live in it."""
FUSABLE = ("pool", "activation")
"""An addition is not among them: its second operand has to come from somewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """One on-chip SRAM and the operands that live in it (several share it in a unified buffer).

    Attributes:
        name: Of the table in a profile, `buffers.<name>`.
        operands: Of "weights", "inputs" and "outputs".
        size_bytes: Its capacity.
        read_energy_pj_per_bit: Of a bit that the array, or a memory, reads.
        write_energy_pj_per_bit: Of a bit that they write.
        bandwidth_bits_per_cycle: Reads and writes together; 0 means that it keeps up with its readers.
        read_by: The array's "edge", from where words travel on, or every "unit" by itself, one word for each MAC.
        keeps: Of "maps", activations that stay between layers, and "weights", those of all layers that stay from
            image to image of a batch; nothing where everything passes memory (`hwmodels.cost.residency`).
        staged_in: The memory of whose room a buffer of weights is a part, so that activations there have less; "" where
            it is an SRAM of its own.

    Example:
        >>> import hwmodels
        >>> hwmodels.load("gemmini_default").find_buffer("weights").size_bytes
        262144
        >>> sram = hwmodels.Buffer(
        ...     name="sram",
        ...     operands=("weights", "inputs", "outputs"),
        ...     size_bytes=65536,
        ...     read_energy_pj_per_bit=0.1,
        ...     write_energy_pj_per_bit=0.1,
        ... )
        >>> sram.problems()
        []
    """

    name: str
    operands: tuple[str, ...]
    size_bytes: int
    read_energy_pj_per_bit: float
    write_energy_pj_per_bit: float
    bandwidth_bits_per_cycle: float = 0.0
    read_by: Literal["edge", "unit"] = "edge"
    keeps: tuple[str, ...] = ()
    staged_in: str = ""

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        key = f"buffers.{self.name}"
        found = [
            *check_whole_number(f"{key}.size_bytes", self.size_bytes, 1, bounds.SIZE_BYTES),
            *check_number(f"{key}.read_energy_pj_per_bit", self.read_energy_pj_per_bit, bounds.ENERGY_PJ),
            *check_number(f"{key}.write_energy_pj_per_bit", self.write_energy_pj_per_bit, bounds.ENERGY_PJ),
            *check_number(f"{key}.bandwidth_bits_per_cycle", self.bandwidth_bits_per_cycle, bounds.PER_CYCLE_OR_ZERO),
            *check_choice(f"{key}.read_by", self.read_by, READERS),
        ]
        for operand in self.operands:
            found += check_choice(f"{key}.operands", operand, OPERANDS)
        for kept in self.keeps:
            found += check_choice(f"{key}.keeps", kept, KEEPABLE)
            needed = KEEPABLE.get(kept) if isinstance(kept, str) else None
            if needed and needed not in self.operands:
                found.append(
                    f"{key}.keeps: expected {needed!r} among the operands of a buffer that keeps {kept}, received "
                    f"{shown(list(self.operands))}"
                )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A memory behind the buffers, DRAM or an MCU's flash and SRAM, and the operands that are kept in it.

    Attributes:
        name: Of the table in a profile, `memories.<name>`.
        operands: Of "weights", "inputs" and "outputs".
        bandwidth_bits_per_s: For reads and writes together.
        energy_pj_per_bit: Of a bit that is read or written.
        size_bytes: Its capacity; 0 means that its size is the system's affair: everything fits.
        overflow_bandwidth_bits_per_s: At which weights that exceed the size come from elsewhere; with 0, a network of
            more weights does not fit the device.
        program_bytes: Of its capacity, what the program that runs a network takes beside the operands.

    Example:
        >>> import hwmodels
        >>> flash = hwmodels.load("stm32l4r5").find_memory("weights")
        >>> flash.name, flash.size_bytes
        ('flash', 2097152)
    """

    name: str
    operands: tuple[str, ...]
    bandwidth_bits_per_s: float
    energy_pj_per_bit: float
    size_bytes: int = 0
    overflow_bandwidth_bits_per_s: float = 0.0
    program_bytes: int = 0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        key = f"memories.{self.name}"
        found = [
            *check_number(f"{key}.bandwidth_bits_per_s", self.bandwidth_bits_per_s, bounds.BANDWIDTH_BITS_PER_S),
            *check_number(f"{key}.energy_pj_per_bit", self.energy_pj_per_bit, bounds.ENERGY_PJ),
            *check_whole_number(f"{key}.size_bytes", self.size_bytes, 0, bounds.SIZE_BYTES),
            *check_number(
                f"{key}.overflow_bandwidth_bits_per_s",
                self.overflow_bandwidth_bits_per_s,
                bounds.OVERFLOW_BANDWIDTH_BITS_PER_S,
            ),
            *check_whole_number(f"{key}.program_bytes", self.program_bytes, 0, bounds.SIZE_BYTES),
        ]
        if not found and self.overflow_bandwidth_bits_per_s and not self.size_bytes:
            found.append(
                f"{key}.size_bytes: expected with overflow_bandwidth_bits_per_s, which holds beyond it, received 0"
            )
        for operand in self.operands:
            found += check_choice(f"{key}.operands", operand, OPERANDS)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """Register files of one processing element; words are of the native width.

    Where a published MAC energy includes the element's registers, an element has none.

    Attributes:
        words: Number of words of one element.
        accesses_per_mac: How often their energy is counted for each MAC.
        energy_pj_per_bit: Of one access.

    Example:
        >>> import hwmodels
        >>> hwmodels.load("eyeriss_v1").registers.words
        261
    """

    words: int = 0
    accesses_per_mac: float = 0.0
    energy_pj_per_bit: float = 0.0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        return [
            *check_whole_number("registers.words", self.words, 0),
            *check_number("registers.accesses_per_mac", self.accesses_per_mac, bounds.ACCESSES),
            *check_number("registers.energy_pj_per_bit", self.energy_pj_per_bit, bounds.ENERGY_PJ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """What computes pooling, element-wise additions and activation functions.

    Attributes:
        operations_per_cycle: On single elements, of any width.
        energy_pj_per_operation: Of one operation on 8 bits; it grows with the width.
        fused: Kinds of layers ("pool", "activation") that work on results as they leave the array: they take energy,
            but neither time nor memory traffic of their own.
        pool_operations_per_cycle: The rate of pooling; 0 is that of the others.

    Example:
        >>> import hwmodels
        >>> hwmodels.load("edge_tpu").vector.fused
        ('activation',)
    """

    operations_per_cycle: float
    energy_pj_per_operation: float
    fused: tuple[str, ...] = ()
    pool_operations_per_cycle: float = 0.0

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        found = [
            *check_number("vector.operations_per_cycle", self.operations_per_cycle, bounds.PER_CYCLE),
            *check_number("vector.energy_pj_per_operation", self.energy_pj_per_operation, bounds.ENERGY_PJ),
            *check_number("vector.pool_operations_per_cycle", self.pool_operations_per_cycle, bounds.PER_CYCLE_OR_ZERO),
        ]
        for kind in self.fused:
            found += check_choice("vector.fused", kind, FUSABLE)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroll:
    """The loops that run side by side in an engine that is no systolic array.

    Attributes:
        out_h: Rows of output positions that one step takes.
        out_w: Columns of output positions.
        out_channels: Output channels of one group.
        in_channels: Input channels of one group.
        kernel: Elements of the kernel.
        depthwise_channels: Groups that take the place of the channels in a depthwise convolution.
        rate: Steps that do work in each clock cycle: what is measured of a processor, with loads and loop overheads.

    Example:
        >>> import hwmodels
        >>> unroll = hwmodels.load("ethos_u55_128").unroll
        >>> unroll.units, unroll.out_channels, unroll.in_channels
        (128, 8, 8)
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
            line
            for field in counts
            for line in check_whole_number(f"unroll.{field}", getattr(self, field), 1, bounds.UNITS)
        ]
        found += check_number("unroll.rate", self.rate, bounds.RATE)
        if not found and self.depthwise_channels > self.out_channels * self.in_channels:
            found.append(
                "unroll.depthwise_channels: expected at most unroll.out_channels * unroll.in_channels (there are no "
                f"more lanes), received {self.depthwise_channels} and {self.out_channels * self.in_channels}"
            )
        return found

    @property
    def units(self) -> int:
        """MACs of one step."""
        return self.out_h * self.out_w * self.out_channels * self.in_channels * self.kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What stands before and behind the lanes of an engine that works on blocks of outputs.

    Attributes:
        traversals: (input channels, kernel elements) of the sets of weights that the compiler may choose of for a
            layer, the preferred one first.
        depthwise_kernel: Kernel elements of a set of a depthwise convolution.
        weights_per_cycle: That leave the decoder.
        outputs_per_cycle: That are scaled and written.
        outputs: Of a block.

    Example:
        >>> import hwmodels
        >>> blocks = hwmodels.load("ethos_u55_128").blocks
        >>> blocks.traversals, blocks.weights_per_cycle, blocks.outputs_per_cycle
        (((8, 4), (32, 1)), 8, 2)
    """

    traversals: tuple[tuple[int, int], ...] = ((1, 1),)
    depthwise_kernel: int = 1
    weights_per_cycle: float = 1.0
    outputs_per_cycle: float = 1.0
    outputs: int = 1

    def problems(self) -> list[str]:
        """Return one line for each field that is out of range, with its dotted key."""
        found = [
            *check_whole_number("blocks.depthwise_kernel", self.depthwise_kernel, 1, bounds.UNITS),
            *check_whole_number("blocks.outputs", self.outputs, 1),
            *check_number("blocks.weights_per_cycle", self.weights_per_cycle, bounds.PER_CYCLE),
            *check_number("blocks.outputs_per_cycle", self.outputs_per_cycle, bounds.PER_CYCLE),
        ]
        pairs = isinstance(self.traversals, tuple) and self.traversals
        if not pairs or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in self.traversals):
            found.append(
                "blocks.traversals: expected [input channels, kernel elements] for each kind of set, at least one, "
                f"received {shown(self.traversals)}"
            )
        else:
            sizes = (size for pair in self.traversals for size in pair)
            found += [line for size in sizes for line in check_whole_number("blocks.traversals", size, 1, bounds.UNITS)]
        return found
