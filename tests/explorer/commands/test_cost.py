"""`explorer cost`: every kind of network, widths from the command line or the file, and one line for bad input."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hwmodels
from explorer.evaluate.workload import priced
from hwmodels import NETWORKS, NetworkError, write_topology

Explorer = Callable[..., tuple[int, str, str]]


def save_onnx(path: Path, *, quantised: bool) -> Path:
    """A linear layer, its weights in float32 or, with its input, in 8 bits; half of them are zero."""
    weights = np.arange(64 * 10).reshape(64, 10) % 2
    values = [numpy_helper.from_array(weights.astype(np.int8 if quantised else np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["fc"], name="fc [1]")]
    if quantised:
        values += [
            numpy_helper.from_array(np.array(0.1, np.float32), "s"),
            numpy_helper.from_array(np.array(0, np.uint8), "z"),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["codes"]),
            helper.make_node("DequantizeLinear", ["codes", "s", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["w", "s"], ["wq"]),
            helper.make_node("MatMul", ["xq", "wq"], ["fc"], name="fc [1]"),
        ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])]
    outputs = [helper.make_tensor_value_info("fc", TensorProto.FLOAT, ["N", 10])]
    graph = helper.make_graph(nodes, "test", inputs, outputs, values)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def test_a_known_network(explorer: Explorer) -> None:
    network, device = NETWORKS["mlperf_tiny_resnet8"](), hwmodels.load("gap9_ne16")
    expected = hwmodels.evaluate(network.jobs(8, 8), device, network.tensors)
    for name in ("resnet8", "mlperf_tiny_resnet8"):
        code, out, err = explorer("cost", name, "--device", "gap9_ne16", "--bits", "8/8", "--no-layers")
        assert (code, err) == (0, "")
        assert out.startswith(
            f"mlperf_tiny_resnet8 on gap9_ne16, {device.title}; weights of 8 bits, activations of 8\n"
        )
        assert f"energy:      {expected.energy_pj * 1e-6:.4g} uJ: " in out
        assert f"latency:     {expected.latency_ms:.4g} ms, {expected.latency_cycles} cycles; " in out
        assert f"weights:     {expected.weight_bytes} bytes in storage\n" in out
        assert "activations: 49152 bytes at their peak, 49152 in TensorFlow Lite Micro's arena\n" in out
        assert [note for note in expected.notes if f"note: {note}\n" not in out] == []


def test_every_network_has_a_price_on_every_device(explorer: Explorer) -> None:
    for name in NETWORKS:
        code, out, err = explorer("cost", name, "--device", "bitfusion")
        assert (code, err) == (0, ""), name
        assert "energy: " in out
    for device in hwmodels.names():
        assert explorer("cost", "lenet5", "--device", device)[0] == 0, device


def test_widths_go_from_the_command_line_to_the_jobs() -> None:
    workload = priced("resnet8", (4, 6), 1)
    assert {(job.weight_bits, job.input_bits, job.output_bits) for job in workload.jobs} == {(4, 6, 6)}
    assert {tensor.bits for tensor in workload.tensors} == {6}
    assert {job.weight_bits for job in priced("resnet8", None, 1).jobs} == {8}


def test_a_batch() -> None:
    one, four = (priced("resnet8", (8, 8), batch) for batch in (1, 4))
    assert sum(job.shape.macs for job in four.jobs) == 4 * sum(job.shape.macs for job in one.jobs)
    assert sum(job.shape.weights for job in four.jobs) == sum(job.shape.weights for job in one.jobs)
    assert [tensor.elements for tensor in four.tensors] == [4 * tensor.elements for tensor in one.tensors]


def test_a_topology(explorer: Explorer, tmp_path: Path) -> None:
    write_topology(NETWORKS["lenet5"](), tmp_path / "net.csv")
    code, out, err = explorer("cost", tmp_path / "net.csv", "--device", "gemmini_default", "--layers")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:5] == ["layer", "kind", "m", "x", "k"]
    assert lines[1].split()[:4] == ["c1", "conv", "784x25x6", "8/8"]
    assert "activations: unknown, since a topology does not say which layer reads which" in out


def test_an_onnx_file_has_its_own_widths(explorer: Explorer, tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net [1].onnx", quantised=True)
    code, out, err = explorer("cost", path, "--device", "bitfusion", "--layers", "--batch", 2)
    assert (code, err) == (0, "")
    assert "net [1] on bitfusion, " in out
    assert "; widths as the file states them\n" in out
    assert out.splitlines()[1].split()[:5] == ["fc", "[1]", "linear", "2x64x10", "8/8"]
    assert "not counted: codes: QuantizeLinear states a width and computes nothing that is counted\n" in out
    job = priced(str(path), (4, 8), 1).jobs[0]
    assert (job.weight_bits, job.input_bits, job.density) == (4, 8, 0.5)


def test_an_onnx_file_in_float_needs_widths(explorer: Explorer, tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", quantised=False)
    code, out, err = explorer("cost", path, "--device", "bitfusion")
    assert (code, out) == (2, "")
    assert err == (
        f"error: {path}: the file holds a network in float32, which says nothing about how wide it is to run: "
        "give --bits, such as --bits 8/8 (or 32/32, where the device takes it)\n"
    )
    assert explorer("cost", path, "--device", "bitfusion", "--bits", "4/8")[0] == 0


def test_a_file_that_is_quantised_in_part_has_a_price_on_every_device(explorer: Explorer, tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", quantised=True)
    model = onnx.load_model(path)
    model.graph.node.append(helper.make_node("Softmax", ["fc"], ["y"], name="probabilities"))
    model.graph.output[0].name = "y"
    onnx.save_model(model, path)
    for device in hwmodels.names():
        code, out, err = explorer("cost", path, "--device", device)
        assert (code, err) == (0, ""), device
        assert ["32" in row.split() for row in out.splitlines() if row.startswith("probabilities")] == [True], device


def test_a_file_with_every_number(explorer: Explorer, tmp_path: Path) -> None:
    file_option = ("--csv", tmp_path / "layers.csv")
    assert explorer("cost", "lenet5", "--device", "bitfusion", "--bits", 8, *file_option)[0] == 0
    with (tmp_path / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    network = NETWORKS["lenet5"]()
    expected = hwmodels.evaluate(network.jobs(8, 8), hwmodels.load("bitfusion"), network.tensors)
    assert [row["name"] for row in rows] == [layer.name for layer in expected.layers]
    assert [float(row["energy_pj"]) for row in rows] == [layer.energy_pj for layer in expected.layers]
    assert {f"{buffer.name}_buffer_pj" for buffer in hwmodels.load("bitfusion").buffers} <= set(rows[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet8",), "error: Missing option '--device'; see explorer --help\n"),
        (
            ("resnt20", "--device", "bitfusion"),
            "error: unknown network 'resnt20': did you mean 'resnet20'? Known networks are mlperf_tiny_resnet8, ",
        ),
        (("resnet8", "--device", "bitfuson"), "error: unknown device 'bitfuson': did you mean 'bitfusion'? "),
        (
            ("resnet8", "--device", "bitfusion", "--bits", "8/x"),
            "error: Invalid value for '--bits': expected the bits of weights and activations, such as 4/8, each from 1 "
            "to 32, received '8/x'; see explorer --help\n",
        ),
        (("resnet8", "--device", "bitfusion", "--bits", "0/8"), "error: Invalid value for '--bits': "),
        (("resnet8", "--device", "bitfusion", "--bits", "33"), "error: Invalid value for '--bits': "),
        (
            ("resnet8", "--device", "bitfusion", "--batch", "0"),
            "error: Invalid value for '--batch': expected a whole number from 1, received '0'; see explorer --help\n",
        ),
        (("none.csv", "--device", "bitfusion"), "error: none.csv: the topology cannot be read as text ("),
        (
            ("model.tflite", "--device", "ethos_u55_128"),
            "error: model.tflite: a .tflite file is not priced here: explorer verify model.tflite --vela prices one ",
        ),
        (("none.onnx", "--device", "bitfusion"), "error: none.onnx: the ONNX file cannot be read ("),
        (
            ("lenet5", "--device", "bitfusion", "--csv", "none/layers.csv"),
            "error: none",
        ),
        (
            ("resnet8", "--device", "gemmini_default", "--bits", "16/8"),
            "error: layer 'conv1': expected weight_bits <= 8 on gemmini_default",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], message: str, explorer: Explorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = explorer("cost", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_a_name_that_several_networks_end_in_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "explorer.evaluate.workload.NETWORKS", {"a_net": NETWORKS["lenet5"], "b_net": NETWORKS["lenet5"]}
    )
    with pytest.raises(NetworkError, match="unknown network 'net'"):
        priced("net", None, 1)


NETWORK = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 4 * 4, 10)
    )
"""


