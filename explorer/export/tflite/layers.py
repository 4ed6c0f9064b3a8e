"""Sums and the requantisation behind them as one operator, with the same sums of the same integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from explorer.arrays import Float64Array
from explorer.export.tflite.elementwise import add, multiply
from explorer.export.tflite.rescale import (
    FilterBank,
    Rescaling,
    fit,
    keep_raised,
    keep_requantize,
    widen,
    write_bank,
)
from explorer.export.tflite.translation import (
    NONE,
    VALID,
    Clipped,
    Translation,
    begin_clip,
    end_clip,
    is_scalar,
    refuse,
)
from explorer.export.tflite.transposed import convolve_spread
from explorer.export.tflite.windows import find_windows, pad_windows, write_reshape
from explorer.integer.operations import Conv, Dilate, HeightWidth, Linear, Multiply, Reshape, Step, SumPool
from explorer.integer.program import Integers
from explorer.integer.stages import Stage


def requantize(parts: Translation, stage: Stage) -> None:
    """Add the operator of a requantisation and of the sums that it reads."""
    step = stage.rescale
    if step is None:
        raise refuse(stage.step, "its sums are read as they are")
    arrays, is_output = parts.program.arrays, parts.is_output(step.output)
    low, high = arrays[step.low], arrays[step.high]
    if not is_output and parts.program.tensor(step.output).type != "uint8":
        raise refuse(step, "a function other than a ReLU or another clip follows it")
    if not (is_scalar(low) and is_scalar(high)):
        raise refuse(step, "its channels are clipped at different codes")
    divisor = 2.0 ** arrays[step.shift].astype(np.float64)
    factors = [arrays[name].astype(np.float64) / divisor for name in step.multipliers]
    offset = arrays[step.offset].astype(np.float64) / divisor - 0.5
    for name, factor in zip(step.inputs, factors, strict=True):
        offset = offset + (0 if stage.step is not step else parts.grids[name].zero_point * factor)
    if is_output:
        scale, zero_point = parts.program.output_scale, 0
        codes = np.iinfo(parts.logits.type)
        bounds = (codes.min - parts.logits.zero_point, codes.max - parts.logits.zero_point)
        target = Clipped(number=parts.add(step.output), activation=NONE, clips=())
    else:
        scale, zero_point = parts.grids[step.output].scale, parts.grids[step.output].zero_point
        bounds = (int(low.min()) - zero_point, int(high.max()) - zero_point)
        target = begin_clip(parts, step, int(low.min()), int(high.min()))
    gains = tuple(np.atleast_1d(factor * scale) for factor in factors)
    offset = np.atleast_1d((offset - zero_point) * scale)
    made = Rescaling(step=step, gains=gains, offset=offset, target=target, bounds=bounds)
    if stage.step is not step:
        _SUMS[type(stage.step)](parts, made, stage)
    elif len(step.inputs) == 1:
        rescale_codes(parts, made, step.inputs[0])
    else:
        add(parts, made, step)
    end_clip(parts, step, target)


def rescale_codes(parts: Translation, made: Rescaling, source: str) -> None:
    """Add what gives codes of another grid: a depthwise convolution of 1 x 1, whose sums are the codes.

    The runtime's QUANTIZE multiplies with 8 bits only in its default kernels.

    Raises:
        ExportError: Where it differs between positions, or reads flattened maps.
    """
    shape = parts.shape(source)
    sizes = {made.gains[0].size, made.offset.size}
    if not sizes <= {1, shape[0]} or source in parts.orders:
        raise refuse(made.step, "it rescales codes by position")
    step = Conv(
        input=source,
        output=f"{made.step.output}_sums",
        weight=f"{made.step.output}_sums.ones",
        bias=None,
        zero_point=parts.grids[source].zero_point,
        stride=(1, 1),
        padding=(0, 0, 0, 0),
        dilation=(1, 1),
        groups=shape[0],
    )
    _sum_codes(parts, made, step, (1, 1), shape[1:] or (1, 1))


def _convolve(parts: Translation, made: Rescaling, stage: Stage) -> None:
    conv, dilate = stage.step, stage.absorbed
    weight = parts.program.arrays[conv.weight]
    count, share, height, width = weight.shape
    channels = conv.groups * share
    depthwise = conv.groups == channels and conv.groups > 1
    packed = parts.pack_int4 and dilate is None
    bank = fit(parts, made, stage.inputs[0], weight, _bias(parts, conv), packed=packed)
    if isinstance(dilate, Dilate):
        convolve_spread(parts, made, conv, bank, dilate)
    else:
        kernel = bank.weight.transpose(1, 2, 3, 0) if depthwise else bank.weight.transpose(0, 2, 3, 1)
        number, padding = pad_windows(parts, conv, (height, width), parts.shape(conv.output)[1:])
        fields: dict[str, Any] = {"depthMultiplier": count // channels} if depthwise else {}
        parts.file.add_operator(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            (
                widen(parts, made, conv.input, number),
                *write_bank(parts, conv, conv.input, bank, kernel, 3 if depthwise else 0),
            ),
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
    keep_raised(parts, conv, bank, parts.shape(conv.output))
    keep_requantize(parts, made, conv.output, bank)


def _connect(parts: Translation, made: Rescaling, stage: Stage) -> None:
    linear: Linear = stage.step
    if len(parts.shape(linear.input)) != 1:
        raise refuse(made.step, "its linear layer reads a sequence or a map")
    weight, number = parts.program.arrays[linear.weight], parts.read(made.step, linear.input)
    bank = fit(parts, made, linear.input, weight, _bias(parts, linear), packed=parts.pack_int4)
    order = parts.orders.get(linear.input)
    rows = bank.weight if order is None else bank.weight[:, order]
    if bank.is_wide:
        _connect_maps(parts, made, linear, bank, rows)
    else:
        parts.file.add_operator(
            "FULLY_CONNECTED",
            (number, *write_bank(parts, linear, linear.input, bank, rows, 0)),
            made.target.number,
            "FullyConnectedOptions",
            fusedActivationFunction=made.target.activation,
        )
    keep_raised(parts, linear, bank, parts.shape(linear.output))
    keep_requantize(parts, made, linear.output, bank)


def _connect_maps(parts: Translation, made: Rescaling, linear: Linear, bank: FilterBank, rows: Integers) -> None:
    """Add a linear layer that gives 16 bits: a convolution of one position.

    LiteRT's FULLY_CONNECTED multiplies sums with float32 where each filter has a scale, and gives another code one
    time in 5,000.
    """
    count, width = rows.shape
    maps = parts.add(linear.input, called=f"{linear.output}_maps", shape=(width, 1, 1))
    write_reshape(parts, linear.output, parts.read(made.step, linear.input), maps, (width, 1, 1))
    target = parts.add(made.step.output, called=f"{made.step.output}_maps", shape=(count, 1, 1))
    kernel = rows[:, None, None]
    parts.file.add_operator(
        "CONV_2D",
        (widen(parts, made, linear.input, maps), *write_bank(parts, linear, linear.input, bank, kernel, 0)),
        target,
        "Conv2DOptions",
        padding=VALID,
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
    )
    write_reshape(parts, made.step.output, target, made.target.number, (count,))


def _bias(parts: Translation, layer: Conv | Linear) -> Float64Array:
    if layer.bias is None:
        return np.zeros(1)
    return parts.program.arrays[layer.bias].astype(np.float64)


def _average(parts: Translation, made: Rescaling, stage: Stage) -> None:
    """Add an average as a depthwise convolution with ones, whose sums are the program's.

    MEAN and AVERAGE_POOL_2D round to the grid of what they read before they rescale, except in the default kernels:
    of 4-bit codes little is left then.
    """
    pool: SumPool = stage.step
    channels, height, width = parts.shape(pool.input)
    if not {made.gains[0].size, made.offset.size} <= {1, channels}:
        raise refuse(made.step, "its windows have different divisors")
    rows, columns = (find_windows(spans, size) for spans, size in ((pool.rows, height), (pool.columns, width)))
    if rows is None or columns is None:
        raise refuse(made.step, "its windows differ in size or distance")
    step = Conv(
        input=pool.input,
        output=pool.output,
        weight=f"{pool.output}.ones",
        bias=None,
        zero_point=pool.zero_point,
        stride=(rows.stride, columns.stride),
        padding=(rows.before, columns.before, rows.after, columns.after),
        dilation=(1, 1),
        groups=channels,
    )
    _sum_codes(parts, made, step, (rows.size, columns.size), (len(pool.rows), len(pool.columns)))


def _sum_codes(parts: Translation, made: Rescaling, step: Conv, kernel: HeightWidth, after: tuple[int, ...]) -> None:
    """Add a depthwise convolution that is no layer: with ones. What it reads and writes may be vectors."""
    source, output = parts.shape(step.input), made.step.output
    channels, target, maps = source[0], made.target.number, len(parts.shape(output)) == 3
    if len(source) == 1:
        step = replace(step, input=_as_maps(parts, made.step, step.input))
    if not maps:
        target = parts.add(output, called=f"{output}_maps", shape=(channels, 1, 1))
    bank = fit(parts, made, step.input, np.ones((channels, 1, *kernel), np.int8), np.zeros(1))
    keep_raised(parts, step, bank, parts.shape(output))
    number, padding = pad_windows(parts, step, kernel, after)
    parts.file.add_operator(
        "DEPTHWISE_CONV_2D",
        (
            widen(parts, made, step.input, number),
            *write_bank(parts, step, step.input, bank, bank.weight.transpose(1, 2, 3, 0), 3),
        ),
        target,
        "DepthwiseConv2DOptions",
        padding=padding,
        strideH=step.stride[0],
        strideW=step.stride[1],
        depthMultiplier=1,
        fusedActivationFunction=made.target.activation,
    )
    if not maps:
        write_reshape(parts, output, target, made.target.number, (channels,))
    keep_requantize(parts, made, step.output, bank)


def _as_maps(parts: Translation, step: Step, name: str) -> str:
    """Add a vector as maps of one position each; returns their name."""
    maps, shape = f"{step.output}_input", (*parts.shape(name), 1, 1)
    parts.grids[maps], parts.shifts[maps] = parts.grids[name], parts.shifts[name]
    tensor = parts.program.tensor(name)
    parts.keep(Reshape(input=name, output=maps), shape=shape, type="uint8", low=tensor.low, high=tensor.high)
    write_reshape(parts, maps, parts.read(step, name), parts.add(maps), shape)
    return maps


_SUMS: dict[type[Any], Callable[[Translation, Rescaling, Stage], None]] = {
    Conv: _convolve,
    Linear: _connect,
    SumPool: _average,
    Multiply: multiply,
}
