"""What stays on chip of a network's activations, and the memory traffic that is left: step by step, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels import ActivationTensor, LayerJob


@dataclass(frozen=True)
class Chip:
    """The buffers of a device in bits, the columns of its array, and the widths that its buffers hold."""

    capacity: int
    weight_capacity: int | None
    """None where weights live in the same buffer."""
    columns: int
    weight_widths: tuple[int, ...]
    input_widths: tuple[int, ...]


def rounded(bits: int, widths: Sequence[int]) -> int:
    """The next width that is held."""
    for width in widths:
        if width >= bits:
            return width
    return bits


def find_step(layer: int, tensors: Sequence[ActivationTensor]) -> int:
    """When a layer runs: once all that it touches is there."""
    touched = [t.first_step for t in tensors if layer in (*t.readers, *t.second_readers, *t.writers)]
    return max(touched) if touched else layer


def find_staying(jobs: Sequence[LayerJob], tensors: Sequence[ActivationTensor], chip: Chip) -> list[bool]:
    """Whether each activation stays."""
    size = [t.elements * rounded(t.bits, chip.input_widths) for t in tensors]
    steps = [find_step(layer, tensors) for layer in range(len(jobs))]
    in_place = {layer for t in tensors for layer in t.writers if layer in t.readers}
    stays = []
    for index, tensor in enumerate(tensors):
        touched = tensor.readers or tensor.second_readers or tensor.writers
        has_room = bool(touched) and not tensor.external
        for step in range(tensor.first_step, tensor.last_step + 1):
            alive = [each for each, t in enumerate(tensors) if t.first_step <= step <= t.last_step]
            running: list[int | None] = [
                layer for layer, at in enumerate(steps) if at == step and layer not in in_place
            ]
            for layer in running or [None]:
                has_room = has_room and has_room_at(index, alive, layer, jobs, tensors, size, chip)
        stays.append(has_room)
    return stays


def has_room_at(
    index: int,
    alive: Sequence[int],
    layer: int | None,
    jobs: Sequence[LayerJob],
    tensors: Sequence[ActivationTensor],
    size: Sequence[int],
    chip: Chip,
) -> bool:
    """Whether an activation has room while a layer runs, or while none does."""
    tile = whole = lines = 0
    if layer is not None:
        shape = jobs[layer].shape
        width = rounded(jobs[layer].weight_bits, chip.weight_widths)
        if shape.macs:
            whole = shape.n * shape.k * width
            tile = min(whole, 2 * min(shape.n, chip.columns) * shape.k * width)
        if chip.weight_capacity is not None:
            whole, tile = (0 if whole <= chip.weight_capacity else 10**30), 0
        held = rounded(jobs[layer].input_bits, chip.input_widths)
        reach = (shape.kernel_h - 1) * shape.dilation_h + 1
        lines = 2 * reach * shape.in_w * (shape.in_channels // (shape.groups if shape.macs else 1)) * held
    if sum(size[each] for each in alive) + tile <= chip.capacity:
        return True
    own = (size[index], tensors[index].last_step - tensors[index].first_step, index)
    taken, passing = 0, False
    for each in alive:
        if (size[each], tensors[each].last_step - tensors[each].first_step, each) <= own:
            taken += size[each]
        elif layer is not None and layer in tensors[each].readers:
            passing = True
            taken += min(size[each], lines)
    return taken + (whole if passing else tile) <= chip.capacity
