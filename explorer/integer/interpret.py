"""Run an integer program with integers only: the reference that every deployment of it must equal."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from explorer.integer.operations import (
    Concatenate,
    Conv,
    Dilate,
    Linear,
    LookUp,
    MaxPool,
    Multiply,
    Pad,
    PixelShuffle,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    Step,
    SumPool,
    Threshold,
    list_operands,
)
from explorer.integer.program import IntegerProgram, Integers

Values = dict[str, Any]
"""Tensors and arrays by name."""
Observe = Callable[[Step, Integers], None]
Int32 = NDArray[np.int32]
Given = NDArray[np.float32] | tuple[NDArray[np.float32], ...]
"""The only input (N x ...), or one array for each of several."""


def run_program(program: IntegerProgram, images: Given, batch: int = 64, observe: Observe | None = None) -> Int32:
    """Return logits (N x classes, int32) of `images` (float32), `batch` at a time.

    Args:
        observe: Called with every step and what it gives, one batch after the other.
    """
    inputs = images if isinstance(images, tuple) else (images,)
    starts = range(0, len(inputs[0]), batch)
    return np.concatenate([_run(program, [x[start : start + batch] for x in inputs], observe) for start in starts])


def _run(program: IntegerProgram, inputs: list[NDArray[np.float32]], observe: Observe | None) -> Int32:
    given = {entry.name: values for entry, values in zip(program.inputs, inputs, strict=True)}
    values: Values = {**program.arrays, **given}
    tensors = {tensor.name: tensor for tensor in program.tensors}
    last_read = {name: number for number, step in enumerate(program.steps) for name in list_operands(step)}
    for number, step in enumerate(program.steps):
        tensor = tensors[step.output]
        result = perform(step, values).reshape(len(inputs[0]), *tensor.shape)
        assert result.dtype == tensor.type, f"{tensor.name} is {result.dtype}, must be {tensor.type}"
        values[step.output] = result
        if observe is not None:
            observe(step, result)
        for name in list_operands(step):
            if last_read[name] == number and name != program.output:
                del values[name]
                last_read[name] = -1
    logits: Int32 = values[program.output]
    return logits


@singledispatch
def perform(step: Step, values: Values) -> Integers:
    """Return what a step gives, from the tensors and arrays in `values`."""
    raise TypeError(f"no rule for {type(step).__name__}")


@perform.register
def _quantize_input(step: QuantizeInput, values: Values) -> Integers:
    codes = np.rint(values[step.input] / np.float32(step.scale)) + step.zero_point
    clipped: Integers = np.clip(codes, step.low, step.high).astype(np.uint8)
    return clipped


@perform.register
def _convolve(step: Conv, values: Values) -> Integers:
    weight = values[step.weight].astype(np.int32)
    outputs, share, height, width = weight.shape
    top, left, bottom, right = step.padding
    centred = values[step.input].astype(np.int32) - np.int32(step.zero_point)
    padded = np.pad(centred, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = (step.dilation[0] * (height - 1) + 1, step.dilation[1] * (width - 1) + 1)
    windows = sliding_window_view(padded, reach, (2, 3))
    windows = windows[:, :, :: step.stride[0], :: step.stride[1], :: step.dilation[0], :: step.dilation[1]]
    images, _, rows, columns = windows.shape[:4]
    result = np.empty((images, outputs, rows, columns), dtype=np.int32)
    count = outputs // step.groups
    for group in range(step.groups):
        part = windows[:, group * share : (group + 1) * share].transpose(0, 2, 3, 1, 4, 5)
        patches = np.ascontiguousarray(part).reshape(images * rows * columns, -1)
        kernel = weight[group * count : (group + 1) * count].reshape(count, -1)
        sums = np.einsum("ok,nk->on", kernel, patches)
        result[:, group * count : (group + 1) * count] = sums.reshape(count, images, rows, columns).swapaxes(0, 1)
    return result if step.bias is None else result + values[step.bias][:, None, None]


@perform.register
def _connect(step: Linear, values: Values) -> Integers:
    centred = values[step.input].astype(np.int32) - np.int32(step.zero_point)
    sums: Int32 = np.einsum("...k,ok->...o", centred, values[step.weight].astype(np.int32))
    return sums if step.bias is None else sums + values[step.bias]


@perform.register
def _requantize(step: Requantize, values: Values) -> Integers:
    total = values[step.offset]
    for name, multiplier in zip(step.inputs, step.multipliers, strict=True):
        total = total + values[name].astype(np.int64) * values[multiplier].astype(np.int64)
    shifted = total >> values[step.shift].astype(np.int64)
    clipped = np.clip(shifted, values[step.low], values[step.high])
    codes = bool(values[step.low].min() >= 0 and values[step.high].max() <= np.iinfo(np.uint8).max)
    result: Integers = clipped.astype(np.uint8 if codes else np.int32)
    return result


@perform.register
def _look_up(step: LookUp, values: Values) -> Integers:
    found: Integers = values[step.table][values[step.input]]
    return found


@perform.register
def _steps(step: Threshold, values: Values) -> Integers:
    found: Integers = values[step.table][np.searchsorted(values[step.breakpoints], values[step.input], side="right")]
    return found


@perform.register
def _sum_pool(step: SumPool, values: Values) -> Integers:
    centred = values[step.input].astype(np.int32) - np.int32(step.zero_point)
    by_row = [centred[:, :, start:stop].sum(2, dtype=np.int32) for start, stop in step.rows]
    rows = np.stack(by_row, axis=2)
    by_column = [rows[..., start:stop].sum(3, dtype=np.int32) for start, stop in step.columns]
    return np.stack(by_column, axis=3)


@perform.register
def _max_pool(step: MaxPool, values: Values) -> Integers:
    top, left, bottom, right = step.padding
    padded = np.pad(values[step.input], ((0, 0), (0, 0), (top, bottom), (left, right)))  # no code is below 0
    reach = tuple(d * (k - 1) + 1 for d, k in zip(step.dilation, step.kernel, strict=True))
    windows = sliding_window_view(padded, reach, (2, 3))
    windows = windows[:, :, :: step.stride[0], :: step.stride[1], :: step.dilation[0], :: step.dilation[1]]
    largest: Integers = windows.max(axis=(4, 5))
    return largest


@perform.register
def _multiply(step: Multiply, values: Values) -> Integers:
    left = values[step.left].astype(np.int32) - np.int32(step.left_zero_point)
    product: Int32 = left * (values[step.right].astype(np.int32) - np.int32(step.right_zero_point))
    return product


@perform.register
def _concatenate(step: Concatenate, values: Values) -> Integers:
    return np.concatenate([values[name] for name in step.inputs], axis=step.axis)


@perform.register
def _pad(step: Pad, values: Values) -> Integers:
    around = ((0, 0), *zip(step.before, step.after, strict=True))
    return np.pad(values[step.input], around, constant_values=step.value)


@perform.register
def _spread(step: Dilate, values: Values) -> Integers:
    given = values[step.input]
    height, width = ((size - 1) * by + 1 for size, by in zip(given.shape[-2:], step.steps, strict=True))
    spread = np.full((*given.shape[:-2], height, width), step.value, dtype=given.dtype)
    spread[..., :: step.steps[0], :: step.steps[1]] = given
    return spread


@perform.register
def _select(step: Select, values: Values) -> Integers:
    selected: Integers = np.take(values[step.input], values[step.indices], axis=step.axis)
    return selected


@perform.register
def _pixel_shuffle(step: PixelShuffle, values: Values) -> Integers:
    given, block = values[step.input], step.block
    images, channels, height, width = given.shape
    split = given.reshape(images, channels // block**2, block, block, height, width)
    shuffled: Integers = split.transpose(0, 1, 4, 2, 5, 3).reshape(images, -1, height * block, width * block)
    return shuffled


@perform.register
def _reshape(step: Reshape, values: Values) -> Integers:
    given: Integers = values[step.input]
    return given
