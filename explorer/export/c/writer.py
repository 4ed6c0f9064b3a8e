"""Collect the C source of a program: its constants, its calls, and which kernels these need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from explorer.errors import ExportError
from explorer.export.c.memory import Arena, StoredTensor
from explorer.export.c.text import Identifiers, make_array, make_comment, make_record
from explorer.export.c.weights import StoredWeights
from explorer.integer.program import IntegerProgram, Integers
from explorer.integer.stages import Stage

NARROW = frozenset(
    {"top", "left"} | {f"{kind}_{axis}" for kind in ("stride", "dilation", "spread") for axis in ("height", "width")}
)
"""Fields of 8 bits; all others that `number` checks have 16."""
ROLES = {
    **dict.fromkeys(("weights", "packed"), "weight"),
    **dict.fromkeys(("multipliers", "shifts", "offsets", "bounds", "codebook"), "scale"),
    "biases": "bias",
}
"""What an array is of a tensor, by its kind, in the words of `stored_bytes`."""


class SourceWriter:
    """Definitions and calls so far, of the `stages` of a program; tensors are `stored` in `arena`, weights by stage."""

    def __init__(
        self,
        program: IntegerProgram,
        stages: Sequence[Stage],
        stored: Mapping[str, StoredTensor],
        arena: Arena,
        weights: Mapping[str, StoredWeights],
    ) -> None:
        self.program, self.stages = program, stages
        self.stored, self.arena, self.weights = stored, arena, weights
        self.identifiers = Identifiers()
        self.definitions: list[str] = []
        self.calls: list[str] = []
        self.kernels: set[str] = set()
        self.constants: list[tuple[str, int]] = []
        self._known: dict[tuple[str, bytes], str] = {}

    def array(self, stage: Stage, kind: str, values: Integers) -> str:
        """Define a constant array, unless one of the same integers is there; returns its identifier."""
        key = (str(values.dtype), np.ascontiguousarray(values).tobytes())
        if key not in self._known:
            self._known[key] = self.identifiers.make(stage.step.output, kind)
            self.definitions.append(make_array(self._known[key], values))
            self.constants.append((f"{stage.step.output}.{ROLES.get(kind, kind)}", values.nbytes))
        return self._known[key]

    def record(self, stage: Stage, kind: str, fields: Mapping[str, Any]) -> str:
        """Define a constant structure of type `net_KIND`; returns its address."""
        name = self.identifiers.make(stage.step.output, kind)
        shapes = [" x ".join(map(str, self.stored[each].shape)) for each in (*stage.inputs, stage.output)]
        told = f"{stage.step.output}: {type(stage.step).__name__} of {' and '.join(shapes[:-1])} to {shapes[-1]}"
        self.definitions.append(f"{make_comment(told)}\n{make_record(f'net_{kind}', name, fields)}")
        return f"&{name}"

    def call(self, kernel: str, *arguments: str) -> None:
        """Append a call of a kernel."""
        self.kernels.add(kernel)
        self.calls.append(f"    net_{kernel}({', '.join(arguments)});")

    def place(self, name: str) -> str:
        """Return where a tensor lies, as an expression."""
        if name == self.program.output:
            return "result"
        kind = "NET_CODES" if self.stored[name].type == "uint8" else "NET_SUMS"
        return f"{kind}({self.arena.offsets[name]})"

    def places(self, stage: Stage) -> list[str]:
        """Return where what a stage reads and writes lies."""
        return [self.place(name) for name in (*stage.inputs, stage.output)]


@singledispatch
def write_call(step: Any, stage: Stage, writer: SourceWriter) -> None:
    """Append the call of a stage whose step is `step`, and the constants that it takes.

    Raises:
        ExportError: For what has no kernel.
    """
    raise ExportError(f"c: there is no rule for {type(step).__name__} {stage.output!r}; choose another --format")


def check_numbers(stage: Stage, fields: Mapping[str, int]) -> dict[str, int]:
    """Return fields of a structure as they are.

    Raises:
        ExportError: Where one is larger than its type holds.
    """
    for key, value in fields.items():
        limit = 2**8 - 1 if key in NARROW else 2**16 - 1
        if not 0 <= value <= limit:
            raise ExportError(
                f"c: {type(stage.step).__name__} {stage.output!r} has {key.replace('_', ' ')} {value}, the C source "
                f"holds 0 to {limit}; choose another --format"
            )
    return dict(fields)


def check_codes(writer: SourceWriter, stage: Stage, *names: str) -> None:
    """Raise ExportError where a tensor is none of codes of 8 bits."""
    for name in names:
        if writer.stored[name].type != "uint8":
            raise ExportError(
                f"c: {type(stage.step).__name__} {stage.output!r} reads or writes {name!r}, which holds no codes of 8 "
                "bits; choose another --format"
            )
