"""Operators of com.microsoft and QONNX: what onnxruntime's quantiser and optimiser write costs what its source does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from hwmodels.workload.onnx_network import OnnxNetwork, read_onnx_jobs

SHAPE = (1, 3, 8, 8)
FORMS = (
    *((form, level) for form in ("float", "operators", "qdq", "dynamic") for level in ("", "EXTENDED")),
    *(("operators", "ALL"), ("qdq", "ALL")),
)
"""All optimisations of float networks lead to layouts of one processor, which no other reads."""


def value(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)


def float_model(batch: int | str = "N") -> onnx.ModelProto:
    """A network with everything that onnxruntime fuses: convolutions, Relu, an addition, pools, linear layers."""
    rng = np.random.default_rng(0)
    constants = [
        *(
            value(rng, "a/w", 16, 3, 3, 3),
            value(rng, "a/b", 16),
            value(rng, "b/w", 16, 16, 3, 3),
            value(rng, "b/b", 16),
        ),
        *(value(rng, "c/w", 8, 32, 1, 1), value(rng, "f/w", 20, 8), value(rng, "f/b", 20), value(rng, "g/w", 20, 5)),
    ]
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "a/w", "a/b"], ["a"], "a", pads=[1, 1, 1, 1]),
        make("Relu", ["a"], ["a/relu"], "a/relu"),
        make("Conv", ["a/relu", "b/w", "b/b"], ["b"], "b", pads=[1, 1, 1, 1]),
        make("Add", ["b", "a/relu"], ["sum"], "sum"),
        make("Relu", ["sum"], ["sum/relu"], "sum/relu"),
        make("Concat", ["sum/relu", "a/relu"], ["joined"], "joined", axis=1),
        make("MaxPool", ["joined"], ["pooled"], "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", ["pooled", "c/w"], ["c"], "c"),
        make("Sigmoid", ["c"], ["gate"], "gate"),
        make("Mul", ["c", "gate"], ["gated"], "gated"),
        make("GlobalAveragePool", ["gated"], ["mean"], "mean"),
        make("Flatten", ["mean"], ["flat"], "flat"),
        make("Gemm", ["flat", "f/w", "f/b"], ["f"], "f", transB=1),
        make("Relu", ["f"], ["f/relu"], "f/relu"),
        make("MatMul", ["f/relu", "g/w"], ["y"], "g"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *SHAPE[1:]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Images(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.images: Iterator[dict[str, Any]] = iter([{"x": rng.normal(size=SHAPE).astype(np.float32)}] * 2)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.images, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float network, and what onnxruntime's quantiser makes of it."""
    folder = tmp_path_factory.mktemp("forms")
    onnx.save_model(float_model(), folder / "float.onnx")
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # the quantiser recommends preprocessing by a warning on the root logger
    for name, form in (("operators", QuantFormat.QOperator), ("qdq", QuantFormat.QDQ)):
        quantize_static(folder / "float.onnx", folder / f"{name}.onnx", Images(), quant_format=form)
    quantize_dynamic(folder / "float.onnx", folder / "dynamic.onnx")
    root.setLevel(level)
    return folder


def optimised(path: Path, level: str) -> Path:
    """What onnxruntime writes after it has fused what its level permits."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(path.with_suffix(f".{level}.onnx"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return path.with_suffix(f".{level}.onnx")


@pytest.mark.parametrize(("form", "level"), FORMS)
def test_what_onnxruntime_writes_costs_what_its_source_does(form: str, level: str, folder: Path) -> None:
    path = folder / f"{form}.onnx"
    path = optimised(path, level) if level else path
    read = read_onnx_jobs(path)
    products = sorted((job.shape.m, job.shape.k, job.shape.n) for job in read.jobs if job.shape.macs)
    assert products == sorted([(64, 27, 16), (64, 144, 16), (16, 32, 8), (1, 8, 20), (1, 20, 5)])
    widths = {(job.weight_bits, job.input_bits) for job in read.jobs if job.shape.macs}
    assert widths == {(32, 32) if form == "float" else (8, 8)}
    assert not [reason for _, reason in read.network.skipped if "not modelled" in reason or "not counted:" in reason]


def save(folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], known: Any = ()) -> OnnxNetwork:
    """Read a network from an image of 4 channels to `y`."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, stored, value_info=known)
    sets = [
        helper.make_opsetid(domain, 17 if not domain else 1)
        for domain in ("", "com.microsoft", "qonnx.custom_op.general")
    ]
    onnx.save_model(helper.make_model(graph, opset_imports=sets, ir_version=8), folder / "net.onnx")
    return read_onnx_jobs(folder / "net.onnx")


