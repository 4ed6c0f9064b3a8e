"""Translate an integer program to the operators of TensorFlow Lite, channels last, without a transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from explorer.errors import ExportError
from explorer.export.tflite.layers import requantize, rescale_codes
from explorer.export.tflite.moves import concatenate, pad, pool, reshape, select, shuffle_pixels
from explorer.export.tflite.rescale import Rescaling
from explorer.export.tflite.translation import Sums, Translation, begin_clip, end_clip, refuse
from explorer.integer.operations import (
    Concatenate,
    Dilate,
    LookUp,
    MaxPool,
    Pad,
    PixelShuffle,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    Step,
    list_operands,
)

HALF = 1e-3
"""How far from a half the runtime may round a rescaled code to the other side (assumed)."""


def translate(parts: Translation) -> tuple[list[int], int]:
    """Add the operators of a program, whose inputs are the codes that its QuantizeInput steps give.

    Returns the tensors of the inputs and that of the output.

    Raises:
        ExportError: For a step that has no operator here.
    """
    inputs, done = {}, set[str]()
    for step in parts.program.steps:
        if step.output in done:
            continue
        if isinstance(step, QuantizeInput):
            inputs[step.input] = parts.add(step.output)
            parts.keep(step)
        elif isinstance(step, Sums):
            parts.sums[step.output] = step
        elif isinstance(step, Dilate):
            parts.spreads[step.output] = step
            parts.keep(step)
        elif isinstance(step, Select):
            then = _find_next(parts, step)
            select(parts, step, then)
            done |= set() if then is None else {then.output}
        else:
            rule = _RULES.get(type(step))
            if rule is None:
                raise refuse(step, f"there is no rule for {type(step).__name__}")
            rule(parts, step)
    output = parts.program.output
    if output in parts.orders:
        raise ExportError("tflite: the output is a flattened map, whose channels come last in the file; return the map")
    return [inputs[entry.name] for entry in parts.program.inputs], parts.numbers[output]


def _find_next(parts: Translation, step: Select) -> Select | None:
    """Return the only reader of a selection of rows or columns, where it selects along the other axis."""
    readers: list[Step] = [each for each in parts.program.steps if step.output in list_operands(each)]
    if len(readers) == 1 and isinstance(readers[0], Select) and {step.axis, readers[0].axis} == {2, 3}:
        return readers[0]
    return None


def _look_up(parts: Translation, step: LookUp) -> None:
    """Add a change of grid, which a table is where nothing but a clip lies between two quantisers."""
    table = parts.program.arrays[step.table].astype(np.int64)
    before, after = parts.grids[step.input], parts.grids[step.output]
    exact = (np.arange(len(table)) - before.zero_point) * (before.scale / after.scale) + after.zero_point
    rounded = np.clip(np.floor(exact + 0.5), table.min(), table.max())
    unclear = np.abs(exact - np.floor(exact) - 0.5) < HALF
    if (np.abs(rounded - table) > unclear).any():
        raise refuse(step, "a function other than a ReLU or another clip lies between two quantisers")
    low, high = int(table.min()), int(table.max())
    is_clipped = exact[parts.program.tensor(step.input).low :].min() < low - 0.5 + HALF
    target = begin_clip(parts, step, low if is_clipped else None, high)
    made = Rescaling(
        step=step,
        gains=(np.array([before.scale]),),
        offset=np.zeros(1),
        target=target,
        bounds=(low - after.zero_point, high - after.zero_point),
    )
    rescale_codes(parts, made, step.input)
    end_clip(parts, step, target)


_RULES: dict[type[Any], Callable[[Translation, Any], None]] = {
    Requantize: requantize,
    LookUp: _look_up,
    MaxPool: pool,
    Concatenate: concatenate,
    Pad: pad,
    Reshape: reshape,
    PixelShuffle: shuffle_pixels,
}
"""Kind of step to the rule that adds its operator."""
