"""The steps of an integer program as the calls that C makes: sums are rescaled before they are stored."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from explorer.errors import ExportError
from explorer.integer.operations import (
    Concatenate,
    Conv,
    Dilate,
    HeightWidth,
    Linear,
    Multiply,
    Pad,
    Requantize,
    Step,
    SumPool,
    Threshold,
    list_operands,
)
from explorer.integer.program import IntegerProgram

SUMS = (Conv, Linear, SumPool, Multiply)
"""Steps whose results a kernel rescales one by one, so that 32 bits are stored of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder:
    """The integers of `input` in the order in which other stages read the tensor `output`."""

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step, the tensors that it reads, and the one that is stored.

    `rescale` turns each sum into a code, `threshold` that into another one. A convolution reads `input` with `spread`
    - 1 zeros between rows and columns.
    """

    step: Step | Reorder
    inputs: tuple[str, ...]
    output: str
    rescale: Requantize | None = None
    threshold: Threshold | None = None
    spread: HeightWidth = (1, 1)


def list_stages(program: IntegerProgram) -> list[Stage]:
    """Return the calls in order of computation.

    What only one step reads is not stored where that step can take it over: sums that are rescaled, codes that a
    threshold turns into others, zeros around and between the rows that a convolution reads.

    Raises:
        ExportError: For a threshold of integers that are stored.
    """
    readers: defaultdict[str, list[Step]] = defaultdict(list)
    for step in program.steps:
        for name in list_operands(step):
            readers[name].append(step)
    made = {step.output: step for step in program.steps}
    taken: set[str] = set()
    stages = []
    for step in program.steps:
        if step.output in taken:
            continue
        if isinstance(step, Threshold):
            raise ExportError(f"c: Threshold {step.output!r} reads integers that are stored; please report this")
        if _is_absorbed(step, readers):
            continue
        stage = Stage(step=step, inputs=_list_inputs(step), output=step.output)
        if isinstance(step, Conv):
            stage = _absorb(stage, step, made[step.input], readers)
        stages.append(_finish(stage, readers, taken))
    return stages


def _list_inputs(step: Step) -> tuple[str, ...]:
    """Return the names of the tensors that a step reads, in its own order: one may be there twice."""
    if isinstance(step, Multiply):
        return step.left, step.right
    return step.inputs if isinstance(step, Requantize | Concatenate) else (step.input,)


def _finish(stage: Stage, readers: dict[str, list[Step]], taken: set[str]) -> Stage:
    """Return the stage with what is done to its results before they are stored."""
    rescale = stage.step if isinstance(stage.step, Requantize) else None
    if isinstance(stage.step, SUMS):
        read = readers[stage.output]
        rescale = read[0] if len(read) == 1 and isinstance(read[0], Requantize) and len(read[0].inputs) == 1 else None
    if rescale is None:
        return stage
    then = readers[rescale.output]
    threshold = then[0] if len(then) == 1 and isinstance(then[0], Threshold) else None
    output = rescale.output if threshold is None else threshold.output
    taken |= {rescale.output, output}
    return replace(stage, output=output, rescale=rescale, threshold=threshold)


def _is_absorbed(step: Step, readers: dict[str, list[Step]]) -> bool:
    """Return whether only convolutions read what a step puts around, or between, rows and columns: zeros for them."""
    if not isinstance(step, Pad | Dilate) or not readers[step.output]:
        return False
    if isinstance(step, Pad) and (len(step.before) != 3 or step.before[0] + step.after[0] > 0):
        return False
    return all(isinstance(read, Conv) and read.zero_point == step.value for read in readers[step.output])


def _absorb(stage: Stage, step: Conv, source: Step, readers: dict[str, list[Step]]) -> Stage:
    """Return a convolution that reads what `source` reads, where that is not stored."""
    if not _is_absorbed(source, readers):
        return stage
    if isinstance(source, Dilate):
        return replace(stage, inputs=(source.input,), spread=source.steps)
    assert isinstance(source, Pad)
    top, left, bottom, right = (
        own + more for own, more in zip(step.padding, (*source.before[1:], *source.after[1:]), strict=True)
    )
    return replace(stage, step=replace(step, padding=(top, left, bottom, right)), inputs=(source.input,))
