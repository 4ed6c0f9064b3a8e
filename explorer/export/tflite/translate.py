"""Translate an integer program to the operators of TensorFlow Lite, channels last, without a transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from explorer.errors import ExportError
from explorer.export.tflite.layers import requantize, rescale_codes
from explorer.export.tflite.moves import concatenate, pad, pool, reshape, select, shuffle_pixels
from explorer.export.tflite.rescale import Rescaling
from explorer.export.tflite.translation import Translation, begin_clip, end_clip, list_outputs, refuse
from explorer.integer.operations import (
    Concatenate,
    Conv,
    Dilate,
    Linear,
    LookUp,
    MaxPool,
    Pad,
    PixelShuffle,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    Step,
    SumPool,
    Sums,
)
from explorer.integer.program import IntegerProgram
from explorer.integer.stages import Fusion, Stage, list_stages

FUSION = Fusion(repeats=True, absorbs=(Dilate,), pairs=True)
"""What an operator computes at once."""
HALF = 1e-3
"""How far from a half the runtime may round a rescaled code to the other side (assumed)."""


def translate(parts: Translation) -> int:
    """Add the operators of a program, whose inputs are the codes that its QuantizeInput steps give.

    Returns the tensor of the output.

    Raises:
        ExportError: For a step that has no operator here.
    """
    for stage in list_stages(parts.program, FUSION):
        rule = _RULES.get(type(stage.step))
        if rule is None:
            raise refuse(stage.step, f"there is no rule for {type(stage.step).__name__}")
        rule(parts, stage)
    output = parts.program.output
    if output in parts.orders:
        raise ExportError("tflite: the output is a flattened map, whose channels come last in the file; return the map")
    return parts.numbers[output]


def find_narrow(program: IntegerProgram) -> Step | None:
    """Return what gives the output of a program, or a part of it, without an operator of 16 bits; None for nothing."""
    outputs = list_outputs(program)
    for stage in list_stages(program, FUSION):
        alone = stage.step is stage.rescale and len(stage.inputs) == 1
        joins = isinstance(stage.step, Concatenate) and stage.output == program.output
        if stage.output in outputs and not (alone or joins or isinstance(stage.step, Conv | Linear | SumPool)):
            found: Step = stage.step
            return found
    return None


def _begin(parts: Translation, stage: Stage) -> None:
    """Add codes that are given."""
    parts.add(stage.output)
    parts.keep(stage.step)


def _look_up(parts: Translation, stage: Stage) -> None:
    """Add a change of grid, which a table is where nothing but a clip lies between two quantisers."""
    step: LookUp = stage.step
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


_RULES: dict[type[Any], Callable[[Translation, Stage], None]] = {
    QuantizeInput: _begin,
    **dict.fromkeys((*Sums.__args__, Requantize), requantize),
    LookUp: _look_up,
    MaxPool: pool,
    Concatenate: concatenate,
    Pad: pad,
    Select: select,
    Reshape: reshape,
    PixelShuffle: shuffle_pixels,
}
"""Kind of step to the rule that adds the operator of its stage."""
