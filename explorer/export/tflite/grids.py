"""On which grid each tensor of an integer program lies in a TensorFlow Lite file."""

from __future__ import annotations

import numpy as np
from torch import fx

from explorer.compress.quantize import ActivationQuantizer
from explorer.export.tflite.file import FileGrid
from explorer.integer.builder import name_tensors
from explorer.integer.interpret import Int32
from explorer.integer.operations import Concatenate, Dilate, MaxPool, Pad, PixelShuffle, Reshape, Select, list_operands
from explorer.integer.program import IntegerProgram

_MOVES = (Concatenate, Dilate, MaxPool, Pad, PixelShuffle, Reshape, Select)
"""Steps whose output is on the grid of their inputs."""
HEADROOM = 1 / 8
"""By how much the logits of other images may leave the range of those that calibrate, in ranges (assumed)."""


def find_quantizers(model: fx.GraphModule, program: IntegerProgram) -> dict[str, FileGrid]:
    """Return scale and zero point of the tensors of uint8 codes, as the quantisers of the network state them."""
    found: dict[str, FileGrid] = {}
    for node, name in name_tensors(model).items():
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            found[name] = FileGrid(scale=float(module.scale), zero_point=int(module.zero_point))
    for names in _list_shared(program):
        for known in [found[name] for name in names if name in found][:1]:
            found = {**dict.fromkeys(names, known), **found}
    return found


def find_shifts(program: IntegerProgram) -> dict[str, int]:
    """Return what is added to the uint8 codes of each tensor: the largest becomes 127, so that saturation clips it.

    Tensors that share a grid share the shift.
    """
    tops = {tensor.name: tensor.high for tensor in program.tensors if tensor.type == "uint8"}
    for names in _list_shared(program):
        coded = [name for name in names if name in tops]
        tops.update(dict.fromkeys(coded, max((tops[name] for name in coded), default=0)))
    return {name: 127 - top for name, top in tops.items()}


def _list_shared(program: IntegerProgram) -> list[set[str]]:
    """Return the tensors that share a grid with others, as a step that moves codes reads and writes them."""
    found: list[set[str]] = []
    for step in program.steps:
        if isinstance(step, _MOVES):
            names = {step.output, *list_operands(step)}
            apart = [group for group in found if not group & names]
            found = [*apart, names.union(*(group for group in found if group & names))]
    return found


def fit_logits(logits: Int32, scale: float, finest: float | None) -> FileGrid:
    """Return the grid that spans these logits of a program, each `scale` wide, with some room above and below.

    It is of int8 codes, or where a `finest` scale is given of int16 ones, whose zero point runtimes want to be 0.
    """
    low, high = float(logits.min()) * scale, float(logits.max()) * scale
    room = HEADROOM * ((high - low) or abs(high) or 1.0)
    low, high = min(low - room, 0.0), max(high + room, 0.0)
    if finest is not None:
        step = max(-low / np.iinfo(np.int16).max, high / np.iinfo(np.int16).max, finest)
        return FileGrid(scale=float(np.float32(step)), zero_point=0, type="int16")
    step = float(np.float32((high - low) / 255))
    return FileGrid(scale=step, zero_point=int(np.clip(round(-128 - low / step), -128, 127)))
