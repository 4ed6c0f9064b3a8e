"""A network as a flat list of integer operations: plain records, arrays beside them, JSON in and out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExportError
from explorer.integer.operations import OPERATIONS, Step

SCHEMA_VERSION, SEVERAL_INPUTS = 1, 2
"""Versions of the layout of a program's JSON, which readers must know: with an `input`, or with a list of `inputs`."""
ROUNDING = (
    "Shapes leave out the batch axis, which comes first; axes count it. A code q stands for scale * (q - zero_point). "
    "Sums are int32 and never overflow, in whatever order; products with multipliers are int64. A shift is arithmetic: "
    "t >> s = floor(t / 2^s); half of 2^s is part of each offset, so that halves round up."
)
"""What a reader of the program must know beside the operations."""

Integers = NDArray[np.generic]


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
        """Return the tensor of that name.

        Raises:
            KeyError: Where there is none.
        """
        return {tensor.name: tensor for tensor in self.tensors}[name]

    def to_json(self) -> dict[str, Any]:
        """Return plain data of everything but the arrays, with a sentence on every operation."""
        inputs, several = [_plain(entry) for entry in self.inputs], len(self.inputs) > 1
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
        """Return the inverse of `to_json`.

        Raises:
            ExportError: For another schema version, or a step that is not known.
        """
        if data.get("schema_version") not in {SCHEMA_VERSION, SEVERAL_INPUTS}:
            raise ExportError(
                f"integer program: schema version {data.get('schema_version')!r} is not {SCHEMA_VERSION} or "
                f"{SEVERAL_INPUTS}; export the network again with this version"
            )
        unknown = {step["operation"] for step in data["steps"]} - OPERATIONS.keys()
        if unknown:
            raise ExportError(f"integer program: unknown operations {sorted(unknown)}; known are {sorted(OPERATIONS)}")
        inputs = data["inputs"] if data["schema_version"] == SEVERAL_INPUTS else [data["input"]]
        return cls(
            inputs=tuple(Input(**_tuples(entry)) for entry in inputs),
            output=data["output"]["name"],
            output_scale=data["output"]["scale"],
            tensors=tuple(Tensor(**_tuples(entry)) for entry in data["tensors"]),
            steps=tuple(_step(entry) for entry in data["steps"]),
            arrays=dict(arrays),
        )


def _plain(record: Input | Tensor | Step) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _step(entry: Mapping[str, Any]) -> Step:
    values = {key: value for key, value in entry.items() if key != "operation"}
    step: Step = OPERATIONS[entry["operation"]](**_tuples(values))
    return step


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    def made(value: Any) -> Any:
        return tuple(made(item) for item in value) if isinstance(value, list | tuple) else value

    return {key: made(value) for key, value in entry.items()}
