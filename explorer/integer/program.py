"""A network as a flat list of integer operations: plain records, arrays beside them, JSON in and out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExportError

SCHEMA_VERSION, SEVERAL_INPUTS = 1, 2
"""Versions of the layout of a program's JSON, which readers must know: with an `input`, or with a list of `inputs`."""
ROUNDING = (
    "Shapes leave out the batch axis, which comes first; axes count it. A code q stands for scale * (q - zero_point). "
    "Sums are int32 and never overflow, in whatever order; products with multipliers are int64. A shift is arithmetic: "
    "t >> s = floor(t / 2^s); half of 2^s is part of each offset, so that halves round up."
)
"""What a reader of the program must know beside the operations."""

Integers = NDArray[np.generic]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Top, left, bottom, right, as ONNX orders them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An intermediate result: its type, its shape without the batch axis, and the bounds of its integers."""

    name: str
    type: Literal["uint8", "int32"]
    shape: tuple[int, ...]
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What is given to a program: float32, of this shape for each image."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeInput:
    """output = clip(round(input / scale) + zero_point, low, high), halves to even: the only floating point."""

    input: str
    output: str
    scale: float
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """Correlation of input - zero_point, padded with zeros, with `weight` (out x in/groups x h x w), plus bias."""

    input: str
    output: str
    weight: str
    bias: str | None
    zero_point: int
    stride: Pair
    padding: Sides
    dilation: Pair
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """output[o] = sum over i of weight[o, i] * (input[i] - zero_point) + bias[o], on the last axis."""

    input: str
    output: str
    weight: str
    bias: str | None
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize:
    """output = clip((sum over k of inputs[k] * multipliers[k] + offset) >> shift, low, high).

    Two inputs are an addition. `multipliers` (int32), `offset` (int64) and `shift` (uint8), `low` and `high` (int32)
    name arrays that broadcast against the shape: scalars, one entry per channel (C x 1 x 1, or C), or one per position
    (1 x H x W). Zero points, and a batch norm that folds into no layer, are part of the offset.
    """

    inputs: tuple[str, ...]
    output: str
    multipliers: tuple[str, ...]
    offset: str
    shift: str
    low: str
    high: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """output = table[input]: any function of one quantised tensor, an entry for each code."""

    input: str
    output: str
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """output = table[number of breakpoints <= input]; breakpoints ascend, 2^depth - 1 of them, found by bisection."""

    input: str
    output: str
    breakpoints: str
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPool:
    """Sums of input - zero_point over windows; rows and columns are (start, stop) of each output row and column."""

    input: str
    output: str
    zero_point: int
    rows: tuple[Pair, ...]
    columns: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """Largest code of each window; padding never wins."""

    input: str
    output: str
    kernel: Pair
    stride: Pair
    padding: Sides
    dilation: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply:
    """output = (left - left_zero_point) * (right - right_zero_point); axes of size 1 broadcast."""

    left: str
    right: str
    output: str
    left_zero_point: int
    right_zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concatenate:
    """The inputs one behind the other along `axis`."""

    inputs: tuple[str, ...]
    output: str
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad:
    """`before[i]` and `after[i]` entries of `value` around axis i (the batch axis left out)."""

    input: str
    output: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dilate:
    """`steps` - 1 entries of `value` between neighbours of the last two axes, as transposed convolutions read them."""

    input: str
    output: str
    steps: Pair
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """Entry i of the output is entry indices[i] of the input, along `axis`: slices, shuffles, nearest upsampling."""

    input: str
    output: str
    axis: int
    indices: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelShuffle:
    """Channel c * block^2 + i * block + j at (y, x) goes to channel c at (y * block + i, x * block + j)."""

    input: str
    output: str
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape:
    """The same integers, in row-major order, in the output's shape."""

    input: str
    output: str


Step = (
    QuantizeInput
    | Conv
    | Linear
    | Requantize
    | LookUp
    | Threshold
    | SumPool
    | MaxPool
    | Multiply
    | Concatenate
    | Pad
    | Dilate
    | Select
    | PixelShuffle
    | Reshape
)
OPERATIONS: dict[str, type[Any]] = {kind.__name__: kind for kind in Step.__args__}
"""Every kind of step by its name in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerProgram:
    """Steps in order of computation, the tensors that they write, and the arrays that they name.

    The `inputs` are floats, each with a quantiser of its own; the last step writes `output`: int32 logits, which stand
    for `output_scale` times themselves. The class is the position of the largest, so that no float is needed.
    """

    inputs: tuple[Input, ...]
    output: str
    output_scale: float
    tensors: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    arrays: Mapping[str, Integers]

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name; KeyError where there is none."""
        return {tensor.name: tensor for tensor in self.tensors}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain data of everything but the arrays, with a sentence on every operation."""
        inputs = [{"name": entry.name, "shape": list(entry.shape)} for entry in self.inputs]
        several = len(inputs) > 1
        used = sorted({type(step).__name__ for step in self.steps})
        return {
            "schema_version": SEVERAL_INPUTS if several else SCHEMA_VERSION,
            "arithmetic": ROUNDING,
            "operations": {name: " ".join((inspect.getdoc(OPERATIONS[name]) or "").split()) for name in used},
            **({"inputs": inputs} if several else {"input": inputs[0]}),
            "output": {"name": self.output, "scale": self.output_scale},
            "tensors": [_plain(tensor) for tensor in self.tensors],
            "steps": [{"operation": type(step).__name__, **_plain(step)} for step in self.steps],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], arrays: Mapping[str, Integers]) -> IntegerProgram:
        """The inverse of `to_json`; ExportError for another schema version, or a step that is not known."""
        if data.get("schema_version") not in {SCHEMA_VERSION, SEVERAL_INPUTS}:
            raise ExportError(
                f"integer program: schema version {data.get('schema_version')!r} is not {SCHEMA_VERSION} or "
                f"{SEVERAL_INPUTS}; "
                "export the network again with this version"
            )
        unknown = {step["operation"] for step in data["steps"]} - OPERATIONS.keys()
        if unknown:
            raise ExportError(f"integer program: unknown operations {sorted(unknown)}; known are {sorted(OPERATIONS)}")
        inputs = data["inputs"] if data["schema_version"] == SEVERAL_INPUTS else [data["input"]]
        return cls(
            inputs=tuple(Input(name=entry["name"], shape=tuple(entry["shape"])) for entry in inputs),
            output=data["output"]["name"],
            output_scale=data["output"]["scale"],
            tensors=tuple(Tensor(**_tuples(entry)) for entry in data["tensors"]),
            steps=tuple(_step(entry) for entry in data["steps"]),
            arrays=dict(arrays),
        )


def _plain(record: Tensor | Step) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _step(entry: Mapping[str, Any]) -> Step:
    values = {key: value for key, value in entry.items() if key != "operation"}
    step: Step = OPERATIONS[entry["operation"]](**_tuples(values))
    return step


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    def made(value: Any) -> Any:
        return tuple(made(item) for item in value) if isinstance(value, list | tuple) else value

    return {key: made(value) for key, value in entry.items()}
