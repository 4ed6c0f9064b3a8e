"""How each stage of a program is written in C: the structures that it takes, and the call of its kernel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from explorer.errors import ExportError
from explorer.export.c.memory import StoredTensor
from explorer.export.c.scales import count_channels, describe_scale
from explorer.export.c.weights import StoredWeights, store_weights
from explorer.export.c.writer import SourceWriter, check_codes, check_numbers, write_call
from explorer.integer.operations import (
    Conv,
    Linear,
    LookUp,
    MaxPool,
    Multiply,
    QuantizeInput,
    Requantize,
    Reshape,
    SumPool,
)
from explorer.integer.program import IntegerProgram, Integers
from explorer.integer.stages import Stage


def store_filters(stage: Stage, program: IntegerProgram, stored: StoredTensor) -> StoredWeights | None:
    """Return the weights of a layer in the order in which its kernel reads what is `stored`; None of another stage."""
    if not isinstance(stage.step, Conv | Linear):
        return None
    weight: Integers = program.arrays[stage.step.weight]
    filters = weight[:, stored.order] if isinstance(stage.step, Linear) else np.moveaxis(weight, 1, -1)
    return store_weights(filters.reshape(len(weight), -1))


def count_scratch(stage: Stage, program: IntegerProgram, weights: StoredWeights) -> int:
    """Return the bytes that a layer unpacks weights to: two filters, one where its groups have one; 0 if none is."""
    assert isinstance(stage.step, Conv | Linear)
    shape = program.arrays[stage.step.weight].shape
    groups = stage.step.groups if isinstance(stage.step, Conv) else 1
    return 0 if weights.packed is None else min(2, shape[0] // groups) * math.prod(shape[1:])


@write_call.register
def _begin(step: QuantizeInput, stage: Stage, writer: SourceWriter) -> None:
    """Write nothing: the caller gives codes."""


@write_call.register
def _reshape(step: Reshape, stage: Stage, writer: SourceWriter) -> None:
    """Write nothing: who reads it knows the order."""


@write_call.register
def _convolve(step: Conv, stage: Stage, writer: SourceWriter) -> None:
    channels, height, width = writer.stored[stage.inputs[0]].shape
    filters, share, kernel_height, kernel_width = writer.program.arrays[step.weight].shape
    depthwise = step.groups == channels == filters
    _write_layer(
        stage,
        writer,
        {
            "in_height": height,
            "in_width": width,
            "in_channels": channels,
            "out_height": writer.stored[stage.output].shape[1],
            "out_width": writer.stored[stage.output].shape[2],
            "kernel_height": kernel_height,
            "kernel_width": kernel_width,
            "groups": step.groups,
            **_name_axes("stride", step.stride),
            "top": step.padding[0],
            "left": step.padding[1],
            **_name_axes("dilation", step.dilation),
            **_name_axes("spread", stage.spread),
        },
        "convolve_depthwise" if depthwise and share == 1 else "convolve",
    )


@write_call.register
def _connect(step: Linear, stage: Stage, writer: SourceWriter) -> None:
    shape = writer.stored[stage.inputs[0]].shape
    if len(shape) != 1:
        raise ExportError(
            f"c: Linear {stage.output!r} reads an array of shape {shape}, the C source vectors alone; use a 1 x 1 "
            "convolution, or choose another --format"
        )
    ones = ("in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width", "groups")
    axes = {key: 1 for kind in ("stride", "dilation", "spread") for key in _name_axes(kind, (1, 1))}
    _write_layer(stage, writer, {**dict.fromkeys(ones, 1), "in_channels": shape[0], **axes}, "convolve")


def _write_layer(stage: Stage, writer: SourceWriter, numbers: dict[str, int], kernel: str) -> None:
    step = stage.step
    assert isinstance(step, Conv | Linear)
    check_codes(writer, stage, stage.inputs[0])
    weights, bias = writer.weights[stage.output], None if step.bias is None else writer.program.arrays[step.bias]
    fields: dict[str, Any] = {"codebook_step": weights.codebook_step}
    if weights.packed is None:
        fields = {}
    else:
        fields |= {"bits": weights.bits, "packed": writer.array(stage, "packed", weights.packed)}
    if weights.values is not None:
        kind = "weights" if weights.packed is None else "codebook"
        fields["values"] = writer.array(stage, kind, weights.values)
    scale = _describe_scale(stage, writer)[0]
    layer = writer.record(
        stage,
        "layer",
        {
            "weights": fields,
            "biases": "NULL" if bias is None else writer.array(stage, "biases", bias.astype(np.int32)),
            "scale": scale,
            **check_numbers(stage, numbers),
            "zero_point": step.zero_point,
        },
    )
    at = writer.arena.scratch.get(stage.output)
    scratch = "NULL" if at is None else f"(int8_t *)&net_arena.bytes[{at}]"
    writer.call(kernel, layer, *writer.places(stage), scratch)


def _name_axes(kind: str, values: tuple[int, int]) -> dict[str, int]:
    return {f"{kind}_height": values[0], f"{kind}_width": values[1]}


def _describe_scale(stage: Stage, writer: SourceWriter) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the scale of a stage, and the multipliers of each operand."""
    fields, multipliers = describe_scale(
        writer.stored[stage.output],
        stage.rescale,
        stage.threshold,
        writer.program.arrays,
        lambda kind, values: writer.array(stage, kind, values),
    )
    check_numbers(stage, {key: fields.get(key, 0) for key in ("channels", "position_step")})
    return fields, multipliers


