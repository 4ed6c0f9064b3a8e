"""Every operator of a file is of the layer whose weights it holds, or whose activation it writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.evaluate import hardware
from explorer.export.tflite.file import load_litert
from explorer.models.mlperf_tiny import TinyResNet8
from hwmodels import evaluate as evaluate_jobs
from hwmodels import load, read_jobs
from tests.support.exported_tflite import export_uniform, needs_litert, open_on_noise

Context = Callable[[str], CompressionContext]


def read(path: Path) -> tuple[dict[str, Any], Any]:
    """What the summary says of the costs, and the network in the file."""
    summary = json.loads(path.with_name("summary.json").read_text())
    return summary["costed"], load_litert("schema_py_generated").ModelT.InitFromPackedBuf(path.read_bytes()).subgraphs[
        0
    ]


@needs_litert
@pytest.mark.parametrize("name", ["lenet5_digits", "projection", "mixed"])
def test_weights_in_the_file_have_the_shape_of_their_layer(name: str, context: Context, tmp_path: Path) -> None:
    base = context(name)
    costed, file = read(export_uniform(base, tmp_path))
    modules = {layer.name: base.model.get_submodule(layer.name) for layer in base.graph.layers}
    sizes = {path: module.weight.numel() for path, module in modules.items() if isinstance(module.weight, nn.Parameter)}
    found: dict[str, int] = {}
    for tensor in file.tensors:
        name = tensor.name.decode()
        if name.endswith(".weight") and name in costed["layer_of"]:
            found[costed["layer_of"][name]] = int(tensor.shape.prod())
    assert found == sizes


@needs_litert
def test_an_operator_is_of_the_layer_or_operation_that_writes_its_output(tmp_path: Path) -> None:
    """By hand: of ResNet-8, whose borders are padded apart, and whose batch norms are folded."""
    costed, file = read(export_uniform(open_on_noise(lambda: TinyResNet8(10), 3, 32, 32), tmp_path))
    outputs = [file.tensors[operator.outputs[0]].name.decode() for operator in file.operators]
    order = [costed["layer_of"][name] for name in outputs]
    wanted = ["c0.conv", "l1.c1.conv", "l1.c2.conv", "add", "l2.c1.conv", "l2.c2.conv", "l2.sc.conv", "add_1"]
    wanted += ["l3.c1.conv", "l3.c2.conv", "l3.sc.conv", "add_2", "avg_pool2d", "fc"]
    assert list(dict.fromkeys(order)) == wanted


@needs_litert
def test_a_layer_before_a_pooling_keeps_its_operator_and_a_concatenation_is_of_none(
    context: Context, tmp_path: Path
) -> None:
    costed, file = read(export_uniform(context("mixed"), tmp_path))
    schema = load_litert("schema_py_generated")
    assert costed["layer_of"]["max_pool2d_1_quantizer_unpooled"] == "joined_norm_gain"
    assert costed["layer_of"]["max_pool2d_1_quantizer"] == "max_pool2d"
    joined = [
        file.tensors[operator.outputs[0]].name.decode()
        for operator in file.operators
        if operator.builtinOptionsType == schema.BuiltinOptions.ConcatenationOptions
    ]
    assert joined
    assert [name for name in joined if name in costed["layer_of"]] == []


@needs_litert
def test_jobs_are_those_that_the_candidate_was_costed_by(context: Context, tmp_path: Path) -> None:
    base = context("projection")
    path = export_uniform(base, tmp_path, (4, 8), "bitfusion")
    costed, _ = read(path)
    accelerator = load("bitfusion")
    jobs, tensors = read_jobs(json.dumps(costed))
    expected = hardware.cost(base.graph, uniform(base.graph, 4, 8), accelerator)
    received = evaluate_jobs(jobs, accelerator, tensors)
    assert received.latency_cycles == expected.latency_cycles > 0
    assert received.weight_bytes == expected.weight_bytes > 0
    assert received.peak_activation_bytes == expected.peak_activation_bytes > 0
    assert costed["device"] == "bitfusion"
    assert costed["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
