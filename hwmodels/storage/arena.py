"""RAM for activations: the least that any allocator could do with, and what a greedy planner of offsets takes."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from hwmodels.arrays import IntArray
from hwmodels.checks import check_whole_number
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.tensor_arrays import tensor_arrays

TFLM_ALIGNMENT_BYTES = 16
"""TensorFlow Lite Micro starts every buffer on 16 bytes (`MicroArenaBufferAlignment` of its source)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedTensor:
    """An activation and its place: `size_bytes`, padded to the alignment, from `offset_bytes` on."""

    tensor: ActivationTensor
    offset_bytes: int
    size_bytes: int

    @property
    def end_bytes(self) -> int:
        """The first byte behind it."""
        return self.offset_bytes + self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaPlan:
    """Where each activation lies in one block of memory.

    Attributes:
        size_bytes: Of the block.
        alignment_bytes: Every activation starts at a multiple of it.
        placed: In the order of the tensors.
    """

    size_bytes: int
    alignment_bytes: int
    placed: tuple[PlacedTensor, ...]


def peak_activation_bytes(tensors: Sequence[ActivationTensor]) -> int:
    """Return the largest sum, over the layer steps, of the whole bytes of all activations alive at that step.

    Liveness alone: what a perfect allocator needs, with neither alignment nor fragmentation; 0 for no tensors.

    Raises:
        LayerError: the tensors together have more elements than can be counted exactly.

    Example:
        >>> import hwmodels
        >>> hwmodels.peak_activation_bytes(hwmodels.NETWORKS["mlperf_tiny_resnet8"]().tensors)
        49152
    """
    return int(tensor_arrays(tensors).peak_bytes)


def peak_alive(sizes: IntArray, first_steps: IntArray, last_steps: IntArray) -> int:
    """Return the largest sum of the sizes of all tensors alive at one step, each from its first to its last step.

    Args:
        sizes: Of each tensor, in any unit; shape `tensors`, as of the others.
        first_steps: Index of the layer before which it is written.
        last_steps: Index of the last layer that reads it.

    Example:
        >>> import hwmodels
        >>> import numpy as np
        >>> hwmodels.peak_alive(np.array([8, 4, 2]), np.array([0, 1, 2]), np.array([1, 2, 2]))
        12
    """
    # What is freed before a step goes first among the changes at that step.
    steps, changes = np.concatenate((last_steps + 1, first_steps)), np.concatenate((-sizes, sizes))
    return int(changes[np.argsort(steps, kind="stable")].cumsum().max())


def plan_arena(tensors: Sequence[ActivationTensor], alignment_bytes: int = TFLM_ALIGNMENT_BYTES) -> ArenaPlan:
    """Return offsets as TensorFlow Lite Micro's greedy planner chooses them.

    Sizes are padded to a multiple of `alignment_bytes`. Tensors are placed from the largest to the smallest, of
    equal ones the later in the sequence first; each goes to the lowest gap that is large enough between the
    tensors placed so far that are alive at the same time, or behind them. The size is that of the "head" of
    the arena: the runtime's own records and the kernels' scratch buffers come on top. No tensors take 0 bytes.

    Source: `greedy_memory_planner.cc` of tensorflow/tflite-micro, without planned offsets.

    Raises:
        LayerError: `alignment_bytes` is not a whole number of at least 1.

    Example:
        >>> import hwmodels
        >>> plan = hwmodels.plan_arena(hwmodels.NETWORKS["mlperf_tiny_resnet8"]().tensors)
        >>> plan.size_bytes, plan.placed[0].offset_bytes
        (49152, 0)
    """
    problems = check_whole_number("alignment_bytes", alignment_bytes, 1)
    if problems:
        raise LayerError(problems)
    sizes = [-(-tensor.elements * tensor.bits // (8 * alignment_bytes)) * alignment_bytes for tensor in tensors]
    by_index: dict[int, PlacedTensor] = {}
    by_offset: list[PlacedTensor] = []
    for index in sorted(range(len(tensors)), key=lambda index: (-sizes[index], -index)):
        offset = _lowest_gap(tensors[index], sizes[index], by_offset)
        placed = PlacedTensor(tensor=tensors[index], offset_bytes=offset, size_bytes=sizes[index])
        by_index[index] = placed
        insort(by_offset, placed, key=attrgetter("offset_bytes"))
    return ArenaPlan(
        size_bytes=max((placed.end_bytes for placed in by_offset), default=0),
        alignment_bytes=alignment_bytes,
        placed=tuple(by_index[index] for index in range(len(tensors))),
    )


def _lowest_gap(tensor: ActivationTensor, size_bytes: int, by_offset: Sequence[PlacedTensor]) -> int:
    """Return the lowest offset with room for the tensor between those that are alive together with it."""
    offset = 0
    for other in by_offset:
        apart = other.tensor.first_step > tensor.last_step or tensor.first_step > other.tensor.last_step
        if apart:
            continue
        if other.offset_bytes - offset >= size_bytes:
            break
        offset = max(offset, other.end_bytes)
    return offset
