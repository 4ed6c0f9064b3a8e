"""Operators that only move codes: poolings by maximum, concatenations, borders, reshapes, slices, repetitions."""

from __future__ import annotations

import numpy as np

from explorer.arrays import Int64Array
from explorer.export.interface import list_channels_last
from explorer.export.tflite.translation import Translation, refuse, to_last
from explorer.export.tflite.windows import pad_windows, write_pad, write_reshape, write_slice
from explorer.integer.operations import Concatenate, MaxPool, Pad, PixelShuffle, Reshape, Select
from explorer.integer.program import Integers
from explorer.integer.stages import Stage


def pool(parts: Translation, stage: Stage) -> None:
    """Add a max pooling."""
    step: MaxPool = stage.step
    if step.dilation != (1, 1):
        raise refuse(step, "its windows are dilated")
    number, padding = pad_windows(parts, step, step.kernel, parts.shape(step.output)[1:])
    parts.file.add_operator(
        "MAX_POOL_2D",
        (number,),
        parts.add(step.output),
        "Pool2DOptions",
        padding=padding,
        strideH=step.stride[0],
        strideW=step.stride[1],
        filterHeight=step.kernel[0],
        filterWidth=step.kernel[1],
    )
    parts.keep(step)


def concatenate(parts: Translation, stage: Stage) -> None:
    """Add a concatenation of what has one grid."""
    step: Concatenate = stage.step
    names, shape = step.inputs, parts.shape(step.output)
    if step.axis != 1 and (len(shape) != 3 or any(name in parts.orders for name in names)):
        raise refuse(step, "it joins no maps, along another axis than the channels")
    inputs = [parts.read(step, name) for name in names]
    axis = len(shape) if step.axis == 1 else step.axis - 1
    parts.file.add_operator("CONCATENATION", inputs, parts.add(step.output), "ConcatenationOptions", axis=axis)
    if any(name in parts.orders for name in names):
        lengths = [parts.shape(name)[0] for name in names]
        starts = np.cumsum([0, *lengths[:-1]])
        orders = [
            parts.orders.get(name, np.arange(length)) + start
            for name, length, start in zip(names, lengths, starts, strict=True)
        ]
        parts.orders[step.output] = np.concatenate(orders)
    kind = "uint8" if all(parts.tensors[name].type == "uint8" for name in names) else "int32"
    parts.keep(step, type=kind)


def pad(parts: Translation, stage: Stage) -> None:
    """Add a border."""
    step: Pad = stage.step
    if len(step.before) != 3:
        raise refuse(step, "it pads no maps")
    sides = to_last(tuple(zip(step.before, step.after, strict=True)))
    write_pad(parts, step, parts.add(step.output), ((0, 0), *sides), step.value + parts.shifts[step.input])
    parts.keep(step)


def reshape(parts: Translation, stage: Stage) -> None:
    """Add a reshape: a flattened map keeps the file's order, a vector becomes maps of one position, or of several."""
    step: Reshape = stage.step
    before, after = parts.shape(step.input), parts.shape(step.output)
    order = parts.orders.get(step.input)
    number = parts.read(step, step.input)
    if len(after) == 1 and len(before) == 3:
        order = list_channels_last(before)
    elif len(before) == 1 and len(after) == 3:
        wanted = list_channels_last(after)
        places = wanted if order is None else np.argsort(order)[wanted]
        if (places != np.arange(len(places))).any():
            ordered = parts.add(step.input, called=f"{step.output}_ordered")
            number = gather(parts, f"{step.output}_ordered", number, places, 1, ordered)
        order = None
    elif after != before:
        raise refuse(step, f"it makes {' x '.join(map(str, after))} of {' x '.join(map(str, before))}")
    if order is not None and (order != np.arange(len(order))).any():
        parts.orders[step.output] = order
    write_reshape(parts, step.output, number, parts.add(step.output), after)
    parts.keep(step)


def select(parts: Translation, stage: Stage) -> None:
    """Add a slice, or a repetition, of rows and columns alike.

    What is neither gathers entries along an axis, which some accelerators leave to a processor.
    """
    step: Select = stage.step
    chain = [step] if stage.then is None else [step, stage.then]
    before, output = parts.shape(step.input), stage.output
    if len(before) not in {1, 3}:
        raise refuse(step, "it selects from no maps")
    indices = [np.arange(size) for size in before]
    for each in chain:
        indices[each.axis - 1] = parts.program.arrays[each.indices].astype(np.int64)
        parts.keep(each)
    number = parts.read(step, step.input)
    steps = [_find_step(own) for own in indices]
    if len(before) == 3 and None not in steps and steps[0] == 1:
        spans = to_last(tuple((int(own[0]), int(own[-1]) + 1) for own in indices))
        write_slice(parts, output, (number, parts.add(output)), ((0, 1), *spans), (steps[1] or 1, steps[2] or 1))
    elif len(before) == 3 and all(_is_nearest(own, size) for own, size in zip(indices, before, strict=True)):
        sizes = parts.file.add_numbers(f"{output}.size", (len(indices[1]), len(indices[2])))
        options = "ResizeNearestNeighborOptions"
        parts.file.add_operator("RESIZE_NEAREST_NEIGHBOR", (number, sizes), parts.add(output), options)
    else:
        for each in chain:
            axis, own = each.axis if len(before) == 1 else (3, 1, 2)[each.axis - 1], indices[each.axis - 1]
            if each.input in parts.orders:
                own = np.argsort(parts.orders[each.input])[own]
            number = gather(parts, each.output, number, own, axis, parts.add(each.output))


def gather(parts: Translation, name: str, number: int, indices: Integers, axis: int, target: int) -> int:
    """Add what takes entries along an axis of the file from one tensor to another, and return the latter."""
    entries = parts.file.add_numbers(f"{name}.indices", [int(index) for index in indices])
    parts.file.add_operator("GATHER", (number, entries), target, "GatherOptions", axis=axis)
    return target


def shuffle_pixels(parts: Translation, stage: Stage) -> None:
    """Add what turns channels into positions; the operator has the block before the channel, the program behind it."""
    step: PixelShuffle = stage.step
    channels, height, width = parts.shape(step.input)
    order = np.arange(channels).reshape(-1, step.block**2).T.reshape(-1)
    ordered = parts.add(step.input, called=f"{step.output}_ordered", shape=(channels, height, width))
    number = gather(parts, f"{step.output}_ordered", parts.read(step, step.input), order, 3, ordered)
    parts.file.add_operator(
        "DEPTH_TO_SPACE", (number,), parts.add(step.output), "DepthToSpaceOptions", blockSize=step.block
    )
    parts.keep(step)


def _find_step(indices: Int64Array) -> int | None:
    """Return the distance of entries that are the same one apart, None where they are not, or do not ascend."""
    distances = np.unique(np.diff(indices))
    if len(distances) == 0:
        return 1
    return int(distances[0]) if len(distances) == 1 and distances[0] > 0 else None


def _is_nearest(indices: Int64Array, size: int) -> bool:
    """Return whether entry i is entry floor(i * size / count)."""
    return bool((indices == np.arange(len(indices)) * size // len(indices)).all())