def qonnx(operator: str, *names: str, domain: str = "qonnx.custom_op.general") -> onnx.NodeProto:
    *inputs, output = names
    return helper.make_node(operator, inputs, [output], domain=domain)


GRID = {"scale": np.float32(0.5), "zero": np.float32(0)}


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas"])
@pytest.mark.parametrize("operator", ["Quant", "IntQuant"])
def test_quantisers_of_qonnx_state_widths_and_keep_shapes(operator: str, domain: str, tmp_path: Path) -> None:
    weights = np.full((6, 4, 3, 3), 0.5, np.float32)
    weights[:3] = 0.2  # becomes 0 on a grid of 0.5
    nodes = [
        qonnx(operator, "x", "scale", "zero", "eight", "xq", domain=domain),
        qonnx(operator, "w", "scale", "zero", "three", "wq", domain=domain),
        helper.make_node("Conv", ["xq", "wq"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        qonnx(operator, "relu", "scale", "zero", "four", "rq", domain=domain),
        helper.make_node("GlobalAveragePool", ["rq"], ["mean"]),
        qonnx("Trunc", "mean", "scale", "zero", "eight", "two", "y", domain=domain),
    ]
    widths = {name: np.float32(bits) for name, bits in (("two", 2), ("three", 2.6), ("four", 4), ("eight", 8))}
    read = save(tmp_path, nodes, {"w": weights, **GRID, **widths})
    conv, relu, mean = read.jobs
    assert read.states_widths
    assert (conv.weight_bits, conv.input_bits, conv.output_bits, conv.density) == (3, 8, 4, 0.5)
    assert (relu.input_bits, mean.input_bits, mean.shape.in_h) == (4, 4, 6)
    assert dict(read.network.skipped)["xq"].endswith("Quant states a width and computes nothing that is counted")


def test_two_values_take_one_bit_and_none_of_them_is_zero(tmp_path: Path) -> None:
    nodes = [qonnx("BipolarQuant", "w", "scale", "wq"), helper.make_node("Conv", ["x", "wq"], ["y"])]
    weights = np.zeros((6, 4, 1, 1), np.float32)
    (conv,) = save(tmp_path, nodes, {"w": weights, **GRID}).jobs
    assert (conv.weight_bits, conv.density) == (1, 1.0)


def test_a_width_that_no_constant_states_is_not_made_up(tmp_path: Path) -> None:
    nodes = [qonnx("Quant", "x", "scale", "zero", "bits", "xq"), helper.make_node("Conv", ["xq", "w"], ["y"])]
    for bits in (np.float32(64), np.float32(np.nan), np.zeros(0, np.float32)):
        read = save(tmp_path, nodes, {"w": np.ones((6, 4, 1, 1), np.float32), "bits": bits, **GRID})
        assert (read.jobs[0].input_bits, read.states_widths) == (32, False)


def test_a_product_of_turned_operands(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("FusedMatMul", ["x", "x"], ["scores"], domain="com.microsoft", transB=1, alpha=0.5),
        helper.make_node("Softmax", ["scores"], ["y"], axis=-1),
    ]
    product, softmax = save(tmp_path, nodes, {}).jobs
    assert (product.shape.kind, product.shape.groups, product.shape.macs) == ("matmul", 4, 4 * 8**3)
    assert softmax.shape.vector_operations == 4 * 64


def test_names_that_are_made_are_free(tmp_path: Path) -> None:
    """A fused function gets a value of its own, also where the file has one of that name."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv/0"], strides=[2, 2]),
        helper.make_node("FusedConv", ["x", "w"], ["conv"], domain="com.microsoft", activation="Relu"),
        helper.make_node("GlobalAveragePool", ["conv/0"], ["small"]),
        helper.make_node("GlobalAveragePool", ["conv"], ["y"]),
    ]
    read = save(tmp_path, nodes, {"w": np.ones((4, 4, 1, 1), np.float32)})
    assert [job.shape.kind for job in read.jobs] == ["conv", "conv", "activation", "pool", "pool"]
    assert [job.shape.in_h for job in read.jobs[3:]] == [4, 8]
