"""Sums and the requantisation behind them as one operator, with the same sums of the same integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorer.arrays import Float64Array
from explorer.export.tflite.translation import (
    NONE,
    VALID,
    Clipped,
    Translation,
    begin_clip,
    end_clip,
    is_scalar,
    pad_windows,
    refuse,
)
from explorer.integer.operations import Conv, Linear, Requantize, Step, SumPool
from explorer.integer.program import Integers

LEAST_GAIN = 2.0**-30
"""In steps of the output: the runtime's multipliers end at 2^-32."""
RAISED_GAIN = 2.0**-10
EQUAL = 1e-6
"""Relative error of a scale in float32, with room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaling:
    """A requantisation of the program in real numbers: sum of gain * (tensor - zero point), plus `offset`."""

    step: Step
    gains: tuple[Float64Array, ...]
    offset: Float64Array
    target: Clipped

    @property
    def has_offset(self) -> bool:
        """Whether the offset is more than rounding."""
        return bool(np.abs(self.offset).max() > EQUAL * float(self.gains[0].max()))


def requantize(parts: Translation, step: Requantize) -> None:
    """Add the operator of a requantisation and of the sums that it reads."""
    arrays, is_output = parts.program.arrays, step.output == parts.program.output
    low, high = arrays[step.low], arrays[step.high]
    if not is_output and parts.program.tensor(step.output).type != "uint8":
        raise refuse(step, "a function other than a ReLU or another clip follows it")
    if not (is_scalar(low) and is_scalar(high)):
        raise refuse(step, "its channels are clipped at different codes")
    divisor = 2.0 ** arrays[step.shift].astype(np.float64)
    factors = [arrays[name].astype(np.float64) / divisor for name in step.multipliers]
    offset = arrays[step.offset].astype(np.float64) / divisor - 0.5
    for name, factor in zip(step.inputs, factors, strict=True):
        offset = offset + (0 if name in parts.sums else parts.grids[name].zero_point * factor)
    if is_output:
        scale, zero_point = parts.program.output_scale, 0
        target = Clipped(number=parts.add(step.output), activation=NONE, clips=())
    else:
        scale, zero_point = parts.grids[step.output].scale, parts.grids[step.output].zero_point
        target = begin_clip(parts, step, int(low.min()), int(high.min()))
    gains = tuple(np.atleast_1d(factor * scale) for factor in factors)
    made = Rescaling(step=step, gains=gains, offset=np.atleast_1d((offset - zero_point) * scale), target=target)
    _write(parts, made, step)
    end_clip(parts, step, target)


def _write(parts: Translation, made: Rescaling, step: Requantize) -> None:
    if len(step.inputs) == 2 and not any(name in parts.sums for name in step.inputs):
        _add(parts, made, step)
    elif len(step.inputs) > 1:
        raise refuse(step, "it adds sums that are not quantised")
    elif step.inputs[0] in parts.sums:
        source = parts.sums[step.inputs[0]]
        _SUMS[type(source)](parts, made, source)
    else:
        rescale_codes(parts, made, step.inputs[0])


def rescale_codes(parts: Translation, made: Rescaling, source: str) -> None:
    """Add what gives codes of another grid, exactly: a depthwise convolution of 1 x 1.

    The runtime's QUANTIZE multiplies with 8 bits only in its default kernels.

    Raises:
        ExportError: For what are no maps, and where it differs between positions.
    """
    channels = parts.shape(made.step.output)[0]
    sizes = {made.gains[0].size, made.offset.size}
    if len(parts.shape(made.step.output)) != 3 or not sizes <= {1, channels}:
        raise refuse(made.step, "it rescales codes of no maps, or by position")
    _depthwise(parts, made, source, np.ones((channels, 1, 1, 1), np.int8), (1, 1))


def _convolve(parts: Translation, made: Rescaling, conv: Conv) -> None:
    weight = parts.program.arrays[conv.weight]
    count, _, height, width = weight.shape
    channels = parts.shape(conv.input)[0]
    depthwise = conv.groups == channels and conv.groups > 1
    if conv.groups != 1 and not depthwise:
        raise refuse(made.step, "its convolution has groups of several channels")
    weight, bias, scales = _rescaled(parts, made, conv.input, weight, _bias(parts, conv))
    kernel = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
    number, padding = pad_windows(parts, conv, (height, width))
    fields: dict[str, Any] = {"depthMultiplier": count // channels} if depthwise else {}
    parts.file.add_operator(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        (number, *_add_weights(parts, conv.output, conv.input, (kernel, bias, scales), 3 if depthwise else 0)),
        made.target.number,
        "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        padding=padding,
        strideH=conv.stride[0],
        strideW=conv.stride[1],
        dilationHFactor=conv.dilation[0],
        dilationWFactor=conv.dilation[1],
        fusedActivationFunction=made.target.activation,
        **fields,
    )


def _connect(parts: Translation, made: Rescaling, linear: Linear) -> None:
    if len(parts.shape(linear.input)) != 1:
        raise refuse(made.step, "its linear layer reads a sequence or a map")
    weight, bias, scales = _rescaled(
        parts, made, linear.input, parts.program.arrays[linear.weight], _bias(parts, linear)
    )
    order = parts.orders.get(linear.input)
    rows = weight if order is None else weight[:, order]
    weights = _add_weights(parts, linear.output, linear.input, (rows, bias, scales), 0)
    parts.file.add_operator(
        "FULLY_CONNECTED",
        (parts.read(made.step, linear.input), *weights),
        made.target.number,
        "FullyConnectedOptions",
        fusedActivationFunction=made.target.activation,
    )


def _bias(parts: Translation, layer: Conv | Linear) -> Float64Array:
    if layer.bias is None:
        return np.zeros(1)
    return parts.program.arrays[layer.bias].astype(np.float64)


def _rescaled(
    parts: Translation, made: Rescaling, source: str, weight: Integers, bias: Float64Array
) -> tuple[Integers, Integers, Float64Array]:
    """Return weights, biases and scale of each filter: scale of the input times that is the gain.

    Narrow weights are raised as far as 8 bits and the sums allow: runtimes that round a sum twice, on the way to its
    code, do so in finer steps then. A filter with next to no gain is a constant: it becomes one that has a multiplier.
    """
    count, step = len(weight), parts.grid(made.step.output).scale
    gains = np.broadcast_to(made.gains[0].reshape(-1), (count,)).astype(np.float64)
    offset, wide = np.broadcast_to(made.offset.reshape(-1), (count,)), weight.astype(np.int64)
    wide, bias = (wide * np.sign(gains).astype(np.int64).reshape(-1, *(1,) * (wide.ndim - 1)), bias * np.sign(gains))
    gains = np.abs(gains)
    constant = gains < LEAST_GAIN * step
    wide[constant] = 0
    bias = np.where(constant, (gains * bias + offset) / (RAISED_GAIN * step), bias)
    bias = bias + np.where(constant, 0.0, offset / np.where(constant, 1.0, gains))
    gains = np.where(constant, RAISED_GAIN * step, gains)
    rows = np.abs(wide).reshape(count, -1)
    reach = rows.sum(1) * 255.0 + np.abs(bias)
    if wide.max() > 127 or wide.min() < -128 or reach.max() >= 2**31:
        raise refuse(made.step, "a weight takes more than 8 bits, or a sum more than 32")
    room = np.minimum(127 // np.maximum(rows.max(1), 1), (2**30 // np.maximum(reach, 1)).astype(np.int64))
    times = np.where(constant | (rows.max(1) == 0), 1, np.maximum(room, 1))
    raised = wide * times.reshape(-1, *(1,) * (wide.ndim - 1))
    scales = gains / times / parts.grid(source).scale
    return raised.astype(np.int8), np.rint(bias * times).astype(np.int32), scales


def _add_weights(
    parts: Translation, name: str, source: str, values: tuple[Integers, Integers, Float64Array], axis: int
) -> tuple[int, int]:
    weight, bias, scales = values
    return (
        parts.file.add_weights(f"{name}.weight", weight, scales, axis),
        parts.file.add_weights(f"{name}.bias", bias, scales * parts.grid(source).scale, 0),
    )


def _average(parts: Translation, made: Rescaling, pool: SumPool) -> None:
    """Add a mean over all positions, or else a depthwise convolution with ones, whose sums are the program's."""
    channels, height, width = parts.shape(pool.input)
    if made.gains[0].size > 1:
        raise refuse(made.step, "its windows have different divisors, or a batch norm follows it")
    mean = float(made.gains[0][0]) * height * width / parts.grid(pool.input).scale
    whole = pool.rows == ((0, height),) and pool.columns == ((0, width),)
    clips = made.target.activation != NONE and parts.program.tensor(pool.output).low < 0
    if whole and abs(mean - 1) < EQUAL and not clips and not made.has_offset:
        inputs = (parts.read(made.step, pool.input), parts.file.add_numbers(f"{pool.output}.axes", (1, 2)))
        keep = len(parts.shape(made.step.output)) == 3
        parts.file.add_operator("MEAN", inputs, made.target.number, "ReducerOptions", keepDims=keep)
        return
    if len(parts.shape(made.step.output)) != 3:
        raise refuse(made.step, "it averages over all positions and does more to the mean than to divide")
    kernel, stride = zip(*(_window(made.step, spans) for spans in (pool.rows, pool.columns)), strict=True)
    _depthwise(parts, made, pool.input, np.ones((channels, 1, *kernel), np.int8), stride)