def test_a_pytorch_network(explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    workload = priced("own:build", (4, 8), 2, (3, 8, 8))
    kinds = [job.shape.kind for job in workload.jobs]
    assert kinds == ["conv", "activation", "pool", "linear"]
    assert sum(job.shape.macs for job in workload.jobs) == 2 * (8 * 8 * 27 * 8 + 128 * 10)
    assert {job.weight_bits for job in workload.jobs if job.shape.macs} == {4}
    code, out, err = explorer("cost", "own:build", "--input", "3x8x8", "--device", "gemmini_default", "--bits", "4/8")
    assert (code, err) == (0, "")
    assert "4-bit weights run as 8-bit weights on gemmini_default" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("own:build",), "own:build: a PyTorch network needs the shape of its images: give --input"),
        (("own:build", "--input", "3x8"), "expected channels x height x width, such as 3x32x32, received '3x8'"),
        (("own:build", "--input", "1x8x8"), "own:build fails on images of "),
        (("own:biuld", "--input", "3x8x8"), "own:biuld: the module has no 'biuld'; it has build"),
        (("owm:build", "--input", "3x8x8"), "owm:build: no module 'owm' beside the study file in"),
    ],
)
def test_a_wrong_pytorch_network_is_one_line(
    explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "own.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, out, err = explorer("cost", *arguments, "--device", "gemmini_default")
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_a_roofline_is_written(explorer: Explorer, tmp_path: Path) -> None:
    file = tmp_path / "roofline.html"
    code, _, err = explorer("cost", "resnet8", "--device", "bitfusion", "--roofline", file)
    assert (code, err) == (0, "")
    assert 'id="roofline"' in file.read_text(encoding="utf-8")
    code, out, err = explorer("cost", "resnet8", "--device", "bitfusion", "--roofline", tmp_path / "absent" / "r.html")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_a_number_is_explained(explorer: Explorer) -> None:
    common = ("cost", "resnet8", "--device", "bitfusion", "--bits", "4/8", "--explain")
    code, out, err = explorer(*common, "fc:dram_pj")
    assert (code, err) == (0, "")
    assert out.startswith("dram_pj of fc = ")
    assert "memories.dram.energy_pj_per_bit: bitfusion_isca2018" in out
    code, out, err = explorer(*common, "fcc:dram_pj")
    assert (code, out) == (2, "")
    assert "has no layer 'fcc': did you mean 'fc'?" in err
    code, out, err = explorer(*common, "fc:dram")
    assert (code, out) == (2, "")
    assert "dram_pj" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("network", ["resnet8", "large.csv", "net.onnx", "own:build"])
def test_what_cannot_be_counted_is_one_line(
    network: str, explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(NETWORK, encoding="utf-8")
    (tmp_path / "large.csv").write_text("Layer, M, N, K\na,2147483647,2147483647,2147483647\n", encoding="utf-8")
    save_onnx(tmp_path / "net.onnx", quantised=True)
    monkeypatch.chdir(tmp_path)
    images = ("--input", "3x8x8") if ":" in network else ()
    for device in hwmodels.names():
        batch = () if network == "large.csv" else ("--batch", 999_999_999)
        code, out, err = explorer("cost", network, "--device", device, *batch, *images)
        if code:
            assert (code, out) == (2, "")
            assert "more than can be counted exactly" in err
            assert len(err.splitlines()) == 1
        else:
            assert network in {"net.onnx", "own:build"}, "some thousand MACs for each of a billion images are countable"
            assert float(out.split("energy:")[1].split()[0]) > 0


def test_no_image_is_larger_than_memory(explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, out, err = explorer("cost", "own:build", "--input", "3x999999x999999", "--device", "bitfusion")
    assert (code, out) == (2, "")
    assert err.startswith("error: own:build: --input states 2999994000003 elements of an image, more than 67108864: ")
