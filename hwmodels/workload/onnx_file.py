"""From an ONNX file to its graph: functions inlined, the batch fixed, shapes worked out.

The package `onnx` is imported when a file is read, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hwmodels.errors import NetworkError
from hwmodels.workload.onnx_graph import WIDEST_BITS, OnnxGraph, OnnxNode, OnnxValue

if TYPE_CHECKING:
    import onnx

    from hwmodels.workload.onnx_shapes import ShapeWalk

_WIDTHS = {
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("INT8", "UINT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), 8),
    **dict.fromkeys(("INT16", "UINT16", "FLOAT16", "BFLOAT16"), 16),
}
"""Bits of an element by ONNX type; every other type counts as 32, the widest that the cost models know."""


def read_graph(path: Path) -> OnnxGraph:
    """Return the graph of an ONNX file; an open first dimension of an input is the batch, and becomes 1.

    Shapes come from ONNX's own rules, node by node; sizes that nodes compute from shapes are worked out. Weights in
    external files are not loaded.

    Raises:
        NetworkError: the package onnx is not installed, the file is no ONNX model, its shapes contradict each
            other, or an input has an open dimension other than the first.
    """
    try:
        import onnx  # noqa: PLC0415
        import onnx.inliner  # noqa: PLC0415

        from hwmodels.workload.onnx_batch import fix_batch  # noqa: PLC0415
        from hwmodels.workload.onnx_shapes import ShapeWalk  # noqa: PLC0415
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
    fix_batch(model.graph, path)
    try:
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
        return _graph(model, ShapeWalk(model, path.parent), path)
    except Exception as error:  # onnx raises a dozen types on malformed models, RuntimeError among them
        what = f"its shapes cannot be inferred ({_first_line(error)})"
        raise NetworkError(f"{path}: {what}; run onnx.checker.check_model on it, and export it anew") from error


def _first_line(error: Exception) -> str:
    """Return the start of an error's text, on one line."""
    return " ".join(str(error).split())[:200]


def _graph(model: onnx.ModelProto, found: ShapeWalk, path: Path) -> OnnxGraph:
    """Return the records of a model whose shapes are known."""
    import onnx  # noqa: PLC0415

    from hwmodels.workload.onnx_batch import known_shape  # noqa: PLC0415

    types = {number: name for name, number in onnx.TensorProto.DataType.items()}
    values = {
        name: OnnxValue(
            known_shape(kind), _WIDTHS.get(types.get(number, ""), WIDEST_BITS), "INT" in types.get(number, "")
        )
        for name, kind in found.types.items()
        if kind.HasField("tensor_type")
        for number in [kind.tensor_type.elem_type]
    }
    return OnnxGraph(
        path=path,
        producer=model.producer_name,
        properties={entry.key: entry.value for entry in model.metadata_props},
        inputs=tuple(entry.name for entry in model.graph.input if entry.name not in found.tensors),
        outputs=tuple(entry.name for entry in model.graph.output),
        nodes=tuple(_named(found.nodes)),
        values=values,
        tensors=found.tensors,
        arrays=found.arrays,
    )


def _named(nodes: Iterable[onnx.NodeProto]) -> Iterator[OnnxNode]:
    """Return nodes whose names differ: one without a name is called as its first result."""
    import onnx  # noqa: PLC0415

    plain = {onnx.AttributeProto.AttributeType.Value(kind) for kind in ("INT", "INTS", "FLOAT", "FLOATS", "STRING")}
    taken: set[str] = set()
    for index, node in enumerate(nodes):
        name = node.name.strip() or node.output[0].strip() or node.op_type
        name = f"{name} (node {index})" if name in taken else name
        taken.add(name)
        bodies = [entry.g for entry in node.attribute if entry.HasField("g")]
        yield OnnxNode(
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
