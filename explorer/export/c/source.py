"""Write an integer program as C99: a header, a source file, and an example that reads codes and writes logits."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.errors import ExportError
from explorer.export.c import moves  # noqa: F401  (its rules)
from explorer.export.c.calls import count_scratch, store_filters
from explorer.export.c.files import InputGrid, write_header, write_main, write_source
from explorer.export.c.memory import order_tensors, plan_memory
from explorer.export.c.text import Identifiers
from explorer.export.c.weights import StoredWeights
from explorer.export.c.writer import SourceWriter, write_call
from explorer.export.interface import Interface, OutputCodes, to_codes
from explorer.graph.names import Names
from explorer.integer.operations import Dilate, Pad, QuantizeInput
from explorer.integer.program import IntegerProgram
from explorer.integer.stages import Fusion, Stage, list_stages

FUSION = Fusion(thresholds=True, absorbs=(Pad, Dilate))
"""What a kernel computes in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CSource:
    """The files of a network, and what it takes of memory.

    Attributes:
        header: Text of net.h.
        source: Text of net.c.
        main: Text of main.c.
        inputs: What is given, in the order of the program.
        output: What comes of it.
        arena_bytes: Of the block of memory for activations.
        weight_bytes: Of weights, packed indices and codebooks.
        constants: Names and bytes of all constant arrays, weights among them; without structures.
    """

    header: str
    source: str
    main: str
    inputs: tuple[InputGrid, ...]
    output: OutputCodes
    arena_bytes: int
    weight_bytes: int
    constants: tuple[tuple[str, int], ...]

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constant arrays."""
        return sum(size for _, size in self.constants)

    @property
    def interface(self) -> Interface:
        """What is read and given, for those who run it."""
        return Interface(inputs=tuple(grid.codes for grid in self.inputs), output=self.output)


def build_source(program: IntegerProgram) -> CSource:
    """Return the C source of a program.

    Raises:
        ExportError: For what has no kernel, and what is larger than the source's types hold.
    """
    stages, stored = order_tensors(program, list_stages(program, FUSION))
    if stored[program.output].type != "int32":
        raise ExportError(f"c: the output {program.output!r} holds no sums of 32 bits; please report this")
    weights: dict[str, StoredWeights] = {}
    scratch: dict[str, int] = {}
    for stage in stages:
        found = (
            None if isinstance(stage.step, QuantizeInput) else store_filters(stage, program, stored[stage.inputs[0]])
        )
        if found is not None:
            weights[stage.output] = found
            if size := count_scratch(stage, program, found):
                scratch[stage.output] = size
    arena = plan_memory(stages, stored, program.output, scratch)
    writer = SourceWriter(program, stages, stored, arena, weights)
    inputs = _name_inputs(program, stages, writer.identifiers)
    for stage in stages:
        write_call(stage.step, stage, writer)
    return CSource(
        header=write_header(writer, inputs),
        source=write_source(writer, inputs),
        main=write_main(inputs),
        inputs=inputs,
        output=OutputCodes(
            name=program.output,
            type="int32",
            shape=stored[program.output].shape,
            scale=program.output_scale,
            zero_point=0,
        ),
        arena_bytes=arena.size_bytes,
        weight_bytes=sum(each.size_bytes for each in weights.values()),
        constants=tuple(writer.constants),
    )


def _name_inputs(program: IntegerProgram, stages: list[Stage], identifiers: Identifiers) -> tuple[InputGrid, ...]:
    grids, macros = [], Names()
    for entry in program.inputs:
        steps = [stage.step for stage in stages if entry.name in stage.inputs]
        if len(steps) != 1 or not isinstance(steps[0], QuantizeInput):
            raise ExportError(
                f"c: the input {entry.name!r} is quantised {len(steps)} times, the C source reads codes of one grid; "
                "quantise it once, or choose another --format"
            )
        own, alone = identifiers.make(entry.name, "input"), len(program.inputs) == 1
        grids.append(
            InputGrid(
                codes=to_codes(steps[0], "uint8", entry.shape),
                tensor=steps[0].output,
                parameter=own,
                function="net_input" if alone else f"net_{own}",
                macro="NET_INPUT" if alone else macros.free(f"NET_{own.upper()}"),
            )
        )
    return tuple(grids)
