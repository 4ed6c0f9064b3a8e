"""ONNX files as plain records: nodes in order of computation, shapes and widths of values, constants on request.

The only module that imports `onnx`, and only when a file is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.errors import NetworkError

if TYPE_CHECKING:
    import onnx

_WIDTHS = {
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("INT8", "UINT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), 8),
    **dict.fromkeys(("INT16", "UINT16", "FLOAT16", "BFLOAT16"), 16),
}
"""Bits of an element by ONNX type; every other type counts as 32, the widest that the cost models know."""
_WIDEST = 32


class Value(NamedTuple):
    """What the file says of a value: its shape (None where it cannot be inferred) and its type."""

    shape: tuple[int, ...] | None
    bits: int
    is_integer: bool

    @property
    def elements(self) -> int:
        """Number of elements; 0 where the shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)


UNKNOWN = Value(None, _WIDEST, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation; `operator` has its domain in front, unless that is ONNX's own.

    `inputs` may hold empty names, for inputs that are left out; names that a body of a loop or branch reads
    from outside stand at the end. `attributes` holds numbers, texts and lists of these.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxGraph:
    """The graph of a file, with functions inlined and the batch fixed."""

    path: Path
    producer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    tensors: Mapping[str, onnx.TensorProto]

    def value(self, name: str) -> Value:
        """Return what is known of a value."""
        return self.values.get(name, UNKNOWN)

    def array(self, name: str) -> NDArray[np.generic] | None:
        """Return the constant of that name, of any type of numbers; None where there is none, or it cannot be read."""
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        import onnx.numpy_helper  # noqa: PLC0415

        try:
            array: NDArray[np.generic] = onnx.numpy_helper.to_array(tensor, str(self.path.parent))
        except (OSError, ValueError, TypeError, KeyError, onnx.checker.ValidationError):
            return None
        return None if array.dtype.kind in "OSU" else array


def read_graph(path: Path) -> OnnxGraph:
    """Return the graph of an ONNX file; an open first dimension of an input is the batch, and becomes 1.

    Shapes come from ONNX's own shape inference, which holds for models of up to 2 GB; weights in external
    files do not count for that, and are not loaded.

    Raises:
        NetworkError: the package onnx is not installed, the file is no ONNX model, its shapes contradict each
            other, or an input has an open dimension other than the first.
    """
    try:
        import onnx  # noqa: PLC0415
        import onnx.inliner  # noqa: PLC0415
        import onnx.shape_inference  # noqa: PLC0415
    except ImportError as error:
        what = "reading an ONNX file needs the package onnx, which is not installed: pip install onnx"
        raise NetworkError(f"{path}: {what}") from error
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except OSError as error:
        raise NetworkError(f"{path}: the ONNX file cannot be read ({error}); check the path") from error
    except Exception as error:  # protobuf is onnx's own affair: its DecodeError is not imported from here
        raise NetworkError(f"{path}: this is not an ONNX model ({_first_line(error)}); check the file") from error
    if not model.graph.node:
        raise NetworkError(f"{path}: the file holds no ONNX model, or one without operations; check the file")
    try:
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
        _fix_batch(model.graph, path)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except NetworkError:
        raise
    except Exception as error:  # onnx raises a dozen types on malformed models, RuntimeError among them
        what = f"its shapes cannot be inferred ({_first_line(error)})"
        raise NetworkError(f"{path}: {what}; run onnx.checker.check_model on it, and export it anew") from error
    return _graph(model, path)


def _first_line(error: Exception) -> str:
    """Return the start of an error's text, on one line."""
    return " ".join(str(error).split())[:200]


def _fix_batch(graph: onnx.GraphProto, path: Path) -> None:
    """Set open batch dimensions to 1, and drop noted shapes that depend on other open dimensions."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    problems, batch = [], set()
    for entry in inputs:
        if not entry.type.tensor_type.HasField("shape"):
            what = "must be a tensor of known shape, but is not: export the model so"
            problems.append(f"{path}: input {entry.name!r} {what}")
            continue
        dimensions = entry.type.tensor_type.shape.dim
        if dimensions and _is_open(dimensions[0]):
            batch.add(dimensions[0].dim_param)
            dimensions[0].dim_value = 1
    for entry in [*inputs, *graph.value_info, *graph.output]:
        for dimension in entry.type.tensor_type.shape.dim if entry.type.HasField("tensor_type") else ():
            if dimension.dim_param and dimension.dim_param in batch:
                dimension.dim_value = 1
    problems += [
        f"{path}: input {entry.name!r}: dimension {index} is {dimension.dim_param or 'open'!r} and not a number "
        "(only the first may be open: it is the batch, and counts as 1); export the model with fixed sizes, or set "
        "them with onnx.tools.update_model_dims"
        for entry in inputs
        for index, dimension in enumerate(entry.type.tensor_type.shape.dim)
        if _is_open(dimension)
    ]
    if problems:
        raise NetworkError(problems)
    for entry in [*graph.value_info, *graph.output]:
        if entry.type.HasField("tensor_type") and any(map(_is_open, entry.type.tensor_type.shape.dim)):
            entry.type.tensor_type.ClearField("shape")


def _is_open(dimension: onnx.TensorShapeProto.Dimension) -> bool:
    """Tell a dimension without a size."""
    return not dimension.HasField("dim_value") or dimension.dim_value < 0


def _graph(model: onnx.ModelProto, path: Path) -> OnnxGraph:
    """Return the records of a model whose shapes are inferred."""
    import onnx  # noqa: PLC0415

    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in {"", "ai.onnx"}:
            stated = [tensor for tensor in map(_constant, node.attribute) if tensor is not None]
            tensors |= dict(zip(node.output, stated, strict=False))
    types = {number: name for name, number in onnx.TensorProto.DataType.items()}
    values = {}
    for entry in [*graph.value_info, *graph.input, *graph.output]:
        if entry.type.HasField("tensor_type"):
            values[entry.name] = _value(types.get(entry.type.tensor_type.elem_type, ""), entry.type)
    for name, tensor in tensors.items():
        values[name] = _value(types.get(tensor.data_type, ""), None)._replace(shape=tuple(tensor.dims))
    return OnnxGraph(
        path=path,
        producer=model.producer_name,
        inputs=tuple(entry.name for entry in graph.input if entry.name not in tensors),
        outputs=tuple(entry.name for entry in graph.output),
        nodes=tuple(_named(node for node in graph.node if node.output and node.output[0] not in tensors)),
        values=values,
        tensors=tensors,
    )


def _constant(attribute: onnx.AttributeProto) -> onnx.TensorProto | None:
    """Return the tensor of an attribute of a Constant node."""
    import onnx.numpy_helper  # noqa: PLC0415

    if attribute.name == "value":
        return attribute.t
    kinds: dict[str, type[np.generic]] = {"value_float": np.float32, "value_int": np.int64}
    if attribute.name.removesuffix("s") not in kinds:
        return None
    stated = onnx.helper.get_attribute_value(attribute)
    return onnx.numpy_helper.from_array(np.asarray(stated, dtype=kinds[attribute.name.removesuffix("s")]))


def _value(type_name: str, kind: onnx.TypeProto | None) -> Value:
    """Return the record of a value of some ONNX type."""
    shape = None
    if kind is not None and kind.tensor_type.HasField("shape"):
        dimensions = kind.tensor_type.shape.dim
        shape = None if any(map(_is_open, dimensions)) else tuple(dimension.dim_value for dimension in dimensions)
    return Value(shape, _WIDTHS.get(type_name, _WIDEST), "INT" in type_name)


def _named(nodes: Iterable[onnx.NodeProto]) -> Iterator[Node]:
    """Return nodes whose names differ: one without a name is called as its first result."""
    import onnx  # noqa: PLC0415

    plain = {onnx.AttributeProto.AttributeType.Value(kind) for kind in ("INT", "INTS", "FLOAT", "FLOATS", "STRING")}
    taken: set[str] = set()
    for index, node in enumerate(nodes):
        name = node.name.strip() or node.output[0].strip() or node.op_type
        name = f"{name} (node {index})" if name in taken else name
        taken.add(name)
        bodies = [entry.g for entry in node.attribute if entry.HasField("g")]
        yield Node(
            name=name,
            operator=node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op_type}",
            inputs=(*node.input, *(outer for body in bodies for outer in _read_from_outside(body))),
            outputs=tuple(node.output),
            attributes={
                entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.type in plain
            },
        )


def _read_from_outside(body: onnx.GraphProto) -> Iterator[str]:
    """Return the names that the body of a loop or branch reads and does not give itself."""
    inside = {entry.name for entry in (*body.input, *body.initializer)}
    for node in body.node:
        bodies = [entry.g for entry in node.attribute if entry.HasField("g")]
        names = (*node.input, *(outer for nested in bodies for outer in _read_from_outside(nested)))
        yield from (name for name in names if name and name not in inside)
        inside.update(node.output)
