"""Open a TensorFlow Lite file whose inputs and output are quantised or float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer.arrays import Float32Array
from explorer.errors import ExportError, describe_error
from explorer.export.artefact import Artefact, Port
from explorer.export.interface import InputCodes, Interface, OutputCodes, read_interface
from explorer.export.stored_bytes import count_constants
from explorer.export.tflite.file import IDENTIFIER, list_constants, load_litert
from explorer.export.tflite.run import run_tflite
from explorer.graph.inputs import Inputs

TYPES = {"INT8": "int8", "INT16": "int16", "UINT8": "uint8", "FLOAT32": "float32"}


def load(path: Path) -> Artefact:
    """Open a file; what it reads and gives are the grids that its own tensors state.

    Raises:
        ExportError: It is no such file, or ai-edge-litert is missing.
    """
    schema, content = load_litert("schema_py_generated"), path.read_bytes()
    try:
        if content[4:8] != IDENTIFIER:
            raise ValueError("it does not begin as one")
        model = schema.ModelT.InitFromPackedBuf(content)
        (graph,) = model.subgraphs
        names = {getattr(schema.TensorType, name): kind for name, kind in TYPES.items()}
        interface = Interface(
            inputs=_find_limits(path, tuple(_read_input(graph.tensors[number], names) for number in graph.inputs)),
            output=_read_output(graph.tensors[graph.outputs[0]], names),
        )
        stored = count_constants(list_constants(model), len(content))
    except Exception as error:  # flatbuffers raises of many kinds
        raise ExportError(f"{path}: is no file for LiteRT ({describe_error(error)}); write it again") from error
    return Artefact(
        form="tflite",
        network=path,
        inputs=tuple(map(Port.of, interface.inputs)),
        output=Port.of(interface.output),
        stored=stored,
        run=lambda images: _run(path, interface, images),
    )


def _find_limits(path: Path, inputs: tuple[InputCodes, ...]) -> tuple[InputCodes, ...]:
    """Return inputs with the limits of their codes that a summary beside the file states: no tensor does."""
    try:
        stated = read_interface(path.parent).inputs
    except ExportError:
        return inputs
    found = tuple(replace(own, low=other.low, high=other.high) for own, other in zip(inputs, stated, strict=False))
    return found if found == stated else inputs


def _run(path: Path, interface: Interface, images: Inputs) -> Float32Array:
    given = run_tflite(path, interface.encode(images))
    if interface.output.type == "float32":  # the grid behind it is not stated
        return np.moveaxis(given, -1, 1).astype(np.float32)
    return interface.decode(given)


def _read_input(tensor: Any, names: dict[int, str]) -> InputCodes:
    kind, scale, zero_point = _read_grid(tensor, names)
    limits = np.iinfo(kind) if kind != "float32" else np.iinfo("int8")
    return InputCodes(
        name=tensor.name.decode(),
        type=kind,
        shape=_read_shape(tensor),
        scale=scale,
        zero_point=zero_point,
        low=int(limits.min),
        high=int(limits.max),
    )


def _read_output(tensor: Any, names: dict[int, str]) -> OutputCodes:
    kind, scale, zero_point = _read_grid(tensor, names)
    return OutputCodes(
        name=tensor.name.decode(), type=kind, shape=_read_shape(tensor), scale=scale, zero_point=zero_point
    )


def _read_grid(tensor: Any, names: dict[int, str]) -> tuple[str, float, int]:
    """Return the type of a tensor, the scale and the zero point of its codes."""
    kind, grid = names[tensor.type], tensor.quantization
    if grid is None or grid.scale is None:
        return kind, 1.0, 0
    return kind, float(grid.scale[0]), int(grid.zeroPoint[0])


def _read_shape(tensor: Any) -> tuple[int, ...]:
    """Return the shape of one image, channels first."""
    *positions, channels = (int(size) for size in tensor.shape[1:])
    return (channels, *positions)
