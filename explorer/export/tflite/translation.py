"""What the rules of a translation share: the program, the file so far, and where tensors lie in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from explorer.errors import ExportError
from explorer.export.tflite.file import FileBuilder, FileGrid
from explorer.integer.operations import Concatenate, Step
from explorer.integer.program import IntegerProgram, Integers, Tensor

T = TypeVar("T")
SAME, VALID = 0, 1
NONE, RELU = 0, 1
"""Of the schema: how an operator pads, and what it does to its output."""


@dataclass(slots=True, kw_only=True)
class Translation:
    """A program and the file so far, and the number of each tensor in it.

    `grids` and `shifts` are those of the codes (see grids.py), `logits` is the grid of the output. `orders` are of
    flattened maps: entry i of the file is entry orders[i] of the program, since in the file the channels come last.
    `steps`, `tensors` and `arrays` become the program that the file computes: the given one but for its multipliers.
    """

    program: IntegerProgram
    file: FileBuilder
    grids: dict[str, FileGrid]
    shifts: dict[str, int]
    logits: FileGrid
    pack_int4: bool = False
    numbers: dict[str, int] = field(default_factory=dict)
    orders: dict[str, Integers] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    arrays: dict[str, Integers] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without the batch axis, channels first."""
        return (self.tensors[name] if name in self.tensors else self.program.tensor(name)).shape

    def is_output(self, name: str) -> bool:
        """Return whether a tensor is the logits, or a part of them."""
        return name in list_outputs(self.program)

    def grid(self, name: str) -> FileGrid:
        """Return the grid of a tensor of codes in the file.

        Raises:
            ExportError: Where no quantiser states it.
        """
        if self.is_output(name):
            return self.logits
        if name not in self.grids:
            raise ExportError(f"tflite: {name!r} is on the grid of no quantiser; please report this")
        own = self.grids[name]
        return FileGrid(scale=own.scale, zero_point=own.zero_point + self.shifts[name])

    def is_wide(self, name: str) -> bool:
        """Return whether the codes of a tensor have 16 bits."""
        return self.grid(name).type == "int16"

    def add(self, name: str, *, called: str | None = None, shape: tuple[int, ...] | None = None) -> int:
        """Add a tensor of codes on the grid of tensor `name`: this one itself, unless it is `called` otherwise."""
        number = self.file.add_activation(called or name, (1, *to_last(shape or self.shape(name))), self.grid(name))
        if called is None:
            self.numbers[name] = number
        return number

    def read(self, step: Step, name: str) -> int:
        """Return the number of the codes that a step reads.

        Raises:
            ExportError: Where they are none, but something that is spread for a transposed convolution.
        """
        if name not in self.numbers:
            raise refuse(step, "it reads sums that are not quantised")
        return self.numbers[name]

    def keep(self, step: Step, arrays: Mapping[str, Integers] | None = None, **tensor: Any) -> None:
        """Append a step to the program of the file, with arrays of its own, and what differs of its tensor's record."""
        known = {"name": step.output} if "shape" in tensor else asdict(self.program.tensor(step.output))
        self.steps.append(step)
        self.tensors[step.output] = Tensor(**known | tensor)
        self.arrays.update(arrays or {})

    def realised(self) -> IntegerProgram:
        """Return the program of the file, whose logits are the codes of its output less their zero point."""
        return replace(
            self.program,
            output_scale=self.logits.scale,
            tensors=tuple(self.tensors.values()),
            steps=tuple(self.steps),
            arrays={**self.program.arrays, **self.arrays},
        )


def list_outputs(program: IntegerProgram) -> tuple[str, ...]:
    """Return the names of the logits, and of the parts that they are joined of."""
    last = program.steps[-1]
    return (program.output, *(last.inputs if isinstance(last, Concatenate) else ()))


def to_last(axes: tuple[T, ...]) -> tuple[T, ...]:
    """Return what there is one of for each axis (C x H x W), with that of the channels last."""
    return (*axes[1:], axes[0])


def refuse(step: Step, what: str) -> ExportError:
    """Return the error for a step without an operator."""
    return ExportError(
        f"tflite: {type(step).__name__} {step.output!r} cannot be written: {what}; choose --format integer or onnx"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """Where an operator writes its codes, with which activation, and what clips them behind it, if that does not."""

    number: int
    activation: int
    clips: tuple[tuple[str, int], ...]


def begin_clip(parts: Translation, step: Step, low: int | None, high: int) -> Clipped:
    """Add the tensor that an operator writes whose codes are clipped to low..high: int8 does what it can.

    Nothing is below a `low` of None anyway.
    """
    shift, zero_point = parts.shifts[step.output], parts.grids[step.output].zero_point
    fused = low == zero_point
    lower = (("MAXIMUM", low + shift),) if low is not None and low + shift > -128 and not fused else ()
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
