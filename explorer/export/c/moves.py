"""How what only moves integers is written in C: copies along axes, and entries chosen by indices."""

from __future__ import annotations

import numpy as np

from explorer.arrays import Int64Array
from explorer.errors import ExportError
from explorer.export.c.memory import Reorder, StoredTensor
from explorer.export.c.writer import SourceWriter, check_numbers, write_call
from explorer.integer.operations import Concatenate, Dilate, Pad, PixelShuffle, Select
from explorer.integer.stages import Stage

AXES = 5
"""Of the kernel that copies."""


def _list_sizes(tensor: StoredTensor) -> list[int]:
    """Return the sizes of the axes as they are stored, channels last."""
    return [*tensor.shape[1:], tensor.shape[0]]


def _find_axis(axis: int, tensor: StoredTensor) -> int:
    """Return where an axis is stored; the batch axis is counted, channels come last."""
    return len(tensor.shape) - 1 if axis == 1 else axis - 2


def _list_strides(sizes: list[int]) -> list[int]:
    """Return how far apart the entries of each axis are."""
    return [int(np.prod(sizes[axis + 1 :], dtype=np.int64)) for axis in range(len(sizes))]


def _copy(
    stage: Stage,
    writer: SourceWriter,
    places: tuple[str, str],
    sizes: list[int],
    steps: tuple[list[int], list[int]],
    starts: tuple[int, int] = (0, 0),
) -> None:
    """Append a copy of as many entries as `sizes` has, `steps` and `starts` are those of source and target."""
    if len(sizes) > AXES:
        raise ExportError(
            f"c: {type(stage.step).__name__} {stage.output!r} moves along {len(sizes)} axes, the C source along {AXES} "
            "at most; choose another --format"
        )
    front = [0] * (AXES - len(sizes))
    fields = {
        "from_start": starts[0],
        "to_start": starts[1],
        "sizes": _list_all([1] * len(front) + sizes),
        "from_steps": _list_all(front + steps[0]),
        "to_steps": _list_all(front + steps[1]),
    }
    writer.call("move", writer.record(stage, "moves", fields), *places)


def _list_all(values: list[int]) -> str:
    return f"{{{', '.join(map(str, values))}}}"


@write_call.register
def _concatenate(step: Concatenate, stage: Stage, writer: SourceWriter) -> None:
    whole = _list_sizes(writer.stored[stage.output])
    axis, strides, start = _find_axis(step.axis, writer.stored[stage.output]), _list_strides(whole), 0
    for name in stage.inputs:
        sizes = _list_sizes(writer.stored[name])
        places = (writer.place(name), writer.place(stage.output))
        _copy(stage, writer, places, sizes, (_list_strides(sizes), strides), (0, start))
        start += sizes[axis] * strides[axis]


@write_call.register
def _pad(step: Pad, stage: Stage, writer: SourceWriter) -> None:
    sizes = _list_sizes(writer.stored[stage.inputs[0]])
    strides = _list_strides(_list_sizes(writer.stored[stage.output]))
    before = [*step.before[1:], step.before[0]]
    _fill(stage, writer, step.value)
    start = sum(number * stride for number, stride in zip(before, strides, strict=True))
    _copy(stage, writer, _get_places(stage, writer), sizes, (_list_strides(sizes), strides), (0, start))


@write_call.register
def _spread(step: Dilate, stage: Stage, writer: SourceWriter) -> None:
    source = writer.stored[stage.inputs[0]]
    sizes, strides = _list_sizes(source), _list_strides(_list_sizes(writer.stored[stage.output]))
    for axis, by in zip((len(source.shape) - 1, len(source.shape)), step.steps, strict=True):
        strides[_find_axis(axis, source)] *= by
    _fill(stage, writer, step.value)
    _copy(stage, writer, _get_places(stage, writer), sizes, (_list_strides(sizes), strides))


def _fill(stage: Stage, writer: SourceWriter, value: int) -> None:
    count = len(writer.stored[stage.output].order)
    writer.call("fill", writer.place(stage.output), str(count), str(value))


def _get_places(stage: Stage, writer: SourceWriter) -> tuple[str, str]:
    return writer.place(stage.inputs[0]), writer.place(stage.output)


@write_call.register
def _select(step: Select, stage: Stage, writer: SourceWriter) -> None:
    indices = writer.program.arrays[step.indices].astype(np.int64)
    source = writer.stored[stage.inputs[0]]
    sizes, axis = _list_sizes(source), _find_axis(step.axis, source)
    strides, chosen = _list_strides(sizes), _list_sizes(writer.stored[stage.output])
    by = int(indices[1] - indices[0]) if len(indices) > 1 else 0
    if by >= 0 and (np.diff(indices) == by).all():
        steps = [stride * by if number == axis else stride for number, stride in enumerate(strides)]
        starts = (int(indices[0]) * strides[axis], 0)
        _copy(stage, writer, _get_places(stage, writer), chosen, (steps, _list_strides(chosen)), starts)
        return
    _choose(stage, writer, indices, sizes, axis)


@write_call.register
def _reorder(step: Reorder, stage: Stage, writer: SourceWriter) -> None:
    source, target = writer.stored[stage.inputs[0]], writer.stored[stage.output]
    found = np.empty(len(source.order), dtype=np.int64)
    found[source.order] = np.arange(len(source.order))
    _choose(stage, writer, found[target.order], [len(found)], 0)


def _choose(stage: Stage, writer: SourceWriter, indices: Int64Array, sizes: list[int], axis: int) -> None:
    """Append a choice of entries along an axis by their indices."""
    check_numbers(stage, {"entries to choose from": sizes[axis], "entries": len(indices)})
    fields = {
        "indices": writer.array(stage, "indices", indices.astype(np.uint16)),
        "outer": int(np.prod(sizes[:axis], dtype=np.int64)),
        "inner": int(np.prod(sizes[axis + 1 :], dtype=np.int64)),
        "count": len(indices),
        "from_count": sizes[axis],
    }
    writer.call("select", writer.record(stage, "selection", fields), *_get_places(stage, writer))


@write_call.register
def _shuffle(step: PixelShuffle, stage: Stage, writer: SourceWriter) -> None:
    channels, height, width = writer.stored[stage.output].shape
    block, row = step.block, width * channels
    sizes = [height // block, block, width // block, block, channels]
    before = channels * block**2
    reads = [width // block * before, block, before, 1, block**2]
    writes = [block * row, row, block * channels, channels, 1]
    _copy(stage, writer, _get_places(stage, writer), sizes, (reads, writes))
