"""How every operation of an integer program is written with ONNX operators on integers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np
from onnx import TensorProto

from explorer.export.onnx.builder import OnnxBuilder
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
)
from explorer.integer.program import IntegerProgram

WEIGHT_ZERO_POINT = 128
"""Weights are written as uint8: on x86 processors without VNNI onnxruntime saturates sums of uint8 times int8."""


@singledispatch
def write_step(step: Step, builder: OnnxBuilder, program: IntegerProgram) -> None:
    """Append the nodes of one step; the last one gives the value that is called `step.output`."""
    raise TypeError(f"no rule for {type(step).__name__}")


@write_step.register
def _quantize_input(step: QuantizeInput, builder: OnnxBuilder, program: IntegerProgram) -> None:
    scale = builder.constant(f"{step.output}/scale", step.scale)
    zero_point = builder.constant(f"{step.output}/zero_point", step.zero_point, np.uint8)
    low = builder.constant(f"{step.output}/low", step.low, np.uint8)
    high = builder.constant(f"{step.output}/high", step.high, np.uint8)
    codes = builder.node("QuantizeLinear", (step.input, scale, zero_point), f"{step.output}/codes")
    builder.node("Clip", (codes, low, high), step.output)


@write_step.register
def _convolve(step: Conv, builder: OnnxBuilder, program: IntegerProgram) -> None:
    weight = program.arrays[step.weight]
    operands = _operands(step, builder, weight.astype(np.int16))
    sums = builder.node(
        "ConvInteger",
        operands,
        step.output if step.bias is None else f"{step.output}/sums",
        kernel_shape=list(weight.shape[2:]),
        strides=list(step.stride),
        pads=list(step.padding),
        dilations=list(step.dilation),
        group=step.groups,
    )
    if step.bias is not None:
        bias = builder.constant(step.bias, program.arrays[step.bias][:, None, None], np.int32)
        builder.node("Add", (sums, bias), step.output)


@write_step.register
def _connect(step: Linear, builder: OnnxBuilder, program: IntegerProgram) -> None:
    operands = _operands(step, builder, program.arrays[step.weight].astype(np.int16).T)
    sums = builder.node("MatMulInteger", operands, step.output if step.bias is None else f"{step.output}/sums")
    if step.bias is not None:
        bias = builder.constant(step.bias, program.arrays[step.bias], np.int32)
        builder.node("Add", (sums, bias), step.output)


def _operands(step: Conv | Linear, builder: OnnxBuilder, weight: np.typing.NDArray[np.int16]) -> tuple[str, ...]:
    """Return input, weights, and the zero points of both, as ConvInteger and MatMulInteger take them."""
    return (
        step.input,
        builder.constant(step.weight, np.ascontiguousarray(weight + WEIGHT_ZERO_POINT), np.uint8),
        builder.constant(f"{step.output}/zero_point", step.zero_point, np.uint8),
        builder.constant(f"{step.output}/weight_zero_point", WEIGHT_ZERO_POINT, np.uint8),
    )


@write_step.register
def _requantize(step: Requantize, builder: OnnxBuilder, program: IntegerProgram) -> None:
    """Write clip((t + offset) >> s, low, high), with a division, which in ONNX cuts off towards zero, for the shift.

    Exact: u = t + offset - (low << s) is divided where it is not negative, and max(u, 0) / 2^s cut off is then
    max(u >> s, 0) = max((t + offset) >> s, low) - low.
    """
    name, arrays = step.output, program.arrays
    total = ""
    for number, (source, multiplier) in enumerate(zip(step.inputs, step.multipliers, strict=True)):
        wide = builder.node("Cast", (source,), f"{name}/wide{number}", to=TensorProto.INT64)
        factor = builder.constant(multiplier, arrays[multiplier], np.int64)
        product = builder.node("Mul", (wide, factor), f"{name}/product{number}")
        total = builder.node("Add", (total, product), f"{name}/total{number}") if total else product
    low, high, shift = (arrays[key].astype(np.int64) for key in (step.low, step.high, step.shift))
    offset = builder.constant(step.offset, arrays[step.offset].astype(np.int64) - (low << shift), np.int64)
    zero = builder.constant(f"{name}/zero", 0, np.int64)
    divisor = builder.constant(step.shift, np.int64(1) << shift, np.int64)
    top = builder.constant(step.high, high - low, np.int64)
    shifted = builder.node("Add", (total, offset), f"{name}/shifted")
    positive = builder.node("Max", (shifted, zero), f"{name}/positive")
    quotient = builder.node("Div", (positive, divisor), f"{name}/quotient")
    result = builder.node("Min", (quotient, top), f"{name}/clipped")
    if low.any():
        result = builder.node("Add", (result, builder.constant(step.low, low, np.int64)), f"{name}/moved")
    kind = TensorProto.UINT8 if program.tensor(name).type == "uint8" else TensorProto.INT32
    builder.node("Cast", (result,), name, to=kind)


@write_step.register
def _look_up(step: LookUp, builder: OnnxBuilder, program: IntegerProgram) -> None:
    table = builder.constant(step.table, program.arrays[step.table], np.uint8)
    index = builder.node("Cast", (step.input,), f"{step.output}/index", to=TensorProto.INT32)
    builder.node("Gather", (table, index), step.output, axis=0)


@write_step.register
def _steps(step: Threshold, builder: OnnxBuilder, program: IntegerProgram) -> None:
    """Write a bisection: from the highest bit of the number of breakpoints passed to the lowest."""
    name, breakpoints = step.output, program.arrays[step.breakpoints]
    table = builder.constant(step.table, program.arrays[step.table], np.uint8)
    places = builder.constant(step.breakpoints, breakpoints, np.int32)
    value = builder.node("Cast", (step.input,), f"{name}/value", to=TensorProto.INT32)
    half, index = (len(breakpoints) + 1) // 2, ""
    while half:
        probe = builder.constant(f"{name}/probe{half}", half - 1, np.int32)
        stride = builder.constant(f"{name}/stride{half}", half, np.int32)
        place = builder.node("Add", (index, probe), f"{name}/place{half}") if index else probe
        limit = builder.node("Gather", (places, place), f"{name}/limit{half}", axis=0)
        passed = builder.node("GreaterOrEqual", (value, limit), f"{name}/passed{half}")
        number = builder.node("Cast", (passed,), f"{name}/number{half}", to=TensorProto.INT32)
        forward = builder.node("Mul", (number, stride), f"{name}/forward{half}")
        index = builder.node("Add", (index, forward), f"{name}/index{half}") if index else forward
        half //= 2
    builder.node("Gather", (table, index), name, axis=0)


@write_step.register
def _sum_pool(step: SumPool, builder: OnnxBuilder, program: IntegerProgram) -> None:
    """Write products with matrices of zeros and ones: AveragePool has no integer kernel."""
    name, height, width = step.output, *program.tensor(step.input).shape[1:]
    centred = _centred(builder, step.input, step.zero_point, f"{name}/centred")
    rows = builder.constant(f"{name}/rows", _windows(step.rows, height), np.int32)
    columns = builder.constant(f"{name}/columns", _windows(step.columns, width).T, np.int32)
    by_row = builder.node("MatMul", (rows, centred), f"{name}/by_row")
    if len(program.tensor(name).shape) == 3:
        builder.node("MatMul", (by_row, columns), name)
        return
    sums = builder.node("MatMul", (by_row, columns), f"{name}/sums")
    _reshaped(builder, sums, program.tensor(name).shape, name)


def _windows(windows: Sequence[tuple[int, int]], size: int) -> np.typing.NDArray[np.int32]:
    """Return windows x size, 1 where a window covers a position."""
    positions = np.arange(size)
    return np.array([(start <= positions) & (positions < stop) for start, stop in windows]).astype(np.int32)


@write_step.register
def _max_pool(step: MaxPool, builder: OnnxBuilder, program: IntegerProgram) -> None:
    builder.node(
        "MaxPool",
        (step.input,),
        step.output,
        kernel_shape=list(step.kernel),
        strides=list(step.stride),
        pads=list(step.padding),
        dilations=list(step.dilation),
    )


@write_step.register
def _multiply(step: Multiply, builder: OnnxBuilder, program: IntegerProgram) -> None:
    left = _centred(builder, step.left, step.left_zero_point, f"{step.output}/left")
    right = _centred(builder, step.right, step.right_zero_point, f"{step.output}/right")
    builder.node("Mul", (left, right), step.output)


@write_step.register
def _concatenate(step: Concatenate, builder: OnnxBuilder, program: IntegerProgram) -> None:
    builder.node("Concat", step.inputs, step.output, axis=step.axis)


@write_step.register
def _pad(step: Pad, builder: OnnxBuilder, program: IntegerProgram) -> None:
    pads = builder.constant(f"{step.output}/pads", (0, *step.before, 0, *step.after), np.int64)
    value = builder.constant(f"{step.output}/value", step.value, np.uint8)
    builder.node("Pad", (step.input, pads, value), step.output)


@write_step.register
def _spread(step: Dilate, builder: OnnxBuilder, program: IntegerProgram) -> None:
    """Give every entry axes of its own, which are padded behind it; what stands behind the last one is cut off."""
    name, (channels, height, width), (down, right) = step.output, program.tensor(step.input).shape, step.steps
    single = _reshaped(builder, step.input, (channels, height, 1, width, 1), f"{name}/single")
    pads = builder.constant(f"{name}/pads", (0, 0, 0, 0, 0, 0, 0, 0, 0, down - 1, 0, right - 1), np.int64)
    value = builder.constant(f"{name}/value", step.value, np.uint8)
    padded = builder.node("Pad", (single, pads, value), f"{name}/padded")
    whole = _reshaped(builder, padded, (channels, height * down, width * right), f"{name}/whole")
    limits = {"starts": (0, 0), "ends": program.tensor(name).shape[1:], "axes": (2, 3)}
    names = [builder.constant(f"{name}/{key}", entries, np.int64) for key, entries in limits.items()]
    builder.node("Slice", (whole, *names), name)


@write_step.register
def _select(step: Select, builder: OnnxBuilder, program: IntegerProgram) -> None:
    indices = builder.constant(step.indices, program.arrays[step.indices], np.int64)
    builder.node("Gather", (step.input, indices), step.output, axis=step.axis)


@write_step.register
def _pixel_shuffle(step: PixelShuffle, builder: OnnxBuilder, program: IntegerProgram) -> None:
    builder.node("DepthToSpace", (step.input,), step.output, blocksize=step.block, mode="CRD")


@write_step.register
def _reshape(step: Reshape, builder: OnnxBuilder, program: IntegerProgram) -> None:
    _reshaped(builder, step.input, program.tensor(step.output).shape, step.output)


def _reshaped(builder: OnnxBuilder, source: str, shape: tuple[int, ...], name: str) -> str:
    """Return the batch axis stays: 0 copies its size."""
    target = builder.constant(f"{name}/shape", (0, *shape), np.int64)
    return builder.node("Reshape", (source, target), name)


def _centred(builder: OnnxBuilder, source: str, zero_point: int, name: str) -> str:
    wide = builder.node("Cast", (source,), f"{name}/wide", to=TensorProto.INT32)
    return builder.node("Sub", (wide, builder.constant(f"{name}/zero_point", zero_point, np.int32)), name)
