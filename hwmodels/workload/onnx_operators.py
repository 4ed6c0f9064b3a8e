"""What each ONNX operator is to the cost models: a layer with its shape, a view, a movement of data, or unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from hwmodels.errors import LayerError, NetworkError
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.onnx_graph import OnnxGraph, OnnxNode


class Operands(NamedTuple):
    """Positions of a product's operands among the inputs of its node."""

    data: int
    weights: int
    bias: int | None = None


PRODUCTS: Mapping[str, Operands] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), Operands(0, 1, 2)),
    **dict.fromkeys(("MatMul", "MatMulInteger", "ConvInteger"), Operands(0, 1)),
    **{"QLinearMatMul": Operands(0, 3), "QLinearConv": Operands(0, 3, 8)},
}
MAX_POOLS = ("MaxPool", "GlobalMaxPool")
POOLS = ("MaxPool", "AveragePool", "LpPool")
REDUCTIONS = (
    *("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"),
    *("ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ArgMax", "ArgMin"),
)
"""Operators that make one number of many: a pool whose window is all that is reduced."""
JOINS = ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Pow", "Mod", "Where", "And", "Or", "Xor", "Equal")
"""Functions of two or more tensors, element by element; with constants, a function of one tensor."""
ACROSS_ELEMENTS = (
    *("Softmax", "LogSoftmax", "Hardmax", "LRN", "InstanceNormalization", "LayerNormalization"),
    *("GroupNormalization", "RMSNormalization", "LpNormalization", "MeanVarianceNormalization"),
)
"""Functions that need other elements, too, before they give one: they do not run in place."""
FUNCTIONS = (
    *ACROSS_ELEMENTS,
    *("Relu", "Clip", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu", "Swish", "Mish"),
    *("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign", "com.microsoft.Gelu"),
    *("Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Not", "IsNaN"),
    *("Sin", "Cos", "Tan", "Shrink", "BatchNormalization"),
)
"""Counted as one operation for each element of the result, whatever the function."""
KEEPS_CODES = ("Relu", "Clip", *MAX_POOLS)
"""Layers whose results are values of their input, or a bound: a quantised tensor stays as narrow as it is."""

QONNX_WIDTHS: Mapping[str, tuple[int, ...]] = {
    f"{domain}.{operator}": positions
    for domain in ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
    for operator, positions in {"Quant": (3,), "IntQuant": (3,), "Trunc": (5, 4), "BipolarQuant": ()}.items()
}
"""QONNX's quantisers -> the inputs of which the first that is there states the width; one bit needs none.

They keep shape and type of their first input. A Trunc of its second version has one input more.
"""
VIEW_DOMAIN = "hwmodels"
"""Of a Transpose that moves nothing: the operator beside it takes its axes in another order."""

QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear")
WIDTHS_ONLY = (*QUANTIZERS, "DequantizeLinear", "Cast", "CastLike", *QONNX_WIDTHS)
SAME_TENSOR = (
    *(*WIDTHS_ONLY, "Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
    f"{VIEW_DOMAIN}.Transpose",
)
PARTS = ("Slice", "Split", "Pad")
"""Runtimes read a part in place, and pad while they read."""
VIEWS = (*SAME_TENSOR, *PARTS)
MOVEMENTS = (
    *("Concat", "Transpose", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Expand"),
    *("Tile", "DepthToSpace", "SpaceToDepth", "ReverseSequence", "ConstantOfShape", "Shape", "Size", "Range"),
)
"""Operators that copy without computing; their result is a tensor of its own."""


def explain_skip(operator: str) -> str:
    """Return why an operator that is no layer is not counted."""
    if operator in {*WIDTHS_ONLY, "Clip"}:  # a Clip that is no layer narrows integer codes
        return f"{operator} states a width and computes nothing that is counted"
    if operator.startswith(VIEW_DOMAIN):
        return "it only names the axes in another order: nothing moves"
    if operator in {*VIEWS, *MOVEMENTS}:
        return f"{operator} moves data; its time and energy are not counted"
    return f"{operator} is not modelled; nothing of it is counted"


@dataclass(frozen=True, slots=True)
class Site:
    """A node in its graph; `constants` are the values that need no input, `batch` the images of one inference."""

    graph: OnnxGraph
    node: OnnxNode
    constants: Set[str]
    batch: int
    unpadded: Callable[[str], str]
    """Gives the value that stands for an input in memory, without the padding that was put around it."""

    def shape(self, value: str) -> tuple[int, ...]:
        """Return the shape of a value; NetworkError where it is not known."""
        shape = self.graph.value(value).shape
        if shape is None:
            raise self.error(f"the shape of {value!r} is not known: ONNX infers none for an operation before it")
        if 0 in shape:
            raise self.error(f"{value!r} has no elements: its shape is {shape}")
        return shape

    def error(self, what: str) -> NetworkError:
        """Return the error on this node, with the file."""
        return NetworkError(f"{self.graph.path}: node {self.node.name!r} ({self.node.operator}): {what}")

    @property
    def activations(self) -> list[str]:
        """Inputs that depend on the network's input."""
        return [name for name in self.node.inputs if name and name not in self.constants]


def read_layer_shape(site: Site) -> LayerShape | None:
    """Return the layer that a node is, or None where it is none.

    Raises:
        NetworkError: a shape is not known, or shapes contradict each other; the file and node are named.
    """
    rule = _RULES.get(site.node.operator)
    if rule is None or not site.activations:
        return None
    try:
        return LayerShape(name=site.node.name, **rule(site))
    except LayerError as error:
        raise site.error("; ".join(problem.partition(": ")[2] for problem in error.problems)) from error


def _spatial(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width: one axis is the height; of three or more all but the last make the height."""
    return (math.prod(sizes[:-1]), sizes[-1]) if len(sizes) > 1 else (math.prod(sizes), 1)


def _image(site: Site, shape: tuple[int, ...]) -> dict[str, int]:
    """Return batch, channels, height and width of a tensor of any number of axes, as those of an output."""
    has_batch = len(shape) > 1 and shape[0] == site.batch
    channels, *sizes = shape[1:] if has_batch else shape or (1,)
    height, width = _spatial(tuple(sizes))
    return {"batch": site.batch if has_batch else 1, "out_channels": channels, "out_h": height, "out_w": width}


def _positions(site: Site, count: int) -> dict[str, int]:
    """Return the positions of a product, split over the images of a batch where they are multiples of it."""
    batch = site.batch if count % site.batch == 0 else 1
    return {"batch": batch, "in_h": count // batch, "out_h": count // batch}


def _operands(site: Site) -> tuple[str, str, bool]:
    """Return data, weights, and whether there is a bias."""
    operands, inputs = PRODUCTS[site.node.operator], site.node.inputs
    if len(inputs) <= operands.weights:
        raise site.error(f"expected at least {operands.weights + 1} inputs, received {len(inputs)}")
    has_bias = operands.bias is not None and len(inputs) > operands.bias and bool(inputs[operands.bias])
    return inputs[operands.data], inputs[operands.weights], has_bias


def _convolution(site: Site) -> dict[str, Any]:
    """Return a convolution of one, two or three spatial axes."""
    data, weights, bias = _operands(site)
    before, kernel, after = _convolution_shapes(site, data, weights)
    groups = site.node.attributes.get("group", 1)
    if kernel[1] * groups != before[1]:
        raise site.error(f"expected {kernel[1] * groups} input channels, as of its weights, received {before[1]}")
    kernel_h, kernel_w = _spatial(kernel[2:])
    out_h, out_w = _spatial(after[2:])
    fields = {"kind": "conv", "batch": before[0], "groups": groups, "bias": bias}
    fields |= {"in_channels": before[1], "out_channels": after[1], "kernel_h": kernel_h, "kernel_w": kernel_w}
    return _moved(site, fields | _input_size(site, data) | {"out_h": out_h, "out_w": out_w})


def _transposed_convolution(site: Site) -> dict[str, Any]:
    """Return the convolution from output to input, of which this is the transpose.

    Products, weights and the elements of both tensors together are those of the transposed one: every input
    element meets every weight of its channel. Inputs and outputs change places.
    """
    data, weights, bias = _operands(site)
    before, kernel, after = _convolution_shapes(site, data, weights)
    groups = site.node.attributes.get("group", 1)
    if kernel[0] != before[1]:
        raise site.error(f"expected {kernel[0]} input channels, as of its weights, received {before[1]}")
    (kernel_h, kernel_w), (in_h, in_w), (out_h, out_w) = map(_spatial, (kernel[2:], after[2:], before[2:]))
    fields = {"kind": "conv", "batch": before[0], "groups": groups, "bias": bias}
    fields |= {"in_channels": after[1], "out_channels": before[1], "kernel_h": kernel_h, "kernel_w": kernel_w}
    return _moved(site, fields | {"in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w})


def _moved(site: Site, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a layer with those of how its window moves; of many axes it must reach over whole slices."""
    attributes = site.node.attributes
    axes = len(site.shape(site.node.inputs[0])) - 2
    strides, dilations = (tuple(attributes.get(key) or (1,) * axes) for key in ("strides", "dilations"))
    (stride_h, stride_w), (dilation_h, dilation_w) = _spatial(strides), _spatial(dilations)
    if axes > 2:
        stride_h = min(stride_h, -(-fields["in_h"] // fields["out_h"]))
        passed_over = fields["in_h"] - fields["out_h"] * stride_h
        dilation_h = max(1, -(-passed_over // max(fields["kernel_h"] - 1, 1)))
    return fields | {"stride_h": stride_h, "stride_w": stride_w, "dilation_h": dilation_h, "dilation_w": dilation_w}


def _convolution_shapes(site: Site, data: str, weights: str) -> list[tuple[int, ...]]:
    """Return the shapes of input, weights and output, each with a batch, channels and at least one other axis."""
    shapes = [site.shape(name) for name in (data, weights, site.node.outputs[0])]
    if {len(shape) for shape in shapes} != {max(3, len(shapes[0]))}:
        listed = ", ".join(map(str, shapes))
        raise site.error(f"expected input, weights and output of equally many axes, at least 3, received {listed}")
    return shapes


def _input_size(site: Site, data: str) -> dict[str, int]:
    """Return height and width of a layer's input without what a Pad before it has put around."""
    padded, stored = site.shape(data)[2:], site.shape(site.unpadded(data))[2:]
    in_h, in_w = _spatial(tuple(map(min, padded, stored)))
    return {"in_h": in_h, "in_w": in_w}


def _gemm(site: Site) -> dict[str, Any]:
    """Return a matrix product whose operands may be transposed."""
    data, weights, bias = _operands(site)
    if not len(site.shape(data)) == len(site.shape(weights)) == 2:
        raise site.error(f"expected matrices, received {site.shape(data)} and {site.shape(weights)}")
    rows, inner = site.shape(data)[:: -1 if site.node.attributes.get("transA") else 1]
    columns = site.shape(weights)[0 if site.node.attributes.get("transB") else 1]
    kind = "linear" if {data, weights} & site.constants else "matmul"
    return {"kind": kind, "in_channels": inner, "out_channels": columns, "bias": bias} | _positions(site, rows)


def _matrix_product(site: Site) -> dict[str, Any]:
    """Return a product of activations with weights on either side, or of two activations for each head."""
    left, right, _ = _operands(site)
    first, second = site.shape(left) or (1,), site.shape(right) or (1,)
    inner, rows = first[-1], first[-2] if len(first) > 1 else 1
    columns = second[-1] if len(second) > 1 else 1
    results = math.prod(site.shape(site.node.outputs[0]))
    if not {left, right} & site.constants:
        heads = results // (rows * columns)
        fields = {"kind": "matmul", "in_channels": inner * heads, "out_channels": columns * heads, "groups": heads}
        return fields | {"in_h": rows, "out_h": rows, "bias": False}
    stored, outputs = (second, columns) if right in site.constants else (first, rows)
    sets = math.prod(stored[:-2])
    fields = {"in_channels": inner * sets, "out_channels": outputs * sets, "bias": False}
    # A stack of weight matrices, each for its own part of the input, is a grouped 1 x 1 convolution.
    fields |= {"kind": "linear"} if sets == 1 else {"kind": "conv", "groups": sets}
    return fields | _positions(site, results // (outputs * sets))


def _pool(site: Site) -> dict[str, Any]:
    """Return a pooling by a window that moves."""
    data, before = site.node.inputs[0], site.shape(site.node.inputs[0])
    kernel_h, kernel_w = _spatial(tuple(site.node.attributes.get("kernel_shape", ())))
    out_h, out_w = _spatial(site.shape(site.node.outputs[0])[2:])
    fields = {"kind": "pool", "batch": before[0], "in_channels": before[1], "out_channels": before[1]}
    fields |= {"kernel_h": kernel_h, "kernel_w": kernel_w, "out_h": out_h, "out_w": out_w}
    return _moved(site, fields | _input_size(site, data))


def _reduction(site: Site) -> dict[str, Any]:
    """Return a pool over all positions of each channel, or over whatever else makes one number."""
    before, results = site.shape(site.node.inputs[0]), math.prod(site.shape(site.node.outputs[0]))
    if len(before) > 2 and results == before[0] * before[1]:
        (height, width), batch, channels = _spatial(before[2:]), before[0], before[1]
    else:
        batch = site.batch if results % site.batch == 0 else 1
        channels, height, width = results // batch, math.prod(before) // results, 1
    fields = {"kind": "pool", "batch": batch, "in_channels": channels, "out_channels": channels}
    return fields | {"kernel_h": height, "kernel_w": width, "in_h": height, "in_w": width}


def _function(site: Site) -> dict[str, Any]:
    """Return a function of each element."""
    fields = _image(site, site.shape(site.node.outputs[0]))
    same = {"in_channels": fields["out_channels"], "in_h": fields["out_h"], "in_w": fields["out_w"]}
    return {"kind": "activation"} | fields | same


def _join(site: Site) -> dict[str, Any]:
    """Return an element-wise combination of activations, of which single numbers do not count."""
    operands = sum(math.prod(site.shape(name)) > 1 for name in site.activations)
    return _function(site) | ({"kind": "add", "operands": operands} if operands > 1 else {})


_RULES: Mapping[str, Callable[[Site], dict[str, Any]]] = {
    **dict.fromkeys(PRODUCTS, _matrix_product),
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv"), _convolution),
    **{"ConvTranspose": _transposed_convolution, "Gemm": _gemm},
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(JOINS, _join),
}
