"""Shapes that nodes compute, constants wherever they may stand, branches that are known; nothing large is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwmodels.errors import NetworkError
from hwmodels.workload.network import Network
from hwmodels.workload.onnx_network import read_onnx, read_onnx_jobs

Position = Callable[[onnx.ModelProto, onnx.TensorProto], None]


def model(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], *, batch: int | str = "N", opset: int = 17
) -> onnx.ModelProto:
    """A network from an image of 3 x 8 x 8 to `y`."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def read(made: onnx.ModelProto, folder: Path) -> Network:
    onnx.save_model(made, folder / "net.onnx")
    return read_onnx(folder / "net.onnx")


def ones(*shape: int) -> np.typing.NDArray[np.float32]:
    return np.ones(shape, np.float32)


def integers(*values: int) -> np.typing.NDArray[np.int64]:
    return np.array(values, np.int64)


node = helper.make_node


@pytest.mark.parametrize("batch", [1, "N", 3])
def test_a_reshape_to_what_is_left(batch: int | str, tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["conv"]),
        node("Shape", ["conv"], ["sizes"]),
        node("Gather", ["sizes", "zero"], ["images"]),
        node("Unsqueeze", ["images", "first"], ["images/1"]),
        node("Concat", ["images/1", "rest"], ["wanted"], axis=0),
        node("Reshape", ["conv", "wanted"], ["flat"]),
        node("Gemm", ["flat", "f"], ["y"], transB=1),
    ]
    constants = {
        "w": ones(8, 3, 3, 3),
        "f": ones(5, 288),
        "zero": np.array(0),
        "first": integers(0),
        "rest": integers(-1),
    }
    network = read(model(nodes, constants, batch=batch, opset=13), tmp_path)
    assert network.macs == (36 * 216 + 288 * 5) * (batch if isinstance(batch, int) else 1)


def test_a_chunk_and_a_reflected_border(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["sizes"], start=2),
        node("Cast", ["sizes"], ["real"], to=TensorProto.FLOAT),
        node("Mul", ["real", "quarter"], ["border/real"]),
        node("Floor", ["border/real"], ["border/whole"]),
        node("Cast", ["border/whole"], ["border"], to=TensorProto.INT64),
        node("Concat", ["none", "border", "none", "border"], ["pads"], axis=0),
        node("Pad", ["x", "pads"], ["padded"], mode="reflect"),
        node("Conv", ["padded", "w"], ["conv"]),
        node("Shape", ["conv"], ["after"]),
        node("Gather", ["after", "one"], ["channels"]),
        node("Div", ["channels", "two"], ["half"]),
        node("Slice", ["conv", "zero", "half", "one"], ["left"]),
        node("Conv", ["left", "v"], ["y"]),
    ]
    constants = {
        **{"w": ones(8, 3, 3, 3), "v": ones(4, 4, 1, 1), "quarter": np.float32(0.25), "none": integers(0, 0)},
        **{"zero": integers(0), "one": integers(1), "two": integers(2)},
    }
    first, second = read(model(nodes, constants), tmp_path).layers
    assert (first.in_h, first.out_h, first.macs) == (8, 10, 100 * 27 * 8)
    assert (second.in_channels, second.macs) == (4, 100 * 16)


