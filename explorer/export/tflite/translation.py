"""What the rules of a translation share: the program, the file so far, and where tensors lie in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from explorer.errors import ExportError
from explorer.export.tflite.file import FileBuilder, Int8Grid
from explorer.integer.operations import Conv, Linear, MaxPool, Pad, Step, SumPool
from explorer.integer.program import IntegerProgram, Integers

T = TypeVar("T")
Sums = Conv | Linear | SumPool
SAME, VALID = 0, 1
NONE, RELU = 0, 1
"""Of the schema: how an operator pads, and what it does to its output."""


@dataclass(slots=True, kw_only=True)
class Translation:
    """A program and the file so far: the number of each tensor in it, and of sums the step that gives them.

    `grids` and `shifts` are those of the codes (see grids.py), `logits` is the grid of the output. `orders` are of
    flattened maps: entry i of the file is entry orders[i] of the program, since in the file the channels come last.
    """

    program: IntegerProgram
    file: FileBuilder
    grids: dict[str, Int8Grid]
    shifts: dict[str, int]
    logits: Int8Grid
    numbers: dict[str, int] = field(default_factory=dict)
    sums: dict[str, Sums] = field(default_factory=dict)
    orders: dict[str, Integers] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without the batch axis, channels first."""
        return self.program.tensor(name).shape

    def grid(self, name: str) -> Int8Grid:
        """Return the grid of a tensor in the file.

        Raises:
            ExportError: Where no quantiser states it.
        """
        if name == self.program.output:
            return self.logits
        if name not in self.grids:
            raise ExportError(f"tflite: {name!r} is on the grid of no quantiser; please report this")
        own = self.grids[name]
        return Int8Grid(scale=own.scale, zero_point=own.zero_point + self.shifts[name])

    def add(self, name: str, *, called: str | None = None, shape: tuple[int, ...] | None = None) -> int:
        """Add a tensor of codes on the grid of tensor `name`: this one itself, unless it is `called` otherwise."""
        number = self.file.add_activation(called or name, (1, *to_last(shape or self.shape(name))), self.grid(name))
        if called is None:
            self.numbers[name] = number
        return number

    def read(self, step: Step, name: str) -> int:
        """Return the number of the codes that a step reads.

        Raises:
            ExportError: Where they are sums.
        """
        if name not in self.numbers:
            raise refuse(step, "it reads sums that are not quantised")
        return self.numbers[name]


def to_last(axes: tuple[T, ...]) -> tuple[T, ...]:
    """Return what there is one of for each axis (C x H x W), with that of the channels last."""
    return (*axes[1:], axes[0])


def refuse(step: Step, what: str) -> ExportError:
    """Return the error for a step without an operator."""
    return ExportError(
        f"tflite: {type(step).__name__} {step.output!r} cannot be written: {what}; choose --format integer or onnx"
    )


def pad_windows(parts: Translation, step: Conv | MaxPool, kernel: tuple[int, int]) -> tuple[int, int]:
    """Return the tensor that windows move over, and how the operator pads: as it does itself where that is the same."""
    before, after = parts.shape(step.input)[1:], parts.shape(step.output)[1:]
    starts, ends, same = step.padding[:2], [], True
    for axis in range(2):
        reach = (after[axis] - 1) * step.stride[axis] + step.dilation[axis] * (kernel[axis] - 1) + 1
        ends.append(max(0, reach - before[axis] - starts[axis]))
        total = max(0, reach - before[axis])
        same &= starts[axis] == total // 2 and after[axis] == -(-before[axis] // step.stride[axis])
    number = parts.read(step, step.input)
    if same:
        return number, SAME
    if not any((*starts, *ends)):
        return number, VALID
    value = parts.grid(step.input).zero_point if isinstance(step, Conv) else parts.shifts[step.input]
    sides = tuple(zip(starts, ends, strict=True))
    sizes = (size + start + end for size, (start, end) in zip(before, sides, strict=True))
    shape = (parts.shape(step.input)[0], *sizes)
    padded = parts.add(step.input, called=f"{step.output}_padded", shape=shape)
    write_pad(parts, step, padded, ((0, 0), *sides, (0, 0)), value)
    return padded, VALID


def write_pad(
    parts: Translation, step: Conv | MaxPool | Pad, padded: int, sides: tuple[tuple[int, int], ...], value: int
) -> None:
    """Add a padding (axes as in the file) with a code; that of zero needs no constant of its own."""
    grid = parts.grid(step.input)
    inputs = (parts.read(step, step.input), parts.file.add_numbers(f"{step.output}.paddings", sides))
    if value == grid.zero_point:
        parts.file.add_operator("PAD", inputs, padded, "PadOptions")
    else:
        code = parts.file.add_codes(f"{step.output}.padding", value, grid)
        parts.file.add_operator("PADV2", (*inputs, code), padded, "PadV2Options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """Where an operator writes its codes, with which activation, and what clips them behind it, if that does not."""

    number: int
    activation: int
    clips: tuple[tuple[str, int], ...]


def begin_clip(parts: Translation, step: Step, low: int, high: int) -> Clipped:
    """Add the tensor that an operator writes whose codes are clipped to low..high: int8 does what it can."""
    shift, zero_point = parts.shifts[step.output], parts.grids[step.output].zero_point
    fused = low == zero_point
    lower = (("MAXIMUM", low + shift),) if low + shift > -128 and not fused else ()
    clips = (*lower, *((("MINIMUM", high + shift),) if high + shift < 127 else ()))
    number = parts.add(step.output, called=f"{step.output}_unclipped" if clips else None)
    return Clipped(number=number, activation=RELU if fused else NONE, clips=clips)


def end_clip(parts: Translation, step: Step, clipped: Clipped) -> None:
    """Add the operators that clip the codes."""
    number, grid = clipped.number, parts.grid(step.output)
    for place, (operator, code) in enumerate(clipped.clips):
        last = place == len(clipped.clips) - 1
        bound = parts.file.add_codes(f"{step.output}.{operator.lower()}", code, grid)
        output = parts.add(step.output, called=None if last else f"{step.output}_{operator.lower()}")
        parts.file.add_operator(operator, (number, bound), output, "MaximumMinimumOptions")
        number = output


def is_scalar(values: Integers) -> bool:
    """Return whether all entries are equal."""
    return len(np.unique(values)) == 1
