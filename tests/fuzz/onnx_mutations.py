"""Damage within an ONNX file that still is one: shapes, attributes, names, kinds and values that no exporter writes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import onnx

OPERATORS = (
    *(
        "Conv",
        "Gemm",
        "MatMul",
        "Add",
        "Mul",
        "Relu",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "Reshape",
        "Flatten",
    ),
    *("Flatten", "Transpose", "Concat", "QuantizeLinear", "DequantizeLinear", "BatchNormalization", "Gather"),
    *(
        "Unsqueeze",
        "Pad",
        "ConvTranspose",
        "Constant",
        "Split",
        "Resize",
        "If",
        "Loop",
        "Quant",
        "NoSuch",
        "Div",
        "Cast",
    ),
)
INTEGERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 7, 64, 65_536, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
NAMES = ("", "x", "images", "logits", "a" * 3000, "\x1b[2J", "a\nb", "../../outside", "é")


def damage_onnx(chance: random.Random, sound: Sequence[bytes]) -> bytes:
    """One to four things of the graph changed."""
    model = onnx.load_from_string(chance.choice(sound))
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice((_node, _node, _attribute, _tensor, _shape, _model))(model, chance)
    return bytes(model.SerializeToString())


def _node(model: onnx.ModelProto, chance: random.Random) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    place = chance.randrange(len(nodes))
    node, kind = nodes[place], chance.randrange(7)
    if kind == 0:
        node.op_type = chance.choice(OPERATORS)
    elif kind == 1:
        del nodes[place]
    elif kind == 2:
        nodes.add().CopyFrom(node)
    elif kind == 3 and node.input:
        node.input[chance.randrange(len(node.input))] = _name(model, chance)
    elif kind == 4 and node.input:
        del node.input[chance.randrange(len(node.input))]
    elif kind == 5 and node.output:
        node.output[chance.randrange(len(node.output))] = _name(model, chance)
    else:
        node.input.append(_name(model, chance))


def _name(model: onnx.ModelProto, chance: random.Random) -> str:
    """That of some tensor of the graph, or of none."""
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return str(chance.choice((*names, *(tensor.name for tensor in model.graph.initializer), *NAMES)))


def _attribute(model: onnx.ModelProto, chance: random.Random) -> None:
    attributes = [(node, each) for node in model.graph.node for each in node.attribute]
    if not attributes:
        return
    node, attribute = chance.choice(attributes)
    kind = chance.randrange(6)
    if kind == 0:
        node.attribute.remove(attribute)
    elif kind == 1:
        attribute.name = chance.choice(("group", "strides", "pads", "axis", "perm", "kernel_shape", "x", ""))
    elif kind == 2:
        attribute.type = chance.choice(list(onnx.AttributeProto.AttributeType.values()))
    elif kind == 3:
        attribute.i = chance.choice(INTEGERS)
        attribute.f = chance.choice((float("nan"), float("inf"), -1.0, 1e308 if chance.random() < 0 else 3e38))
    else:
        values = [chance.choice(INTEGERS) for _ in range(chance.choice((0, 1, 2, 3, 4, 40)))]
        del attribute.ints[:]
        attribute.ints.extend(values)


def _tensor(model: onnx.ModelProto, chance: random.Random) -> None:
    tensors = model.graph.initializer
    if not tensors:
        return
    place = chance.randrange(len(tensors))
    tensor, kind = tensors[place], chance.randrange(7)
    if kind == 0:
        del tensors[place]
    elif kind == 1:
        tensor.data_type = chance.choice(list(onnx.TensorProto.DataType.values()))
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: chance.randrange(len(tensor.raw_data) + 1)]
    elif kind == 3:
        tensor.raw_data = chance.randbytes(len(tensor.raw_data))
    elif kind == 4:
        tensor.name = _name(model, chance)
    elif kind == 5:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", chance.choice(("../../outside", "/etc/hostname", "weights.bin", ""))
    else:
        _other_sizes(tensor.dims, chance)


def _shape(model: onnx.ModelProto, chance: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    kind = chance.choice(values).type.tensor_type
    dims = kind.shape.dim
    change = chance.randrange(5)
    if change == 0 or not dims:
        kind.elem_type = chance.choice(list(onnx.TensorProto.DataType.values()))
    elif change == 1:
        dims[chance.randrange(len(dims))].dim_param = chance.choice(NAMES)
    elif change == 2:
        del dims[chance.randrange(len(dims))]
    elif change == 3:
        dims.add().dim_value = chance.choice(INTEGERS)
    else:
        dims[chance.randrange(len(dims))].dim_value = chance.choice(INTEGERS)


def _model(model: onnx.ModelProto, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0 and model.opset_import:
        model.opset_import[0].version = chance.choice((-1, 0, 1, 6, 11, 14, 99, 2**40))
    elif kind == 1:
        model.ir_version = chance.choice((0, 1, 3, 99, 2**40))
    elif kind == 2:
        del model.graph.input[:]
    else:
        model.graph.name = chance.choice(NAMES)


def _other_sizes(dims: list[int], chance: random.Random) -> None:
    if len(dims) and chance.random() < 0.7:
        dims[chance.randrange(len(dims))] = chance.choice(INTEGERS)
    else:
        dims.append(chance.choice(INTEGERS))