@write_call.register
def _sum_pool(step: SumPool, stage: Stage, writer: SourceWriter) -> None:
    check_codes(writer, stage, stage.inputs[0])
    rows, columns = (np.array(windows).reshape(-1).astype(np.uint16) for windows in (step.rows, step.columns))
    sizes = {
        "in_width": writer.stored[stage.inputs[0]].shape[2],
        "out_height": len(step.rows),
        "out_width": len(step.columns),
    }
    fields = {
        "rows": writer.array(stage, "rows", rows),
        "columns": writer.array(stage, "columns", columns),
        "scale": _describe_scale(stage, writer)[0],
        **check_numbers(stage, sizes),
        "zero_point": step.zero_point,
    }
    writer.call("sum_pool", writer.record(stage, "sums", fields), *writer.places(stage))


@write_call.register
def _max_pool(step: MaxPool, stage: Stage, writer: SourceWriter) -> None:
    check_codes(writer, stage, stage.inputs[0], stage.output)
    channels, height, width = writer.stored[stage.inputs[0]].shape
    numbers = {
        "in_height": height,
        "in_width": width,
        "out_height": writer.stored[stage.output].shape[1],
        "out_width": writer.stored[stage.output].shape[2],
        "channels": channels,
        **_name_axes("kernel", step.kernel),
        **_name_axes("stride", step.stride),
        "top": step.padding[0],
        "left": step.padding[1],
        **_name_axes("dilation", step.dilation),
    }
    record = writer.record(stage, "maxima", check_numbers(stage, numbers))
    writer.call("max_pool", record, *writer.places(stage))


@write_call.register
def _rescale(step: Requantize, stage: Stage, writer: SourceWriter) -> None:
    if len(step.inputs) > 2:
        raise ExportError(
            f"c: Requantize {stage.output!r} adds {len(step.inputs)} tensors, the C source two at most; choose another "
            "--format"
        )
    scale, multipliers = _describe_scale(stage, writer)
    fields = {"right_multipliers": multipliers[1] if len(multipliers) > 1 else "NULL", "scale": scale}
    left, *right, to = writer.places(stage)
    elements = writer.record(stage, "elements", {**_list_steps(stage, writer), **fields})
    writer.call("add", elements, left, right[0] if right else left, to)


@write_call.register
def _multiply(step: Multiply, stage: Stage, writer: SourceWriter) -> None:
    zero_points = {"left_zero_point": step.left_zero_point, "right_zero_point": step.right_zero_point}
    fields = {**_list_steps(stage, writer), **zero_points, "scale": _describe_scale(stage, writer)[0]}
    writer.call("multiply", writer.record(stage, "elements", fields), *writer.places(stage))


def _list_steps(stage: Stage, writer: SourceWriter) -> dict[str, Any]:
    """Return rows and columns of what is stored, and how far apart the entries of each operand are."""
    output = writer.stored[stage.output]
    height, width, _ = _find_sizes(output)
    fields: dict[str, Any] = check_numbers(stage, {"height": height, "width": width})
    for side, name in zip(("left", "right"), stage.inputs, strict=False):
        operand = writer.stored[name]
        differs = operand.shape != output.shape
        if differs and (len(operand.shape) != len(output.shape) or len(output.shape) > 3):
            raise ExportError(
                f"c: {type(stage.step).__name__} {stage.output!r} repeats {name!r} of shape {operand.shape} to "
                f"{output.shape}; give both the same shape, or choose another --format"
            )
        rows, columns, channels = _find_sizes(operand)
        steps = (columns * channels * (rows > 1), channels * (columns > 1), int(channels > 1))
        check_numbers(stage, {"step between rows": steps[0], "step between columns": steps[1]})
        fields[f"{side}_steps"] = f"{{{', '.join(map(str, steps))}}}"
    return fields


def _find_sizes(tensor: StoredTensor) -> tuple[int, int, int]:
    """Return rows, columns and channels of a tensor as it is stored."""
    channels = count_channels(tensor)
    rest = tensor.shape[1:] if tensor.is_channels_last else ()
    return (math.prod(rest[:-1]), rest[-1] if rest else 1, channels)


@write_call.register
def _look_up(step: LookUp, stage: Stage, writer: SourceWriter) -> None:
    check_codes(writer, stage, stage.inputs[0], stage.output)
    table = writer.array(stage, "table", writer.program.arrays[step.table].astype(np.uint8))
    writer.call("look_up", table, str(len(writer.stored[stage.output].order)), *writer.places(stage))
