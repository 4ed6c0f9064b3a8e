"""The file of a compressed network in memory: its bytes, the program that it computes, its inputs and its output."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.compress.apply import CompressionContext
from explorer.compress.quantize import ActivationQuantizer
from explorer.errors import ExportError
from explorer.export.formats import FileTypes
from explorer.export.interface import Interface, OutputCodes, to_arrays, to_codes
from explorer.export.tflite.file import FileBuilder, FileGrid
from explorer.export.tflite.grids import find_quantizers, find_shifts, fit_logits
from explorer.export.tflite.kernels import LARGEST_WIDE_SCALE
from explorer.export.tflite.translate import find_narrow, translate
from explorer.export.tflite.translation import Translation, list_outputs, to_last
from explorer.graph.inputs import Inputs, example
from explorer.graph.symbolic import propagate_shapes
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.integer.operations import QuantizeInput, Requantize
from explorer.integer.program import IntegerProgram

INT8_MIN, UNSIGNED = -128, 128
"""What uint8 codes have more than int8 codes of the same value."""
PROBABILITIES = {
    "int8": FileGrid(scale=1 / 256, zero_point=-128),
    "int16": FileGrid(scale=1 / 32768, zero_point=0, type="int16"),
}
"""The grid that runtimes demand of a softmax, by the type of its codes."""
ROOM = 1.01
"""By how much a scale is left coarser than it may be at the finest, since scales are moved a little (assumed)."""
CORE = FileTypes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The bytes of a file, the program that it computes, what it reads and gives, and the grid of its logits.

    The program's logits are codes less their zero point, of 16 bits where int16 or float32 is given. `core` is the file
    without a softmax at its end, None where there is none.
    """

    content: bytes
    core: bytes | None
    program: IntegerProgram
    interface: Interface
    logits: FileGrid


def build(
    model: fx.GraphModule,
    context: CompressionContext,
    images: Inputs | None = None,
    types: FileTypes = CORE,
) -> Network:
    """Return the file of what `compress.apply` built; the grid of its logits spans those of the calibration images.

    Args:
        model: A softmax over the classes at its end becomes one of the file.
        context: What it was built in.
        images: To be taken instead of the calibration images.
        types: Of inputs, outputs, and narrow weights.

    Raises:
        ExportError: For what has no integer form, or no operator; and without ai-edge-litert.
    """
    file = FileBuilder()
    propagate_shapes(model, example(model, context.graph.input_shapes))
    before = _without_softmax(model)
    program = lower_program(before or model, context.graph.input_shapes)
    grids, shifts = find_quantizers(before or model, program), find_shifts(program)
    given = to_arrays(context.calibration.images if images is None else images)
    finest = _find_finest(program) if _is_wide(program, types.outputs) else None
    logits = fit_logits(run_program(program, given), program.output_scale, finest)
    parts = Translation(
        program=program, file=file, grids=grids, shifts=shifts, logits=logits, pack_int4=types.pack_int4
    )
    output = translate(parts)
    steps = {step.input: step for step in program.steps if isinstance(step, QuantizeInput)}
    named, codes, extra = {}, [], UNSIGNED if types.inputs == "uint8" else 0
    for entry in program.inputs:
        step = steps[entry.name]
        named[entry.name] = _add_input(parts, entry.name, step.output, types.inputs)
        codes.append(to_codes(step, types.inputs, entry.shape, shifts[step.output] + extra))
    core, grid = None, logits
    if before is not None:
        core, grid = file.to_bytes(named, {program.output: output}), PROBABILITIES[logits.type]
        output = _add_softmax(parts, output, grid)
    output = _add_output(parts, output, grid, types.outputs)
    return Network(
        content=file.to_bytes(named, {program.output: output}),
        core=core,
        program=parts.realised(),
        interface=Interface(inputs=tuple(codes), output=describe_output(program, grid, types.outputs)),
        logits=logits,
    )


def _find_finest(program: IntegerProgram) -> float:
    """Return the least scale that logits of 16 bits may have: runtimes multiply sums with so much and no more."""
    arrays, names = program.arrays, list_outputs(program)
    gains = [
        float((np.abs(arrays[name]) / 2.0 ** arrays[step.shift].astype(np.float64)).max())
        for step in program.steps
        if isinstance(step, Requantize) and step.output in names
        for name in step.multipliers
    ]
    return ROOM * max(gains, default=0.0) * program.output_scale / LARGEST_WIDE_SCALE


