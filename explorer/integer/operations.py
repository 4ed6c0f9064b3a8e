"""The operations of an integer program: one record each, whose docstring is what its readers are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HeightWidth = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Top, left, bottom, right, as ONNX orders them."""


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
    stride: HeightWidth
    padding: Sides
    dilation: HeightWidth
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
    rows: tuple[HeightWidth, ...]
    columns: tuple[HeightWidth, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """Largest code of each window; padding never wins."""

    input: str
    output: str
    kernel: HeightWidth
    stride: HeightWidth
    padding: Sides
    dilation: HeightWidth


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
    steps: HeightWidth
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
Sums = Conv | Linear | SumPool | Multiply
"""Steps that give sums or products, int32 even where these would fit into a code."""
OPERATIONS: dict[str, type[Any]] = {kind.__name__: kind for kind in Step.__args__}
"""Every kind of step by its name in JSON."""


def list_operands(step: Step) -> tuple[str, ...]:
    """Return the names of the tensors that a step reads, each once."""
    if isinstance(step, Multiply):
        return tuple(dict.fromkeys((step.left, step.right)))
    return tuple(dict.fromkeys(step.inputs)) if isinstance(step, Requantize | Concatenate) else (step.input,)
