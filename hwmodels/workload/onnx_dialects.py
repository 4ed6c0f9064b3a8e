"""Operators of com.microsoft, which onnxruntime's tools leave in files, written as those of ONNX.

What remains of a quantised operator is what it computes: its scales and zero points say nothing about costs, and its
codes are as wide as the types of the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import onnx
import onnx.helper

from hwmodels.workload.onnx_operators import VIEW_DOMAIN


class PlainNode(NamedTuple):
    """A node whose operator is of ONNX, and where the type of its result is from: an input, or "" for float32.

    None is ONNX's own rule for the operator.
    """

    node: onnx.NodeProto
    typed: str | None = None


class _Rule(NamedTuple):
    """An operator of ONNX, which of the vendor's inputs are its own, and the input that has the type of the result."""

    operator: str
    inputs: tuple[int, ...]
    typed: int | None = None


_NO_INPUT = 99
_MICROSOFT: Mapping[str, _Rule] = {
    **{operator: _Rule(operator, (0, 1, 2)) for operator in ("QuantizeLinear", "DequantizeLinear")},
    **{"QLinearConv": _Rule("QLinearConv", tuple(range(9))), "QLinearMatMul": _Rule("QLinearMatMul", tuple(range(8)))},
    **{
        "QLinearAdd": _Rule("Add", (0, 3), 0),
        "QLinearMul": _Rule("Mul", (0, 3), 0),
        "QGemm": _Rule("Gemm", (0, 3, 6), 8),
    },
    **{f"QLinear{name}": _Rule(name, (0,), 0) for name in ("Sigmoid", "LeakyRelu", "Softmax", "AveragePool")},
    **{"QLinearGlobalAveragePool": _Rule("GlobalAveragePool", (0,), 0), "NhwcMaxPool": _Rule("MaxPool", (0,), 0)},
    **{"FusedConv": _Rule("Conv", (0, 1, 2)), "FusedGemm": _Rule("Gemm", (0, 1, 2))},
    **{"FusedMatMul": _Rule("MatMul", (0, 1)), "MatMulIntegerToFloat": _Rule("MatMul", (0, 1), _NO_INPUT)},
    "DynamicQuantizeMatMul": _Rule("MatMul", (0, 1), _NO_INPUT),
    **dict.fromkeys(("Gelu", "FastGelu", "QuickGelu"), _Rule("Gelu", (0,))),
}
_ADDED = {"FusedConv": 3, "DynamicQuantizeMatMul": 4, "MatMulIntegerToFloat": 6}
"""Which input is added to the result, a bias or another activation."""
_TURNS = ("transA", "transB")
_KEPT = ("kernel_shape", "strides", "pads", "dilations", "group", "auto_pad", "ceil_mode", "axis")
"""Attributes on which a shape depends; all of them mean the same in ONNX."""


def translate(node: onnx.NodeProto, rank: Callable[[str], int], free: Callable[[str], str]) -> Iterator[PlainNode]:
    """Return the nodes of ONNX that a node stands for; one that is not known stays as it is.

    `rank` gives the number of axes of a value, `free` a name that nothing has yet. A function that is fused to an
    operator follows it, and one of channels that come last stands between two views.
    """
    stated = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    rule = _rule(node, stated)
    if rule is None:
        yield PlainNode(node)
        return
    inputs = [node.input[index] if index < len(node.input) else "" for index in rule.inputs]
    kept = {
        key: value for key, value in stated.items() if key in (*_KEPT, *(_TURNS if rule.operator == "Gemm" else ()))
    }
    if node.op_type.startswith("Dynamic"):
        codes = [free(f"{node.output[0]}/{part}") for part in ("codes", "scale", "zero_point")]
        yield PlainNode(onnx.helper.make_node("DynamicQuantizeLinear", inputs[:1], codes, codes[0]))
        inputs[0] = codes[0]
    for position, key in enumerate(_TURNS):
        if stated.get(key) and rule.operator == "MatMul":
            axes = rank(inputs[position])
            yield _view(inputs[position], free(f"{node.output[0]}/{key}"), (*range(axes - 2), axes - 1, axes - 2))
            inputs[position] = free(f"{node.output[0]}/{key}")
    axes = rank(inputs[0])
    channels_last = node.op_type == "NhwcMaxPool" or bool(stated.get("channels_last"))
    if channels_last:
        yield _view(inputs[0], free(f"{node.output[0]}/first"), (0, axes - 1, *range(1, axes - 1)))
        inputs[0] = free(f"{node.output[0]}/first")
    after = [*_fused(node, stated), *([("", ())] if channels_last else [])]
    results = [*(free(f"{node.output[0]}/{index}") for index in range(len(after))), node.output[0]]
    typed = rule.typed if rule.typed is None else node.input[rule.typed] if rule.typed < len(node.input) else ""
    name = node.name or node.output[0]
    yield PlainNode(onnx.helper.make_node(rule.operator, inputs, results[:1], name, **kept), typed)
    for (operator, others), source, result in zip(after, results, results[1:], strict=False):
        if operator:
            yield PlainNode(onnx.helper.make_node(operator, [source, *others], [result], f"{name}/{operator}"))
        else:
            yield _view(source, result, (0, *range(2, axes), 1))


def _rule(node: onnx.NodeProto, stated: Mapping[str, Any]) -> _Rule | None:
    """Return the rule for an operator of com.microsoft, if there is one that holds for this node."""
    if node.domain != "com.microsoft" or not node.output or stated.get("transBatchA") or stated.get("transBatchB"):
        return None
    if node.op_type == "QLinearConcat":
        return _Rule("Concat", tuple(range(2, len(node.input), 3)), 2)
    return _MICROSOFT.get(node.op_type)


def _fused(node: onnx.NodeProto, stated: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Return the operators that are fused to one, in order, with what else they read."""
    place = _ADDED.get(node.op_type, len(node.input))
    if any(node.input[place : place + 1]):
        yield "Add", node.input[place : place + 1]
    if stated.get("activation"):
        yield stated["activation"].decode(errors="replace"), ()


def _view(source: str, result: str, order: Sequence[int]) -> PlainNode:
    """Return a view of a tensor with its axes in another order."""
    return PlainNode(onnx.helper.make_node("Transpose", [source], [result], result, domain=VIEW_DOMAIN, perm=order))