def test_the_branch_that_is_known_is_taken(tmp_path: Path) -> None:
    """Two branches have values of one name, as exporters write them."""
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "one"], ["channels"]),
        node("Equal", ["channels", "one"], ["is one"]),
        node("Equal", ["channels", "three"], ["is three"]),
    ]
    for name, source, kernel, condition in (("a", "x", 3, "is three"), ("b", "a", 1, "is one")):
        wanted, other = (
            helper.make_graph(
                [node("Conv", [source, f"w{size}"], ["inner"]), node("Relu", ["inner"], ["result"])],
                f"{name}{size}",
                [],
                [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
                [numpy_helper.from_array(ones(3, 3, size, size), f"w{size}")],
            )
            for size in (kernel, 5)
        )
        then, otherwise = (wanted, other) if condition == "is three" else (other, wanted)
        nodes.append(node("If", [condition], [name], then_branch=then, else_branch=otherwise))
    nodes.append(node("GlobalAveragePool", ["b"], ["y"]))
    constants = {"one": np.array(1), "three": np.array(3)}
    layers = read(model(nodes, constants), tmp_path).layers
    assert [(layer.kind, layer.kernel_h, layer.out_h) for layer in layers] == [
        ("conv", 3, 6),
        ("activation", 1, 6),
        ("conv", 1, 6),
        ("activation", 1, 6),
        ("pool", 6, 1),
    ]


def constant_node(made: onnx.ModelProto, tensor: onnx.TensorProto, **attribute: Any) -> None:
    made.graph.node.insert(0, node("Constant", [], [tensor.name], **attribute))


def as_input(made: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """As files before IR version 4 list every constant."""
    made.graph.initializer.append(tensor)
    made.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def sparse(tensor: onnx.TensorProto, *, by_axis: bool = False) -> onnx.SparseTensorProto:
    array = numpy_helper.to_array(tensor)
    places = np.argwhere(array) if by_axis else np.flatnonzero(array)
    values = numpy_helper.from_array(array[array != 0], tensor.name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(places.astype(np.int64)), array.shape)


PLACES: dict[str, Position] = {
    "initializer": lambda made, tensor: made.graph.initializer.append(tensor),
    "input": as_input,
    "Constant value": lambda made, tensor: constant_node(made, tensor, value=tensor),
    "Constant values": lambda made, tensor: constant_node(
        made,
        tensor,
        **{f"value_{'ints' if tensor.data_type == 7 else 'floats'}": numpy_helper.to_array(tensor).ravel()},
    ),
    "Constant sparse_value": lambda made, tensor: constant_node(made, tensor, sparse_value=sparse(tensor)),
    "sparse initializer": lambda made, tensor: made.graph.sparse_initializer.append(sparse(tensor)),
    "sparse by axis": lambda made, tensor: made.graph.sparse_initializer.append(sparse(tensor, by_axis=True)),
    "external": lambda made, tensor: made.graph.initializer.append(tensor),
}


@pytest.mark.parametrize("place", PLACES)
def test_constants_count_wherever_they_stand(place: str, tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["x", "flat"], ["vector"]),
        node("Reshape", ["w", "square"], ["matrix"]),
        node("MatMul", ["vector", "matrix"], ["y"]),
    ]
    weights = ones(192, 4)
    weights[::2] = 0
    made = model(nodes, {})
    for name, array in (("w", weights.reshape(-1)), ("flat", integers(1, 192)), ("square", integers(192, 4))):
        PLACES[place](made, numpy_helper.from_array(array, name))
    if place == "external":
        onnx.external_data_helper.convert_model_to_external_data(made, location="net.data", size_threshold=0)
    onnx.save_model(made, tmp_path / "net.onnx")
    (job,) = read_onnx_jobs(tmp_path / "net.onnx").jobs
    assert (job.shape.kind, job.shape.macs, job.density) == ("linear", 192 * 4, 0.5)


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Range", "Tile"])
def test_nothing_large_is_worked_out(operator: str, tmp_path: Path) -> None:
    """A few bytes may ask for any amount of memory; the shape is known all the same."""
    huge = 2**50
    inputs = {
        "ConstantOfShape": {"shape": integers(huge)},
        "Expand": {"one": integers(1), "shape": integers(huge)},
        "Range": {"start": np.array(0), "limit": np.array(huge), "step": np.array(1)},
        "Tile": {"one": integers(1), "times": integers(huge)},
    }[operator]
    nodes = [
        node(operator, list(inputs), ["huge"]),
        node("Shape", ["huge"], ["sizes"]),
        node("Div", ["sizes", "many"], ["few"]),
        node("Expand", ["x", "few"], ["wide"]),
        node("GlobalAveragePool", ["wide"], ["y"]),
    ]
    network = read(model(nodes, {**inputs, "many": integers(huge)}), tmp_path)
    assert [layer.kind for layer in network.layers] == ["pool"]


def test_a_sparse_constant_may_state_any_size(tmp_path: Path) -> None:
    made = model([node("Mul", ["x", "w"], ["y"])], {})
    values = numpy_helper.from_array(ones(1), "w")
    entry = helper.make_sparse_tensor(values, numpy_helper.from_array(integers(0)), (2**40,))
    made.graph.sparse_initializer.append(entry)
    with pytest.raises(NetworkError, match="none of its 1 operations is a layer"):
        read(made, tmp_path)


def test_an_index_behind_the_end_is_one_line(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "ninth"], ["beyond"]),
        node("Reshape", ["x", "beyond"], ["flat"]),
        node("MatMul", ["flat", "w"], ["y"]),
    ]
    constants = {"ninth": integers(9), "w": ones(192, 4)}
    with pytest.raises(NetworkError, match="the shape of 'flat' is not known"):
        read(model(nodes, constants), tmp_path)


@pytest.mark.parametrize("size", [0, -3])
def test_a_slice_backwards_through_nothing_does_not_end_the_process(size: int, tmp_path: Path) -> None:
    """An assertion inside of onnx would."""
    nodes = [
        node("Pad", ["x", "pads"], ["nothing"]),
        node("Slice", ["nothing", "last", "first", "axis", "back"], ["turned"]),
        node("Relu", ["turned"], ["turned/relu"]),
        node("GlobalAveragePool", ["x"], ["y"]),
    ]
    constants = {"pads": integers(0, 0, 0, 0, 0, 0, size - 8, 0), "axis": integers(2)}
    constants |= {"last": integers(-1), "first": integers(-9), "back": integers(-1)}
    network = read(model(nodes, constants), tmp_path)
    assert [layer.kind for layer in network.layers] == ["pool"]
