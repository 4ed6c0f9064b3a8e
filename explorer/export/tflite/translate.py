"""Translate an integer program to the operators of TensorFlow Lite, channels last, without a transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from explorer.errors import ExportError
from explorer.export.tflite.layers import Rescaling, requantize, rescale_codes
from explorer.export.tflite.translation import (
    Sums,
    Translation,
    begin_clip,
    end_clip,
    pad_windows,
    refuse,
    to_last,
    write_pad,
)
from explorer.integer.operations import Concatenate, LookUp, MaxPool, Pad, QuantizeInput, Requantize, Reshape

HALF = 1e-3
"""How far from a half the runtime may round a rescaled code to the other side (assumed)."""


def translate(parts: Translation) -> bytes:
    """Return the file of a program, whose inputs are the codes that its QuantizeInput steps give.

    Raises:
        ExportError: For a step that has no operator here.
    """
    inputs = {}
    for step in parts.program.steps:
        if isinstance(step, QuantizeInput):
            inputs[step.input] = parts.add(step.output)
        elif isinstance(step, Sums):
            parts.sums[step.output] = step
        else:
            rule = _RULES.get(type(step))
            if rule is None:
                raise refuse(step, f"there is no rule for {type(step).__name__}")
            rule(parts, step)
    output = parts.program.output
    if output in parts.orders:
        raise ExportError("tflite: the output is a flattened map, whose channels come last in the file; return the map")
    return parts.file.to_bytes([inputs[entry.name] for entry in parts.program.inputs], parts.numbers[output])


def _look_up(parts: Translation, step: LookUp) -> None:
    """Add a change of grid, which a table is where nothing but a clip lies between two quantisers."""
    table = parts.program.arrays[step.table].astype(np.int64)
    before, after = parts.grids[step.input], parts.grids[step.output]
    exact = (np.arange(len(table)) - before.zero_point) * (before.scale / after.scale) + after.zero_point
    rounded = np.clip(np.floor(exact + 0.5), table.min(), table.max())
    unclear = np.abs(exact - np.floor(exact) - 0.5) < HALF
    if (np.abs(rounded - table) > unclear).any():
        raise refuse(step, "a function other than a ReLU or another clip lies between two quantisers")
    target = begin_clip(parts, step, int(table.min()), int(table.max()))
    gain, none = np.array([before.scale]), np.zeros(1)
    rescale_codes(parts, Rescaling(step=step, gains=(gain,), offset=none, target=target), step.input)
    end_clip(parts, step, target)


def _pool(parts: Translation, step: MaxPool) -> None:
    if step.dilation != (1, 1):
        raise refuse(step, "its windows are dilated")
    number, padding = pad_windows(parts, step, step.kernel)
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


def _concatenate(parts: Translation, step: Concatenate) -> None:
    if step.axis != 1 or any(name in parts.orders for name in step.inputs) or step.output == parts.program.output:
        raise refuse(step, "it joins flattened maps, or logits, or along another axis than the channels")
    inputs = [parts.read(step, name) for name in step.inputs]
    axis = len(parts.shape(step.output))
    parts.file.add_operator("CONCATENATION", inputs, parts.add(step.output), "ConcatenationOptions", axis=axis)


def _pad(parts: Translation, step: Pad) -> None:
    if len(step.before) != 3:
        raise refuse(step, "it pads no maps")
    sides = to_last(tuple(zip(step.before, step.after, strict=True)))
    write_pad(parts, step, parts.add(step.output), ((0, 0), *sides), step.value + parts.shifts[step.input])


def _reshape(parts: Translation, step: Reshape) -> None:
    before, after = parts.shape(step.input), parts.shape(step.output)
    order = parts.orders.get(step.input)
    if len(after) == 1 and len(before) == 3:
        order = np.arange(int(np.prod(before))).reshape(before).transpose(1, 2, 0).reshape(-1)
    elif after != before and not (len(before) == 1 and after == (*before, 1, 1) and order is None):
        raise refuse(step, f"it makes {' x '.join(map(str, after))} of {' x '.join(map(str, before))}")
    number = parts.read(step, step.input)
    if order is not None and (order != np.arange(len(order))).any():
        parts.orders[step.output] = order
    shape = parts.file.add_numbers(f"{step.output}.shape", (-1, *to_last(after)))
    parts.file.add_operator("RESHAPE", (number, shape), parts.add(step.output), "ReshapeOptions")


_RULES: dict[type[Any], Callable[[Translation, Any], None]] = {
    Requantize: requantize,
    LookUp: _look_up,
    MaxPool: _pool,
    Concatenate: _concatenate,
    Pad: _pad,
    Reshape: _reshape,
}
"""Kind of step to the rule that adds its operator."""
