"""Types and shapes of an ONNX graph, node by node, with the values of what nodes compute from shapes.

ONNX has a rule for each operator, and a reference implementation of the arithmetic.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.defs
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from hwmodels.workload.onnx_batch import known_shape
from hwmodels.workload.onnx_constants import Constant, constants, read_array, read_node, read_shape, read_type
from hwmodels.workload.onnx_dialects import PlainNode, translate
from hwmodels.workload.onnx_operators import QONNX_WIDTHS, VIEW_DOMAIN

SMALL = 4096
"""Elements up to which a value is worked out: shapes, paddings, bounds of slices and the like are far smaller."""
SHAPE_ARITHMETIC = frozenset(
    (
        *("Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div"),
        *("Equal", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual"),
        *("Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Range"),
        *("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "ScatterElements", "ScatterND"),
        *("Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    )
)
"""Operators that are evaluated where all that they read is known and small, and their results are small."""


_FLOAT = onnx.TensorProto.FLOAT


class ShapeWalk:
    """Goes through a graph in order; afterwards `nodes` are those of ONNX itself, `types` and `arrays` what is known.

    A branch whose condition is known takes the place of its If, and operators of known vendors are written
    as those of ONNX (`hwmodels.workload.onnx_dialects`). Where no rule gives a shape, the one that the file states
    counts.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        """Walk through the whole model, whose external files are in `folder`."""
        graph = model.graph
        self.tensors: dict[str, Constant] = constants(graph)
        self.nodes: list[onnx.NodeProto] = []
        self.types: dict[str, onnx.TypeProto] = {entry.name: entry.type for entry in graph.input}
        self.types |= {name: _constant_type(tensor) for name, tensor in self.tensors.items()}
        self.arrays: dict[str, NDArray[np.generic]] = {}
        self._folder = folder
        self._stated = _tensor_types([*graph.value_info, *graph.output])
        self._opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
        self._names = {name for node in graph.node for name in (*node.input, *node.output)}
        waiting = deque(graph.node)
        while waiting:
            node = waiting.popleft()
            branch = self._branch(node)
            if branch is None:
                for plain in translate(node, self._rank, self._free):
                    self._visit(plain)
            else:
                waiting.extendleft(reversed(branch))

    def _rank(self, name: str) -> int:
        """Return the number of axes of a value; that of images where it is not known."""
        kind = self.types.get(name)
        return len(kind.tensor_type.shape.dim) if kind is not None and kind.tensor_type.HasField("shape") else 4

    def _free(self, name: str) -> str:
        """Return a name that no value of the file has."""
        while name in self._names:
            name += "'"
        return name

    def _branch(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Return the nodes that an If stands for, where its condition is known."""
        known = self._value(node.input[0]) if node.op_type == "If" and node.input else None
        if known is None or known.size != 1:
            return None
        wanted = "then_branch" if bool(known.reshape(-1)[0]) else "else_branch"
        body = next((entry.g for entry in node.attribute if entry.name == wanted), None)
        if body is None:
            return None
        names = {name: self._free(name) for name in _given(body)}
        self._names.update(names.values())
        inside = {names[name]: tensor for name, tensor in constants(body).items()}
        self.tensors |= inside
        self.types |= {name: _constant_type(tensor) for name, tensor in inside.items()}
        self._stated |= {names.get(name, name): kind for name, kind in _tensor_types(body.value_info).items()}
        results = zip((names.get(entry.name, entry.name) for entry in body.output), node.output, strict=False)
        return [
            *_renamed(body, names),
            *(onnx.helper.make_node("Identity", [inner], [outer]) for inner, outer in results),
        ]

    def _visit(self, plain: PlainNode) -> None:
        """Note the types of a node's results, and their values where it is arithmetic on shapes."""
        node, typed = plain
        if read_node(node):
            return
        self.nodes.append(node)
        inferred = self._inferred(node, as_float=typed is not None)
        for name in filter(None, node.output):
            kind = _completed(inferred.get(name), self._stated.get(name))
            if kind is not None and typed is not None:
                source = self.types.get(typed)
                kind.tensor_type.elem_type = _FLOAT if source is None else source.tensor_type.elem_type
            if kind is not None:
                self.types[name] = kind
        self._evaluate(node)

    def _inferred(self, node: onnx.NodeProto, *, as_float: bool) -> Mapping[str, onnx.TypeProto]:
        """Return the types of a node's results by ONNX's rule for its operator; none where it does not apply.

        ONNX has many operators on floats alone, of which vendors have one on codes: its shapes are the same.
        """
        if f"{node.domain}.{node.op_type}" in QONNX_WIDTHS and node.input[:1] and node.input[0] in self.types:
            return {node.output[0]: self.types[node.input[0]]}
        # Where a step goes backwards through nothing, onnx ends the process by an assertion; also inside of a body.
        empty = node.op_type == "Slice" and node.input[:1] and 0 in (known_shape(self.types.get(node.input[0])) or ())
        if empty or any(entry.HasField("g") for entry in node.attribute):
            return {}
        types = {name: self.types[name] for name in node.input if name in self.types}
        types = {name: _float(kind) for name, kind in types.items()} if as_float else types
        values = {name: value for name in node.input if (value := self._value(name)) is not None}
        try:
            return onnx.shape_inference.infer_node_outputs(
                _schema(node, self._opsets),
                node,
                types,
                {name: onnx.numpy_helper.from_array(value, name) for name, value in values.items()},
                opset_imports=[onnx.helper.make_opsetid(*entry) for entry in self._opsets.items()],
            )
        except Exception:  # an unknown operator, shapes that contradict each other: onnx raises a dozen types
            return {}

    def _value(self, name: str) -> NDArray[np.generic] | None:
        """Return a small value that is known before a run."""
        if name in self.arrays or name not in self.tensors:
            return self.arrays.get(name)
        if not _is_small(self.types.get(name)):
            return None
        array = read_array(self.tensors[name], self._folder)
        if array is not None:
            self.arrays[name] = array
        return array

    def _evaluate(self, node: onnx.NodeProto) -> None:
        """Work out what a node computes from shapes and small constants alone."""
        if _domain(node.domain) or not all(_is_small(self.types.get(name)) for name in node.output):
            return
        if node.op_type in {"Shape", "Size"}:
            self._note_shape(node)
            return
        values = {name: self._value(name) for name in node.input if name}
        if node.op_type not in SHAPE_ARITHMETIC or not values or any(value is None for value in values.values()):
            return
        inputs, results = (
            [onnx.helper.make_tensor_value_info(name, _FLOAT, None) for name in names if name]
            for names in (values, node.output)
        )
        one = onnx.helper.make_graph([node], "one", inputs, results)
        try:
            with np.errstate(all="ignore"):
                computed = ReferenceEvaluator(one, opsets=self._opsets).run(None, values)
        except Exception:  # such as an index behind the end: the file is at fault, and the value stays unknown
            return
        for entry, array in zip(results, computed, strict=False):
            if isinstance(array, np.ndarray | np.generic) and array.size <= SMALL and array.dtype.kind in "biuf":
                self.arrays[entry.name] = np.asarray(array)

    def _note_shape(self, node: onnx.NodeProto) -> None:
        """Note the value of a Shape or Size of a tensor whose shape is known."""
        shape = known_shape(self.types.get(node.input[0])) if node.input else None
        if shape is None or math.prod(shape) >= 2**63:
            return
        bounds = {entry.name: entry.i for entry in node.attribute}
        part = np.array(shape, dtype=np.int64)[bounds.get("start") : bounds.get("end")]
        self.arrays[node.output[0]] = part if node.op_type == "Shape" else np.array(math.prod(shape), dtype=np.int64)


def _is_small(kind: onnx.TypeProto | None) -> bool:
    shape = known_shape(kind)
    return shape is not None and math.prod(shape) <= SMALL


def _completed(inferred: onnx.TypeProto | None, stated: onnx.TypeProto | None) -> onnx.TypeProto | None:
    """Return a type with the sizes that the rules give, and elsewhere those that the file states."""
    kind = onnx.TypeProto()
    source = inferred if known_shape(inferred) is not None or stated is None else stated
    if source is None:
        return None
    kind.CopyFrom(source)
    for dimension in kind.tensor_type.shape.dim if known_shape(kind) is None else ():
        if dimension.dim_value < 0:  # such as behind a padding of less than nothing: no rule may see it
            dimension.ClearField("dim_value")
    if inferred is not None and inferred.tensor_type.elem_type:
        kind.tensor_type.elem_type = inferred.tensor_type.elem_type
    return kind


def _given(body: onnx.GraphProto) -> Iterator[str]:
    """Return the names that a body gives to values: another body may use them once more."""
    yield from constants(body)
    yield from (name for node in body.node for name in node.output if name)


def _renamed(body: onnx.GraphProto, names: Mapping[str, str]) -> list[onnx.NodeProto]:
    """Return the nodes of a body with other names for its values, also where bodies inside of it read them."""
    nodes = []
    for node in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        for entry in copy.attribute:
            if entry.HasField("g"):
                inner = _renamed(entry.g, names)
                del entry.g.node[:]
                entry.g.node.extend(inner)
                for result in entry.g.output:
                    result.name = names.get(result.name, result.name)
        nodes.append(copy)
    return nodes


def _float(kind: onnx.TypeProto) -> onnx.TypeProto:
    """Return a type with elements of float32."""
    changed = onnx.TypeProto()
    changed.CopyFrom(kind)
    changed.tensor_type.elem_type = _FLOAT
    return changed


def _constant_type(tensor: Constant) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(read_type(tensor), read_shape(tensor))


def _tensor_types(entries: Iterable[onnx.ValueInfoProto]) -> dict[str, onnx.TypeProto]:
    return {entry.name: entry.type for entry in entries if entry.type.HasField("tensor_type")}


def _domain(name: str) -> str:
    """Return the name of a domain; ONNX's own is empty, also where it is written out."""
    return "" if name == "ai.onnx" else name


def _schema(node: onnx.NodeProto, opsets: Mapping[str, int]) -> onnx.defs.OpSchema:
    """Return ONNX's rules for an operator at the file's version, or the newest where that has none."""
    domain = "" if node.domain == VIEW_DOMAIN else _domain(node.domain)
    try:
        return onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return onnx.defs.get_schema(node.op_type, domain)
