"""Whether a network fits in the memories and buffers of a device, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, IntArray, ceil_div
from hwmodels.device.accelerator import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFit:
    """What a network needs of one place, in bytes.

    Attributes:
        place: `memories.<name>` or `buffers.<name>`.
        holds: The operands that are kept there; "staged weights" wait there only while their layer runs.
        needed_bytes: What the network needs, and the program that runs it where the profile states that.
        size_bytes: What there is.
        required: True for a memory that must hold what is kept in it, or the network does not run on the device. A
            buffer that is too small only makes operands be fetched again, and what overflows some memories comes more
            slowly: the costs contain both.

    Example:
        >>> import hwmodels
        >>> jobs, tensors = hwmodels.NETWORKS["mlperf_tiny_resnet8"]().at(weight_bits=8, input_bits=8)
        >>> fit = hwmodels.evaluate(jobs, hwmodels.load("stm32l4r5"), tensors).fits[0]
        >>> fit.place, fit.needed_bytes, fit.size_bytes, fit.fits
        ('memories.flash', 83128, 2097152, True)
    """

    place: str
    holds: tuple[str, ...]
    needed_bytes: int
    size_bytes: int
    required: bool

    @property
    def spare_bytes(self) -> int:
        """What is left; negative by how much it does not fit."""
        return self.size_bytes - self.needed_bytes

    @property
    def fits(self) -> bool:
        """Tell whether it does."""
        return self.spare_bytes >= 0


class CandidateFit(NamedTuple):
    """What candidates need of one place, in bytes: as `MemoryFit`, with one need for each."""

    place: str
    holds: tuple[str, ...]
    needed_bytes: IntArray
    size_bytes: int
    required: bool

    @property
    def fits(self) -> BoolArray:
        """Tell of each candidate whether it does."""
        fits: BoolArray = self.needed_bytes <= self.size_bytes
        return fits

    def take(self, candidate: int | tuple[int, ...]) -> MemoryFit:
        """Return the fit of one candidate, `()` where there is only one."""
        return MemoryFit(**{**self._asdict(), "needed_bytes": int(np.asarray(self.needed_bytes)[candidate])})


def fit_memories(
    accelerator: Accelerator,
    weight_bytes: IntArray,
    activation_bytes: IntArray,
    staying_bits: IntArray,
    staged_bytes: IntArray,
) -> tuple[CandidateFit, ...]:
    """Return the fit of each memory of a stated size, then of the buffers that could keep all activations.

    Args:
        accelerator: Whose memories and buffers they are.
        weight_bytes: In the smallest format that the device reads.
        activation_bytes: The liveness peak.
        staying_bits: Of activations that are to stay in the buffer that keeps them, tile of weights included.
        staged_bytes: The peak of activations and of weights that are staged in their memory.
    """
    found = []
    for memory in accelerator.memories:
        if memory.size_bytes:
            activations = {"inputs", "outputs"} & set(memory.operands)
            stages = any(buffer.staged_in == memory.name for buffer in accelerator.buffers)
            needed = memory.program_bytes + weight_bytes * ("weights" in memory.operands)
            needed = needed + (staged_bytes if stages else activation_bytes) * bool(activations)
            required = not memory.overflow_bandwidth_bits_per_s
            holds = (*memory.operands, "staged weights") if stages else memory.operands
            found.append(CandidateFit(f"memories.{memory.name}", holds, needed, memory.size_bytes, required))
    keeper = accelerator.map_buffer
    on_chip = [keeper] if keeper else [accelerator.find_buffer(operand) for operand in ("inputs", "outputs")]
    size = sum(buffer.size_bytes for buffer in dict.fromkeys(on_chip))
    names = "+".join(dict.fromkeys(buffer.name for buffer in on_chip))
    if np.any(activation_bytes):
        needed = ceil_div(staying_bits, 8) if keeper else activation_bytes
        found.append(CandidateFit(f"buffers.{names}", ("inputs", "outputs"), needed, size, required=False))
    return tuple(found)
