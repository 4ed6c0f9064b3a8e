"""Whether a network fits in the memories and buffers of a device, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.device.accelerator import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFit:
    """What a network needs of one place, in bytes.

    Attributes:
        place: `memories.<name>` or `buffers.<name>`.
        holds: The operands that are kept there.
        needed_bytes: What the network needs.
        size_bytes: What there is.
        required: True for a memory that must hold what is kept in it, or the network does not run on the device. A
            buffer that is too small only makes operands be fetched again, and what overflows some memories comes more
            slowly: the costs contain both.

    Example:
        >>> import hwmodels
        >>> jobs, tensors = hwmodels.NETWORKS["mlperf_tiny_resnet8"]().at(weight_bits=8, input_bits=8)
        >>> fit = hwmodels.evaluate(jobs, hwmodels.load("stm32l4r5"), tensors).fits[0]
        >>> fit.place, fit.needed_bytes, fit.size_bytes, fit.fits
        ('memories.flash', 80128, 2097152, True)
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


def fit_memories(accelerator: Accelerator, weight_bytes: int, activation_bytes: int) -> tuple[MemoryFit, ...]:
    """Return the fit of each memory of a stated size, then of the buffers that could keep all activations.

    `weight_bytes` are those of the smallest format that the device reads, `activation_bytes` the liveness peak.
    """
    found = []
    for memory in accelerator.memories:
        if memory.size_bytes:
            activations = {"inputs", "outputs"} & set(memory.operands)
            needed = (weight_bytes if "weights" in memory.operands else 0) + (activation_bytes if activations else 0)
            required = not memory.overflow_bandwidth_bits_per_s
            found.append(_fit(f"memories.{memory.name}", memory.operands, needed, memory.size_bytes, required=required))
    on_chip = [accelerator.find_buffer(operand) for operand in ("inputs", "outputs")]
    size = sum(buffer.size_bytes for buffer in dict.fromkeys(on_chip))
    names = "+".join(dict.fromkeys(buffer.name for buffer in on_chip))
    if activation_bytes:
        found.append(_fit(f"buffers.{names}", ("inputs", "outputs"), activation_bytes, size, required=False))
    return tuple(found)


def _fit(place: str, holds: tuple[str, ...], needed: int, size: int, *, required: bool) -> MemoryFit:
    return MemoryFit(place=place, holds=holds, needed_bytes=needed, size_bytes=size, required=required)