def _depthwise(parts: Translation, made: Rescaling, source: str, weight: Integers, stride: tuple[int, int]) -> None:
    """Add a depthwise convolution that is no layer: of ones."""
    weight, bias, scales = _rescaled(parts, made, source, weight, np.zeros(1))
    values = (weight.transpose(1, 2, 3, 0), bias, scales)
    parts.file.add_operator(
        "DEPTHWISE_CONV_2D",
        (parts.read(made.step, source), *_add_weights(parts, made.step.output, source, values, 3)),
        made.target.number,
        "DepthwiseConv2DOptions",
        padding=VALID,
        strideH=stride[0],
        strideW=stride[1],
        depthMultiplier=1,
        fusedActivationFunction=made.target.activation,
    )


def _window(step: Step, spans: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Return size and distance of windows along an axis, where these are regular."""
    size, distance = spans[0][1] - spans[0][0], spans[1][0] if len(spans) > 1 else 1
    if any(span != (i * distance, i * distance + size) for i, span in enumerate(spans)):
        raise refuse(step, "its windows differ in size or distance, or reach into the padding")
    return size, distance


def _add(parts: Translation, made: Rescaling, step: Requantize) -> None:
    for name, gain in zip(step.inputs, made.gains, strict=True):
        if np.abs(gain / parts.grid(name).scale - 1).max() > EQUAL:
            raise refuse(step, "a summand is subtracted, or multiplied by a number")
    if made.has_offset or any(name in parts.orders for name in step.inputs):
        raise refuse(step, "a number is added, or its summands are flattened maps")
    if len({parts.shape(name) for name in step.inputs}) > 1:
        raise refuse(step, "its summands differ in shape")
    inputs = [parts.read(step, name) for name in step.inputs]
    activation = made.target.activation
    parts.file.add_operator("ADD", inputs, made.target.number, "AddOptions", fusedActivationFunction=activation)


_SUMS: dict[type[Any], Callable[[Translation, Rescaling, Any], None]] = {
    Conv: _convolve,
    Linear: _connect,
    SumPool: _average,
}
