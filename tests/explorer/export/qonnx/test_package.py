"""QONNX: qonnx's executor gives the network's outputs, and every reader of it sees the widths that were chosen."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_datatypes import InferDataTypes
from torch import Tensor

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.export.artefact import open_artefact
from explorer.export.qonnx import package
from explorer.export.qonnx.clear import clear_borders
from explorer.export.qonnx.run import run_qonnx
from explorer.files import refuse_foreign
from explorer.settings import QuantizerSettings
from hwmodels import read_onnx_jobs
from tests.support.deployments import make_deployment, mix_widths


def test_the_executor_gives_the_outputs_for_any_number_of_images(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    base = context("mixed")
    deployment = make_deployment(base, images("mixed", 80), mix_widths(base))
    exported = package.write(deployment, tmp_path)
    refuse_foreign(package.list_marks(tmp_path))
    assert exported.verification.agreement == 1.0
    with torch.no_grad():
        expected = deployment.model(deployment.images).numpy()
    for batch in (7, 80):
        received = run_qonnx(tmp_path / "network.onnx", deployment.images, batch)
        assert np.isclose(received, expected, atol=1e-5 * np.abs(expected).max()).mean() > 0.99
    table = json.loads((tmp_path / "summary.json").read_text())["bytes"]
    assert table["total"][1] == (tmp_path / "network.onnx").stat().st_size == exported.network_bytes
    stored = onnx.load(tmp_path / "network.onnx").graph.initializer
    sizes = {tensor.name: len(tensor.raw_data) for tensor in stored}
    assert sum(table[kind][1] for kind in ("weights", "scales", "biases", "others")) == sum(sizes.values())
    weights = sorted(size for name, size in sizes.items() if name.endswith("/weight_values"))
    assert sorted(after for _, after in table["weights_by_layer"].values()) == weights
    assert "qonnx's executor" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_readers_see_the_widths(bits: int, context: Callable[[str], CompressionContext], tmp_path: Path) -> None:
    """hwmodels reads the widths of each layer, and qonnx infers them from the nodes."""
    base = context("lenet5_digits")
    images = torch.zeros(2, *base.graph.input_shapes[0])
    path = package.try_out(make_deployment(base, images, uniform(base.graph, bits, 6)).model, base, tmp_path)
    jobs = [job for job in read_onnx_jobs(path).jobs if job.shape.kind in ("conv", "linear")]
    assert [(job.weight_bits, job.input_bits) for job in jobs] == [(bits, 6)] * len(base.graph.layers)
    model = ModelWrapper(str(path)).transform(InferDataTypes(allow_scaledint_dtypes=True))
    stored = {tensor.name for tensor in model.graph.initializer}
    weights = {node.op_type for node in model.graph.node if node.output[0].endswith("/weight")}
    assert weights == {"BipolarQuant" if bits == 1 else "Quant"}
    for node in model.graph.node:
        if (name := node.output[0]) + "/bits" in stored:
            zero_point = float(model.get_initializer(f"{name}/zero_point"))
            assert model.get_tensor_datatype(name).name == ("FLOAT32" if zero_point else "SCALEDINT<6>"), zero_point


def test_powers_of_two_make_all_of_it_integers_and_equal(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    """Zero points are even, so that no half rounds otherwise, and sums of such numbers are exact in float32."""
    plain = context("option_a")
    base = CompressionContext.of(
        plain.model,
        images("option_a", 20),
        graph=plain.graph,
        quantizer=QuantizerSettings(power_of_two=True, scale_granularity="tensor"),
    )
    deployment = make_deployment(base, images("option_a", 60), mix_widths(base))
    path = package.try_out(deployment.model, base, tmp_path)
    with torch.no_grad():
        assert np.array_equal(run_qonnx(path, deployment.images), deployment.model(deployment.images).numpy())
    model = ModelWrapper(str(path)).transform(InferDataTypes(allow_scaledint_dtypes=True))
    quantized = [node.output[0] for node in model.graph.node if node.op_type == "Quant"]
    assert quantized
    for name in quantized:
        assert model.get_tensor_datatype(name).name != "FLOAT32"


def test_weights_lie_on_their_grids(context: Callable[[str], CompressionContext], tmp_path: Path) -> None:
    base = context("mixed")
    model = make_deployment(base, torch.zeros(2, *base.graph.input_shapes[0]), mix_widths(base)).model
    stored = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(package.try_out(model, base, tmp_path)).graph.initializer
    }
    cleared = clear_borders(model)
    layers = {
        node.name: cleared.get_submodule(str(node.target)) for node in model.graph.nodes if node.op == "call_module"
    }
    checked = 0
    for node, module in layers.items():
        if f"{node}/weight_values" in stored:
            values, scale = stored[f"{node}/weight_values"], stored[f"{node}/weight_scale"]
            assert np.array_equal(np.round(values / scale), module.get_buffer("weight_codes").numpy())
            assert np.array_equal(values, module.get_parameter("weight").numpy())
            checked += 1
    assert checked == len(base.graph.layers)


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes(b"PK")
    with pytest.raises(ExportError, match=r"^verify: qonnx cannot run network\.onnx: .*; choose another --format$"):
        run_qonnx(tmp_path / "network.onnx", torch.zeros(1, 3, 8, 8))


def test_a_file_that_nothing_here_opens_says_what_it_takes(
    context: Callable[[str], CompressionContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = context("lenet5_digits")
    images = torch.zeros(2, *base.graph.input_shapes[0])
    path = package.try_out(make_deployment(base, images, uniform(base.graph, 4, 4)).model, base, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"takes qonnx, which is not installed; install it with: pip install qonnx$"):
        open_artefact(path)
