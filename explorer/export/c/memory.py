"""Where each tensor of the C source lies: in which order, and at which place of one block of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from explorer.arrays import Int64Array
from explorer.export.interface import list_channels_last
from explorer.integer.operations import Concatenate, Linear, LookUp, Multiply, QuantizeInput, Requantize, Reshape
from explorer.integer.program import IntegerProgram
from explorer.integer.stages import Stage
from hwmodels import ActivationTensor, plan_arena


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder:
    """The integers of `input` in the order in which other stages read the tensor `output`."""

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredTensor:
    """A tensor as it lies in memory: entry i of `order` is the row-major position of the integer stored as the i-th."""

    type: Literal["uint8", "int32"]
    shape: tuple[int, ...]
    order: Int64Array

    @property
    def size_bytes(self) -> int:
        """Bytes of all integers."""
        return len(self.order) * (1 if self.type == "uint8" else 4)

    def is_as_large_as(self, other: StoredTensor) -> bool:
        """Whether both have as many integers of the same type."""
        return (self.type, len(self.order)) == (other.type, len(other.order))

    @property
    def is_channels_last(self) -> bool:
        """Whether the first axis comes last, and the others before it as they are."""
        return np.array_equal(self.order, list_channels_last(self.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """One block of memory, and the byte at which each tensor begins, or what a stage, by its output, unpacks."""

    size_bytes: int
    offsets: Mapping[str, int]
    scratch: Mapping[str, int]


def order_tensors(program: IntegerProgram, stages: Sequence[Stage]) -> tuple[list[Stage], dict[str, StoredTensor]]:
    """Return the stages, with those that bring integers into another order, and the tensors as they are stored.

    Maps have their channels last. What flattens one moves nothing: layers that read it have their weights in its order.
    """
    stored: dict[str, StoredTensor] = {}
    ordered: list[Stage] = []

    def bring(name: str, order: Int64Array, reader: str) -> str:
        """Return a tensor in that order, by a stage of its own where it is in another one."""
        if np.array_equal(stored[name].order, order):
            return name
        moved = f"{name} for {reader}"
        stored[moved] = replace(stored[name], order=order)
        ordered.append(Stage(step=Reorder(input=name, output=moved), inputs=(name,), output=moved))
        return moved

    for stage in stages:
        step, names, tensor = stage.step, stage.inputs, program.tensor(stage.output)
        order, is_output = list_channels_last(tensor.shape), stage.output == program.output
        alike = all(stored[name].shape == tensor.shape for name in names) if names[0] in stored else False
        if isinstance(step, Reshape):
            if is_output:
                stage = replace(stage, step=Reorder(input=names[0], output=stage.output))  # noqa: PLW2901
            else:
                order = stored[names[0]].order
        elif isinstance(step, Concatenate) and len(tensor.shape) == 1 and not is_output:
            starts = np.cumsum([0, *(len(stored[name].order) for name in names)])[:-1]
            order = np.concatenate([stored[name].order + at for name, at in zip(names, starts, strict=True)])
        elif isinstance(step, LookUp | Requantize | Multiply) and alike:
            order = order if is_output else stored[names[0]].order
            names = tuple(bring(name, order, stage.output) for name in names)
        elif not isinstance(step, Linear | QuantizeInput):
            names = tuple(bring(name, list_channels_last(stored[name].shape), stage.output) for name in names)
        stored[stage.output] = StoredTensor(type=tensor.type, shape=tensor.shape, order=order)
        ordered.append(replace(stage, inputs=names))
    return ordered, stored


def plan_memory(
    stages: Sequence[Stage], stored: Mapping[str, StoredTensor], output: str, scratch: Mapping[str, int]
) -> Arena:
    """Return where tensors lie, as the planner of the cost model places them (`hwmodels.plan_arena`).

    What works on codes one by one writes over them where nothing reads them later. The `output` is the caller's.

    Args:
        stages: In order of computation.
        stored: Of their tensors.
        output: Which of these has no place.
        scratch: Bytes that the stages with these outputs unpack weights to.
    """
    home: dict[str, str] = {}
    for stage in stages:
        home[stage.output] = home[stage.inputs[0]] if isinstance(stage.step, Reshape) else stage.output
    uses = [(number, name) for number, stage in enumerate(stages) for name in (stage.output, *stage.inputs)]
    last = {home[name]: number for number, name in uses if name in home}
    first: dict[str, int] = {}
    for number, stage in enumerate(stages):
        own = stage.output
        over = [name for name in stage.inputs if name in home and last[home[name]] == number]
        if home[own] != own:
            continue
        alike = [name for name in over if stored[name].is_as_large_as(stored[own])]
        if isinstance(stage.step, LookUp | Requantize) and alike and own != output:
            owner = home[alike[0]]
            home = {name: owner if held == own else held for name, held in home.items()}
            last[owner] = last.pop(own)
        else:
            first[own] = 0 if isinstance(stage.step, QuantizeInput) else number
    steps = {stage.output: number for number, stage in enumerate(stages)}
    held = [name for name in first if name != output]
    plan = plan_arena(
        [
            *(_make(name, stored[name].size_bytes, first[name], last[name]) for name in held),
            *(_make(name, size, steps[name], steps[name]) for name, size in scratch.items()),
        ]
    )
    places = [placed.offset_bytes for placed in plan.placed]
    begins = dict(zip(held, places[: len(held)], strict=True))
    return Arena(
        size_bytes=plan.size_bytes,
        offsets={name: begins[owner] for name, owner in home.items() if owner != output},
        scratch=dict(zip(scratch, places[len(held) :], strict=True)),
    )


def _make(name: str, size_bytes: int, first: int, last: int) -> ActivationTensor:
    return ActivationTensor(name=name, elements=size_bytes, bits=8, first_step=first, last_step=last)
