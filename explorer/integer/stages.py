"""The walk over an integer program by which formats write it: what one of their operators computes is a stage."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from explorer.integer.operations import (
    Concatenate,
    Conv,
    Dilate,
    HeightWidth,
    Multiply,
    Pad,
    Requantize,
    Select,
    Step,
    Sums,
    Threshold,
    list_operands,
)
from explorer.integer.program import IntegerProgram


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What an operator of a format computes at once, beside sums and the requantisation of their only reader.

    Attributes:
        repeats: Sums that several requantisations read, anew for each.
        thresholds: A requantisation, and the table of what it gives.
        absorbs: Steps before convolutions that put zeros around (Pad) or between (Dilate) what these read.
        pairs: Selections of rows and of columns.
    """

    repeats: bool = False
    thresholds: bool = False
    absorbs: tuple[type[Pad | Dilate], ...] = ()
    pairs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step, or one of a format's own, the tensors that are read, each as often as it is, and the one that is stored.

    `rescale` turns each sum into a code, `threshold` that into another one. A convolution reads its input through
    `absorbed`; of a Pad its own padding has become more. A selection is followed by that of `then`.
    """

    step: Any
    inputs: tuple[str, ...]
    output: str
    rescale: Requantize | None = None
    threshold: Threshold | None = None
    absorbed: Pad | Dilate | None = None
    then: Select | None = None

    @property
    def spread(self) -> HeightWidth:
        """Rows and columns from one entry that a convolution reads to the next: all but these are zeros."""
        return self.absorbed.steps if isinstance(self.absorbed, Dilate) else (1, 1)


def list_stages(program: IntegerProgram, fusion: Fusion) -> list[Stage]:
    """Return the stages in order of computation.

    What is taken over by all that read it is stored by no stage of its own.
    """
    walk = _Walk(program, fusion)
    return [walk.build(step) for step in program.steps if not walk.is_taken(step)]


class _Walk:
    """Who reads and who writes each tensor."""

    def __init__(self, program: IntegerProgram, fusion: Fusion) -> None:
        self.fusion = fusion
        self.made = {step.output: step for step in program.steps}
        self.readers: defaultdict[str, list[Step]] = defaultdict(list)
        for step in program.steps:
            for name in list_operands(step):
                self.readers[name].append(step)

    def is_taken(self, step: Step) -> bool:
        """Return whether all that read a step take it over."""
        readers = self.readers[step.output]
        return bool(readers) and all(self.takes(reader, step) for reader in readers)

    def takes(self, reader: Step, step: Step) -> bool:
        """Return whether the reader of a step computes it, too."""
        fusion, alone = self.fusion, len(self.readers[step.output]) == 1
        if isinstance(reader, Requantize):
            return isinstance(step, Sums) and len(reader.inputs) == 1 and (alone or fusion.repeats)
        if isinstance(reader, Threshold):
            return fusion.thresholds and isinstance(step, Requantize) and alone
        if isinstance(reader, Conv) and isinstance(step, fusion.absorbs):
            if isinstance(step, Pad) and (len(step.before) != 3 or step.before[0] + step.after[0] > 0):
                return False
            readers = self.readers[step.output]
            return all(isinstance(each, Conv) and each.zero_point == step.value for each in readers)
        if isinstance(reader, Select) and isinstance(step, Select):
            return fusion.pairs and alone and {step.axis, reader.axis} == {2, 3} and not self._follows(step)
        return False

    def _follows(self, step: Select) -> bool:
        source = self.made.get(step.input)
        return source is not None and self.takes(step, source)

    def build(self, step: Step) -> Stage:
        """Return the stage that ends with a step."""
        source = self.made.get(list_operands(step)[0])
        if source is None or not self.takes(step, source):
            rescale = step if isinstance(step, Requantize) else None
            return Stage(step=step, inputs=_list_inputs(step), output=step.output, rescale=rescale)
        if isinstance(step, Requantize):
            return replace(self.build(source), output=step.output, rescale=step)
        if isinstance(step, Threshold):
            return replace(self.build(source), output=step.output, threshold=step)
        if isinstance(step, Select):
            return replace(self.build(source), output=step.output, then=step)
        assert isinstance(step, Conv)
        assert isinstance(source, Pad | Dilate)
        if isinstance(source, Pad):
            around = (*source.before[1:], *source.after[1:])
            top, left, bottom, right = (own + more for own, more in zip(step.padding, around, strict=True))
            step = replace(step, padding=(top, left, bottom, right))
        return Stage(step=step, inputs=(source.input,), output=step.output, absorbed=source)


def _list_inputs(step: Step) -> tuple[str, ...]:
    """Return the names of the tensors that a step reads, in its own order: one may be there twice."""
    if isinstance(step, Multiply):
        return step.left, step.right
    return step.inputs if isinstance(step, Requantize | Concatenate) else (step.input,)