def _is_wide(program: IntegerProgram, kind: str) -> bool:
    """Return whether logits of 16 bits are asked for; float32 takes those of 8 where there are no operators for them.

    Raises:
        ExportError: Where these are int16 ones.
    """
    narrow = find_narrow(program)
    if kind == "int16" and narrow is not None:
        raise ExportError(
            "export: outputs: expected int8, uint8 or float32 of a network that ends with no convolution, linear layer "
            f"or mean ({type(narrow).__name__} {narrow.output!r} gives no 16 bits), received 'int16'"
        )
    return kind in {"int16", "float32"} and narrow is None


def describe_output(program: IntegerProgram, grid: FileGrid, kind: str) -> OutputCodes:
    """Return what the output of a file holds whose codes are on a grid, before they become another type."""
    own, shape = _unsigned(grid) if kind == "uint8" else grid, program.tensor(program.output).shape
    return OutputCodes(name=program.output, type=kind, shape=shape, scale=own.scale, zero_point=own.zero_point)


def _add_input(parts: Translation, name: str, codes: str, kind: str) -> int:
    """Add what is given in another type than the int8 codes that the network reads; returns its tensor."""
    file, grid, number = parts.file, parts.grid(codes), parts.numbers[codes]
    if kind == "int8":
        file.rename(number, name)
        return number
    shape = (1, *to_last(parts.shape(codes)))
    given = file.add_activation(name, shape, _unsigned(grid) if kind == "uint8" else None)
    low = parts.program.tensor(codes).low + parts.shifts[codes]
    if low > INT8_MIN:  # a quantisation clips to all of int8
        bound, clipped = file.add_codes(f"{codes}.maximum", low, grid), number
        number = parts.add(codes, called=f"{codes}_unclipped")
        file.add_operator("MAXIMUM", (number, bound), clipped, "MaximumMinimumOptions", first=True)
    file.add_operator("QUANTIZE", (given,), number, "QuantizeOptions", first=True)
    return given


def _add_output(parts: Translation, number: int, grid: FileGrid, kind: str) -> int:
    """Add what turns the codes of the output into another type; returns its tensor."""
    if kind == grid.type:
        return number
    file, name = parts.file, parts.program.output
    file.rename(number, f"{name}_{grid.type}")
    shape = (1, *to_last(parts.shape(name)))
    output = file.add_activation(name, shape, _unsigned(grid) if kind == "uint8" else None)
    operator, options = ("QUANTIZE", "QuantizeOptions") if kind == "uint8" else ("DEQUANTIZE", "DequantizeOptions")
    file.add_operator(operator, (number,), output, options)
    return output


def _unsigned(grid: FileGrid) -> FileGrid:
    return replace(grid, zero_point=grid.zero_point + UNSIGNED, type="uint8")


def _add_softmax(parts: Translation, number: int, grid: FileGrid) -> int:
    """Add a softmax over the classes; returns its tensor."""
    name = parts.program.output
    parts.file.rename(number, f"{name}_before_softmax")
    shape = (1, *to_last(parts.shape(name)))
    output = parts.file.add_activation(name, shape, grid)
    parts.file.add_operator("SOFTMAX", (number,), output, "SoftmaxOptions", beta=1.0)
    return output


def _without_softmax(model: fx.GraphModule) -> fx.GraphModule | None:
    """Return a network up to its logits where it ends with a softmax over the classes, else None."""
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    last = output.args[0]
    if not isinstance(last, fx.Node) or not _is_softmax(model, last):
        return None
    cut = copy.deepcopy(model)
    (output,) = (node for node in cut.graph.nodes if node.op == "output")
    source = output.args[0].all_input_nodes[0]
    if source.op == "call_module" and isinstance(cut.get_submodule(str(source.target)), ActivationQuantizer):
        source = source.all_input_nodes[0]  # the logits' own codes are as fine
    output.args = (source,)
    cut.graph.eliminate_dead_code()
    cut.recompile()
    return cut


def _is_softmax(model: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether a node is a softmax over the classes: axis 1, or the last one of vectors."""
    axis: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        if not isinstance(module, nn.Softmax):
            return False
        axis = module.dim
    elif node.target not in {F.softmax, torch.softmax, "softmax"}:
        return False
    return axis == 1 or (axis == -1 and len(node.meta["shape"]) == 2)
