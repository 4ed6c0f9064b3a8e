"""ONNX files as networks: each kind of layer, tensors and their lives, widths of quantised files, broken files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwmodels import ActivationTensor, LayerShape, peak_activation_bytes
from hwmodels.errors import NetworkError
from hwmodels.workload.network import Network
from hwmodels.workload.onnx_network import OnnxNetwork, read_onnx, read_onnx_jobs

REPOSITORY = Path(__file__).parents[3]
Sizes = Sequence[int | str | None]


class File:
    """An ONNX file being written; every weight is 1 unless stated."""

    def __init__(self, *shape: int | str | None, name: str = "x", kind: int = TensorProto.FLOAT) -> None:
        self.inputs = [helper.make_tensor_value_info(name, kind, shape)]
        self.outputs: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.producer = "test"
        self.result = TensorProto.FLOAT

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def ones(self, name: str, *shape: int) -> str:
        return self.constant(name, np.ones(shape))

    def codes(self, name: str, values: Any, kind: int = TensorProto.INT8) -> str:
        array = np.asarray(values)
        self.initializers.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist()))
        return name

    def node(self, operator: str, *inputs: str, out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [out], name=out, **attributes))
        return out

    def dequantized(self, codes: str) -> str:
        """Constant codes behind a DequantizeLinear."""
        return self.node("DequantizeLinear", codes, self.constant(f"{codes}/scale", 0.5), out=f"{codes}/float")

    def quantized(self, value: str, bits: int = 8) -> str:
        """An activation behind QuantizeLinear and DequantizeLinear, its codes clipped below 8 bits."""
        grid = self.constant(f"{value}/scale", 0.1), self.constant(f"{value}/zero", 0, np.uint8)
        codes = self.node("QuantizeLinear", value, *grid, out=f"{value}/codes")
        if bits < 8:
            top = self.constant(f"{value}/top", 2**bits - 1, np.uint8)
            codes = self.node("Clip", codes, "", top, out=f"{value}/clipped")
        return self.node("DequantizeLinear", codes, *grid, out=f"{value}/quantized")

    def model(self, *outputs: str) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(name, self.result, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "test", self.inputs, results, self.initializers)
        opset = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10, producer_name=self.producer)

    def save(self, folder: Path, *outputs: str) -> Path:
        onnx.save_model(self.model(*outputs), folder / "net.onnx")
        return folder / "net.onnx"

    def read(self, folder: Path, *outputs: str) -> Network:
        return read_onnx(self.save(folder, *outputs))

    def jobs(self, folder: Path, *outputs: str) -> OnnxNetwork:
        return read_onnx_jobs(self.save(folder, *outputs))


def reasons(network: Network) -> dict[str, str]:
    return dict(network.skipped)


def test_a_convolution(tmp_path: Path) -> None:
    file = File("N", 3, 32, 30)
    file.node("Conv", "x", file.ones("w", 16, 3, 5, 3), out="conv", strides=[2, 2], pads=[2, 1, 2, 1])
    (layer,) = file.read(tmp_path, "conv").layers
    assert layer == LayerShape(
        name="conv",
        kind="conv",
        in_channels=3,
        out_channels=16,
        kernel_h=5,
        kernel_w=3,
        in_h=32,
        in_w=30,
        out_h=16,
        out_w=15,
        stride_h=2,
        stride_w=2,
        bias=False,
    )


def test_a_depthwise_convolution_of_a_batch_with_bias(tmp_path: Path) -> None:
    file = File(4, 8, 10, 10)
    file.node("Conv", "x", file.ones("w", 16, 1, 3, 3), file.ones("b", 16), out="conv", group=8, dilations=[2, 2])
    (layer,) = file.read(tmp_path, "conv").layers
    assert (layer.batch, layer.groups, layer.bias) == (4, 8, True)
    assert (layer.m, layer.k, layer.n, layer.weights) == (4 * 6 * 6, 9, 2, 144)
    assert (layer.dilation_h, layer.dilation_w) == (2, 2)


@pytest.mark.parametrize(
    ("sizes", "kernel", "expected"),
    [((20,), (3,), (18, 3)), ((6, 8, 10), (2, 3, 3), (5 * 6 * 8, 2 * 3 * 3))],
    ids=["one axis", "three axes"],
)
def test_convolutions_of_other_than_two_axes(
    sizes: tuple[int, ...], kernel: tuple[int, ...], expected: tuple[int, int], tmp_path: Path
) -> None:
    file = File(1, 4, *sizes)
    file.node("Conv", "x", file.ones("w", 8, 4, *kernel), out="conv")
    (layer,) = file.read(tmp_path, "conv").layers
    positions, window = expected
    assert (layer.m, layer.k, layer.n, layer.inputs) == (positions, window * 4, 8, 4 * int(np.prod(sizes)))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_the_convolution_back(groups: int, tmp_path: Path) -> None:
    file = File(1, 8, 5, 5)
    file.node("ConvTranspose", "x", file.ones("w", 8, 6 // groups, 3, 3), out="up", strides=[2, 2], group=groups)
    (layer,) = file.read(tmp_path, "up").layers
    assert layer.macs == 5 * 5 * 8 * (6 // groups) * 9
    assert layer.weights == 8 * (6 // groups) * 9
    assert (layer.inputs, layer.outputs) == (6 * 11 * 11, 8 * 5 * 5)


@pytest.mark.parametrize(
    ("shape", "attributes"), [((64, 10), {}), ((10, 64), {"transB": 1})], ids=["plain", "transposed"]
)
def test_gemm(shape: tuple[int, int], attributes: dict[str, int], tmp_path: Path) -> None:
    file = File("batch", 64)
    file.node("Gemm", "x", file.ones("w", *shape), file.ones("b", 10), out="fc", **attributes)
    (layer,) = file.read(tmp_path, "fc").layers
    assert layer == LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)


def test_a_linear_layer_over_positions_and_its_bias(tmp_path: Path) -> None:
    file = File(2, 7, 64)
    file.node("MatMul", "x", file.ones("w", 64, 10), out="product")
    file.node("Add", "product", file.ones("b", 10), out="fc")
    network = file.read(tmp_path, "fc")
    (layer,) = network.layers
    assert (layer.kind, layer.batch, layer.bias) == ("linear", 2, True)
    assert (layer.m, layer.k, layer.n) == (14, 64, 10)
    assert reasons(network) == {"fc": "it is counted as the bias of 'product'"}
    assert [tensor.elements for tensor in network.tensors] == [2 * 7 * 64, 2 * 7 * 10]


def test_constants_on_the_left_and_stacks_of_them(tmp_path: Path) -> None:
    file = File(1, 4, 7, 64)
    file.node("MatMul", file.ones("mix", 5, 7), "x", out="left")
    file.node("MatMul", "x", file.ones("stack", 4, 64, 3), out="stacked")
    left, stacked = file.read(tmp_path, "left", "stacked").layers
    assert (left.kind, left.m, left.k, left.n) == ("linear", 4 * 64, 7, 5)
    assert (stacked.kind, stacked.m, stacked.k, stacked.n, stacked.groups) == ("conv", 7, 64, 3, 4)
    assert stacked.macs == 4 * 7 * 64 * 3


def test_attention(tmp_path: Path) -> None:
    tokens, width, heads = 9, 32, 4
    file = File(1, tokens, width)
    split = file.constant("split", [1, tokens, heads, width // heads], np.int64)
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        file.node("MatMul", "x", file.ones(f"{name}/weight", width, width), out=name)
        file.node("Reshape", name, split, out=f"{name}/heads")
        file.node("Transpose", f"{name}/heads", out=f"{name}/turned", perm=order)
    file.node("MatMul", "q/turned", "k/turned", out="scores")
    file.node("Softmax", "scores", out="weights", axis=-1)
    file.node("MatMul", "weights", "v/turned", out="mixed")
    network = file.read(tmp_path, "mixed")
    scores, softmax, mixed = network.layers[3:]
    assert (scores.kind, scores.groups, scores.m, scores.k, scores.n) == ("matmul", heads, tokens, 8, tokens)
    assert (mixed.kind, mixed.groups, mixed.m, mixed.k, mixed.n) == ("matmul", heads, tokens, tokens, 8)
    assert (scores.weights, scores.bias) == (0, False)
    assert (softmax.kind, softmax.vector_operations) == ("activation", heads * tokens * tokens)
    assert reasons(network)["q/turned"] == "Transpose moves data; its time and energy are not counted"
    by_name = {tensor.name: tensor for tensor in network.tensors}
    assert by_name["weights"].readers == (5,), "a softmax does not run in place"
    keys = by_name["k/turned"]
    assert (keys.writers, keys.readers, keys.second_readers) == ((), (), (3,)), "read in the place of weights"


def test_pools(tmp_path: Path) -> None:
    file = File(2, 6, 12, 10)
    file.node("MaxPool", "x", out="max", kernel_shape=[3, 2], strides=[2, 2])
    file.node("AveragePool", "max", out="average", kernel_shape=[2, 2])
    file.node("GlobalAveragePool", "average", out="global")
    file.node("ReduceMean", "average", file.constant("axes", [2, 3], np.int64), out="mean", keepdims=0)
    file.node("ReduceSum", "x", file.constant("channels", [1], np.int64), out="sum")
    largest, average, whole, mean, channels = file.read(tmp_path, "global", "mean", "sum").layers
    assert (largest.kernel_h, largest.kernel_w, largest.out_h, largest.out_w) == (3, 2, 5, 5)
    assert largest.vector_operations == 2 * 6 * 25 * 6
    assert (average.in_h, average.out_h) == (5, 4)
    assert (whole.kernel_h, whole.kernel_w, whole.out_h, whole.batch) == (4, 4, 1, 2)
    assert (mean.kernel_h, mean.vector_operations) == (4, whole.vector_operations)
    assert channels.vector_operations == channels.inputs == 2 * 6 * 12 * 10
    assert {layer.kind for layer in (largest, average, whole, mean, channels)} == {"pool"}


def test_functions_and_joins(tmp_path: Path) -> None:
    file = File(1, 6, 4, 5)
    file.node("Relu", "x", out="relu")
    file.node("Sum", "x", "relu", "x", out="sum")
    file.node("Mul", "sum", file.constant("half", 0.5), out="scaled")
    file.node("GlobalAveragePool", "scaled", out="squeezed")
    file.node("Mul", "scaled", "squeezed", out="gated")
    file.node("ReduceMax", "gated", out="peak", keepdims=0)
    file.node("Div", "gated", "peak", out="normed")
    norm = [file.ones(f"norm{index}", 6) for index in range(4)]
    file.node("BatchNormalization", "normed", *norm, out="batch norm")
    layers = {layer.name: layer for layer in file.read(tmp_path, "batch norm").layers}
    elements = 6 * 4 * 5
    assert (layers["sum"].kind, layers["sum"].operands, layers["sum"].vector_operations) == ("add", 3, 2 * elements)
    assert (layers["gated"].kind, layers["gated"].operands) == ("add", 2)
    for name in ("relu", "scaled", "normed", "batch norm"):
        assert (layers[name].kind, layers[name].vector_operations) == ("activation", elements), name


def test_a_residual_block_shares_and_keeps_tensors(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    for name, source in (("a", "x"), ("b", "a/relu")):
        file.node("Conv", source, file.ones(f"{name}/weight", 4, 4, 3, 3), out=name, pads=[1, 1, 1, 1])
        if name == "a":
            file.node("Relu", name, out="a/relu")
    file.node("Add", "b", "x", out="sum")
    file.node("Relu", "sum", out="relu")
    file.node("Identity", "relu", out="out")
    network = file.read(tmp_path, "out")
    assert [layer.name for layer in network.layers] == ["a", "a/relu", "b", "sum", "relu"]
    tensor: dict[str, Any] = {"elements": 256, "bits": 32}
    assert network.tensors == (
        ActivationTensor(name="x", first_step=0, last_step=3, readers=(0, 3), external=True, **tensor),
        ActivationTensor(name="a", first_step=0, last_step=2, writers=(0, 1), readers=(1, 2), **tensor),
        ActivationTensor(name="b", first_step=2, last_step=3, writers=(2,), readers=(3,), **tensor),
        ActivationTensor(name="sum", first_step=3, last_step=4, writers=(3, 4), readers=(4,), external=True, **tensor),
    )
    assert peak_activation_bytes(network.tensors) == 3 * 256 * 4


def test_a_function_of_what_others_read_writes_a_tensor_of_its_own(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    file.node("Conv", "x", file.ones("w", 4, 4, 1, 1), out="conv")
    file.node("Sigmoid", "conv", out="gate")
    file.node("Mul", "conv", "gate", out="silu")
    network = file.read(tmp_path, "silu")
    assert [tensor.name for tensor in network.tensors] == ["x", "conv", "gate", "silu"]
    file = File(1, 4, 8, 8)
    file.node("Relu", "x", out="relu")
    assert [tensor.name for tensor in file.read(tmp_path, "relu").tensors] == ["x", "relu"]


def test_views_share_and_movements_copy(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    file.node("Relu", "x", out="relu")
    file.node("Conv", "relu", file.ones("w", 4, 4, 1, 1), out="conv")
    file.node("Concat", "relu", "conv", out="joined", axis=1)
    file.node("Flatten", "joined", out="flat")
    file.node("MatMul", "flat", file.ones("fc/weight", 512, 10), out="fc")
    network = file.read(tmp_path, "fc")
    lives = {tensor.name: (tensor.elements, tensor.first_step, tensor.last_step) for tensor in network.tensors}
    assert lives == {
        "x": (256, 0, 0),
        "relu": (256, 0, 2),
        "conv": (256, 1, 2),
        "joined": (512, 2, 2),
        "fc": (10, 2, 2),
    }
    assert set(reasons(network)) == {"joined", "flat"}


def test_padding_before_a_layer_is_no_input(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    file.node("Pad", "x", file.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64), out="padded")
    file.node("Conv", "padded", file.ones("w", 4, 4, 3, 3), out="conv")
    network = file.read(tmp_path, "conv")
    (layer,) = network.layers
    assert (layer.in_h, layer.in_w, layer.out_h) == (8, 8, 8)
    assert [tensor.elements for tensor in network.tensors] == [256, 256]


def test_what_depends_on_constants_alone_is_done_before(tmp_path: Path) -> None:
    file = File(1, 16)
    file.nodes.append(helper.make_node("Constant", [], ["two"], value_float=2.0))
    file.node("Mul", file.ones("w", 8, 16), "two", out="scaled")
    file.node("Transpose", "scaled", out="turned")
    file.node("MatMul", "x", "turned", out="fc")
    file.node("Shape", "fc", out="shape")
    file.node("Reshape", "fc", "shape", out="same")
    network = file.read(tmp_path, "same")
    assert [(layer.kind, layer.k, layer.n) for layer in network.layers] == [("linear", 16, 8)]
    assert set(reasons(network)) == {"same"}


def test_an_unknown_operation_is_reported(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    file.node("Einsum", "x", "x", out="einsum", equation="nchw,nchw->nchw")
    file.node("Conv", "einsum", file.ones("w", 4, 4, 1, 1), out="conv")
    file.node("Twist", "conv", out="twisted", domain="mine")
    file.node("Relu", "twisted", out="relu")
    network = file.read(tmp_path, "relu")
    assert [layer.name for layer in network.layers] == ["conv"]
    assert reasons(network)["einsum"] == "Einsum is not modelled; nothing of it is counted"
    assert reasons(network)["twisted"] == (
        "mine.Twist is not modelled; nothing of it is counted, and its result, whose size is not known, takes no "
        "memory here"
    )
    assert "relu" in reasons(network)
    assert "the shape of 'relu' is not known" in reasons(network)["relu"]


def test_branches_read_from_outside(tmp_path: Path) -> None:
    file = File(1, 4)
    file.node("MatMul", "x", file.ones("w", 4, 4), out="fc")
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    body = helper.make_graph([helper.make_node("Neg", ["fc"], ["y"])], "body", [], results)
    file.node("ReduceMax", "x", out="largest", keepdims=0)
    file.node("Cast", "largest", out="which", to=TensorProto.BOOL)
    file.node("If", "which", out="if", then_branch=body, else_branch=body)
    file.node("Relu", "x", out="relu")
    network = file.read(tmp_path, "if", "relu")
    assert reasons(network)["if"].startswith("If is not modelled; nothing of it is counted")
    assert {tensor.name: tensor.last_step for tensor in network.tensors}["fc"] == 2


def test_a_function_is_read_through(tmp_path: Path) -> None:
    file = File(1, 4)
    file.node("Twice", "x", out="twice", domain="mine")
    model = file.model("twice")
    opset = [helper.make_opsetid("", 21)]
    model.functions.append(
        helper.make_function("mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opset)
    )
    onnx.save_model(model, tmp_path / "net.onnx")
    (layer,) = read_onnx(tmp_path / "net.onnx").layers
    assert (layer.kind, layer.operands) == ("add", 2)


def test_names_differ(tmp_path: Path) -> None:
    file = File(1, 4)
    for out, source, name in (("a", "x", ""), ("b", "a", "relu"), ("c", "b", "relu")):
        file.nodes.append(helper.make_node("Relu", [source], [out], name=name))
    assert [layer.name for layer in file.read(tmp_path, "c").layers] == ["a", "relu", "relu (node 2)"]


def convolution_pair(weights: str, file: File, activation_bits: tuple[int, int] = (8, 8)) -> File:
    """A quantised convolution, Relu, quantisation, and a second convolution to float results."""
    source = file.quantized("x", activation_bits[0])
    file.node("Conv", source, weights, out="a")
    file.node("Relu", "a", out="relu")
    hidden = file.quantized("relu", activation_bits[1])
    file.node("Conv", hidden, file.ones("b/weight", 2, 4, 1, 1), out="b")
    return file


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        (TensorProto.INT8, 8),
        (TensorProto.UINT8, 8),
        (TensorProto.INT4, 4),
        (TensorProto.UINT4, 4),
        (TensorProto.INT16, 16),
    ],
)
def test_weights_are_as_wide_as_their_type(kind: int, bits: int, tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    codes = np.arange(16).reshape(4, 4, 1, 1) % 4
    read = convolution_pair(file.dequantized(file.codes("w", codes, kind)), file).jobs(tmp_path, "b")
    first, relu, second = read.jobs
    assert (first.weight_bits, first.input_bits, first.output_bits, first.density) == (bits, 8, 8, 0.75)
    assert (relu.input_bits, relu.output_bits) == (8, 8), "it runs on what the first layer stores"
    assert (second.weight_bits, second.input_bits, second.output_bits) == (32, 8, 32)
    assert read.states_widths
    assert [(tensor.name, tensor.bits) for tensor in read.network.tensors] == [("x", 8), ("a", 8), ("b", 32)]
    assert read.network == read_onnx(tmp_path / "net.onnx")


def test_clipped_codes_are_narrower(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    read = convolution_pair(file.dequantized(file.codes("w", np.ones((4, 4, 1, 1), int))), file, (5, 3)).jobs(
        tmp_path, "b"
    )
    assert [job.input_bits for job in read.jobs] == [5, 3, 3]
    assert [tensor.bits for tensor in read.network.tensors] == [5, 3, 32]
    assert reasons(read.network)["x/clipped"] == "Clip states a width and computes nothing that is counted"


@pytest.mark.parametrize(
    ("low", "high", "dtype", "bits"),
    [(-4, 3, np.int8, 3), (-3, 4, np.int8, 4), (0, 7, np.int8, 3), (None, 3, np.int8, 8), (-4, None, np.int8, 8)],
)
def test_signed_codes_between_bounds(low: int | None, high: int | None, dtype: Any, bits: int, tmp_path: Path) -> None:
    file = File(1, 4)
    grid = file.constant("scale", 0.1), file.constant("zero", 0, dtype)
    file.node("QuantizeLinear", "x", *grid, out="codes")
    bounds = ["" if bound is None else file.constant(f"bound {bound}", bound, dtype) for bound in (low, high)]
    file.node("Clip", "codes", *bounds, out="clipped")
    file.node("DequantizeLinear", "clipped", *grid, out="float")
    file.node("MatMul", "float", file.ones("w", 4, 4), out="fc")
    (job,) = file.jobs(tmp_path, "fc").jobs
    assert job.input_bits == bits


def test_weights_of_an_own_export_are_as_wide_as_their_codes(tmp_path: Path) -> None:
    codes = np.array([[-15, 15], [3, 0]]).reshape(2, 2, 1, 1)
    for producer, bits in (("test", 8), ("explorer", 5)):
        file = File(1, 2, 8, 8)
        file.producer = producer
        file.node("Conv", "x", file.dequantized(file.codes("w", codes)), out="conv")
        (job,) = file.jobs(tmp_path, "conv").jobs
        assert (job.weight_bits, job.density, job.entropy_bits) == (bits, 0.75, 2.0)


def test_a_tensor_is_as_wide_as_its_widest_reader(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    file.node("Conv", "x", file.ones("a/weight", 4, 4, 1, 1), out="a")
    narrow = file.node("Identity", "a", out="also a")
    file.node("Conv", file.quantized("a", 8), file.ones("b/weight", 4, 4, 1, 1), out="b")
    file.node("Conv", file.quantized(narrow, 3), file.ones("c/weight", 4, 4, 1, 1), out="c")
    file.node("Add", "b", "c", out="sum")
    jobs = {job.shape.name: job for job in file.jobs(tmp_path, "sum").jobs}
    assert jobs["a"].output_bits == 8
    assert (jobs["b"].input_bits, jobs["b"].stored_input_bits) == (8, None)
    assert (jobs["c"].input_bits, jobs["c"].stored_input_bits) == (3, 8)


def test_a_maximum_is_as_wide_as_what_it_is_quantised_to(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8)
    file.node("Conv", "x", file.ones("w", 4, 4, 1, 1), out="conv")
    file.node("MaxPool", "conv", out="pool", kernel_shape=[2, 2], strides=[2, 2])
    file.node("GlobalAveragePool", file.quantized("pool", 4), out="mean")
    read = file.jobs(tmp_path, "mean")
    assert [job.output_bits for job in read.jobs] == [4, 4, 32]
    assert [tensor.bits for tensor in read.network.tensors] == [32, 4, 4, 32]


def test_a_product_of_activations_has_the_width_of_its_second_operand(tmp_path: Path) -> None:
    file = File(1, 8, 8)
    file.node("Relu", "x", out="a")
    file.node("Sigmoid", "x", out="b")
    file.node("MatMul", file.quantized("a", 8), file.quantized("b", 4), out="product")
    job = file.jobs(tmp_path, "product").jobs[-1]
    assert (job.shape.kind, job.input_bits, job.weight_bits, job.density) == ("matmul", 8, 4, 1.0)


def test_integer_operators(tmp_path: Path) -> None:
    file = File(1, 4, 8, 8, kind=TensorProto.UINT8)
    file.result = TensorProto.INT32
    grid = file.constant("scale", 0.1), file.constant("zero", 0, np.uint8)
    signed = file.constant("signed zero", 0, np.int8)
    weights = file.codes("w", np.ones((6, 4, 3, 3), int))
    file.node("QLinearConv", "x", *grid, weights, grid[0], signed, *grid, out="conv")
    file.node("ConvInteger", "conv", file.codes("v", np.ones((2, 6, 1, 1), int)), grid[1], signed, out="sums")
    first, second = file.jobs(tmp_path, "sums").jobs
    assert (first.shape.m, first.shape.k, first.shape.n, first.shape.bias) == (36, 36, 6, False)
    assert (first.weight_bits, first.input_bits, first.output_bits) == (8, 8, 8)
    assert (second.weight_bits, second.input_bits, second.output_bits) == (8, 8, 32)


@pytest.mark.parametrize(
    ("values", "density"), [([[0, 1], [0, 3]], 0.5), ([[0, 0], [0, 0]], 1.0)], ids=["half", "no weights at all"]
)
def test_density_of_float_weights(values: list[list[int]], density: float, tmp_path: Path) -> None:
    file = File(1, 2)
    file.node("MatMul", "x", file.constant("w", values), out="fc")
    read = file.jobs(tmp_path, "fc")
    assert (read.jobs[0].density, read.jobs[0].entropy_bits) == (density, None)
    assert (read.jobs[0].weight_bits, read.states_widths) == (32, False)


def test_zero_points_are_no_zeros(tmp_path: Path) -> None:
    file = File(1, 2)
    zero = file.constant("zero", 128, np.uint8)
    codes = file.constant("w", [[0, 128], [0, 3]], np.uint8)
    file.node("DequantizeLinear", codes, file.constant("scale", 0.1), zero, out="float")
    file.node("MatMul", "x", "float", out="fc")
    assert file.jobs(tmp_path, "fc").jobs[0].density == 1.0


def test_external_weights(tmp_path: Path) -> None:
    file = File(1, 64)
    weights = np.ones((64, 64))
    weights[:16] = 0
    file.node("MatMul", "x", file.constant("w", weights), out="fc")
    onnx.save_model(
        file.model("fc"), tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0
    )
    assert read_onnx_jobs(tmp_path / "net.onnx").jobs[0].density == 0.75
    (tmp_path / "net.data").unlink()
    read = read_onnx_jobs(tmp_path / "net.onnx")
    assert (read.jobs[0].density, read.network.macs) == (1.0, 4096)
    assert reasons(read.network)["fc"] == (
        "its weights cannot be read (is their external file missing?): they count as dense"
    )


@pytest.mark.parametrize("first", ["N", None, -1, 1], ids=["symbol", "unnamed", "negative", "fixed"])
def test_an_open_batch_is_one_image(first: int | str | None, tmp_path: Path) -> None:
    file = File(first, 3, 8, 8)
    file.node("Conv", "x", file.ones("w", 4, 3, 1, 1), out="conv")
    file.node("Reshape", "conv", file.constant("shape", [-1, 256], np.int64), out="flat")
    model = file.model("flat")
    model.graph.value_info.append(helper.make_tensor_value_info("conv", TensorProto.FLOAT, ["N", 4, "other", 8]))
    onnx.save_model(model, tmp_path / "net.onnx")
    (layer,) = read_onnx(tmp_path / "net.onnx").layers
    assert (layer.batch, layer.m) == (1, 64)


def broken(name: str) -> File:
    """A file with one thing wrong."""
    file = File(1, 3, "height", None) if name == "open" else File(1, 3, 8, 8)
    channels = 4 if name == "channels" else 3
    source = {"order": "nowhere", "unknown": "twisted"}.get(name, "x")
    if name == "unknown":
        file.node("Twist", "x", out="twisted", domain="mine")
    if name == "groups":
        file.node("Conv", "x", file.ones("w", 4, 1, 1, 1), out="conv", group=3)
    elif name == "gemm":
        file.node("Gemm", "x", file.ones("w", 3, 3), out="conv")
    elif name == "no layer":
        file.node("Identity", "x", out="conv")
    else:
        file.node("Conv", source, file.ones("w", 4, channels, 1, 1), out="conv")
    if name == "no shape":
        file.inputs[0].type.tensor_type.ClearField("shape")
    return file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open", r"net.onnx: input 'x': dimension 2 is 'height' and not a number \(only the first may be open"),
        ("open", r"net.onnx: input 'x': dimension 3 is 'open' and not a number"),
        ("no shape", r"net.onnx: input 'x': expected a tensor of known shape, received another; export the model so"),
        ("channels", r"node 'conv' \(Conv\): expected 4 input channels, as of its weights, received 3"),
        ("groups", r"net.onnx: node 'conv' \(Conv\): expected out_channels % groups == 0"),
        ("order", r"net.onnx: node 'conv' \(Conv\) reads 'nowhere', which no input and no node before it gives"),
        ("unknown", r"net.onnx: node 'conv' \(Conv\): the shape of 'twisted' is not known: ONNX infers none"),
        ("gemm", r"net.onnx: node 'conv' \(Gemm\): expected matrices, received \(1, 3, 8, 8\) and"),
        ("no layer", r"net.onnx: none of its 1 operations is a layer that can be costed"),
    ],
)
def test_a_broken_model_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        broken(name).read(tmp_path, "conv")
    assert all("\n" not in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [("MaxPool", ["conv"], {"kernel_shape": 2.5}), ("Identity", [], {})],
)
def test_a_node_that_is_not_as_onnx_defines_it_is_named(
    operator: str, inputs: list[str], attributes: dict[str, Any], tmp_path: Path
) -> None:
    file = broken("none")
    file.node(operator, *inputs, out="bad", **attributes)
    with pytest.raises(NetworkError, match=rf"node 'bad' \({operator}\) is not as ONNX defines it \(\w+: .*\); run"):
        file.read(tmp_path, "conv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"net.onnx: the file holds no ONNX model, or one without operations"),
        (b"Layer, M, N, K,\nfc, 1, 2, 3,\n", r"net.onnx: this is not an ONNX model \(.*\); check the file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", r"net.onnx: (this is not an|the file holds no) ONNX model"),
        (None, r"net.onnx: the ONNX file cannot be read .*; check the path"),
    ],
    ids=["empty", "text", "picture", "folder"],
)
def test_a_file_of_another_kind_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=message):
        read_onnx(path)
    with pytest.raises(NetworkError, match="cannot be read"):
        read_onnx(tmp_path / "none.onnx")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = convolution_pair("w", File(1, 4, 8, 8)).save(tmp_path, "b")
    content = path.read_bytes()
    for length in range(1, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(NetworkError):
            read_onnx(path)


def test_without_the_package_there_is_one_line() -> None:
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "from hwmodels import read_onnx\n"
        "try: read_onnx('net.onnx')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "net.onnx: reading an ONNX file needs the package onnx, which is not installed: pip install onnx\n"
    )
