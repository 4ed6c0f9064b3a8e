"""Vela compiles what is exported, and what it refuses, or crashes on, is one clear line."""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hwmodels
from explorer.errors import ExportError
from explorer.models.mlperf_tiny import TinyResNet8
from explorer.referee import vela
from explorer.referee.vela import Compiled, compile_network, describe_configuration, find_version
from tests.support.exported_tflite import export_uniform, needs_vela, open_on_noise

DEVICE = hwmodels.load("ethos_u55_128")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_uniform(open_on_noise(lambda: TinyResNet8(10), 3, 32, 32), tmp_path_factory.mktemp("resnet8"))


@needs_vela
def test_the_sums_are_those_of_the_parts(exported: Path) -> None:
    found = compile_network(exported, DEVICE)
    assert found.cycles == sum(operator.cycles for operator in found.operators)
    assert found.weight_bytes == sum(size for _, size in found.constants)
    assert {"c0_conv.weight", "l3_c2_conv.weight", "fc.weight"} <= {name for name, _ in found.constants}
    # Codes of 8 bits for random weights: no coder gains much, and none may lose much.
    assert 0.9 * 77_360 < found.weight_bytes < 1.2 * 77_360
    # Three maps of 16 x 32 x 32 are alive at the first addition, and weights on their way.
    assert 3 * 16_384 <= found.sram_bytes < 4 * 16_384
    assert all(operator.on_npu for operator in found.operators)


@needs_vela
def test_more_macs_take_fewer_cycles_for_the_same_weights(exported: Path) -> None:
    few, many = (compile_network(exported, hwmodels.load(name)) for name in ("ethos_u55_128", "ethos_u55_256"))
    assert many.cycles < 0.8 * few.cycles
    assert many.weight_bytes == pytest.approx(few.weight_bytes, rel=0.01)


@needs_vela
def test_a_path_of_any_name_is_compiled(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "a b, [c] \u00e9" / "--x.tflite"
    path.parent.mkdir()
    path.write_bytes(exported.read_bytes())
    assert compile_network(path, DEVICE) == compile_network(exported, DEVICE)


@needs_vela
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ValueError: cannot mmap an empty file"),
        (b"no network at all, but long enough", "RuntimeError: Compilation failed"),
        (b"\0\0\0\0TFL3" + b"\1" * 200, r"Vela \d.* crashed \(SIG\w+\), having said: Failed to load"),
    ],
)
def test_what_is_refused_is_one_line_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=rf"^vela: other\.tflite cannot be compiled: {reason}") as error:
        compile_network(path, DEVICE)
    assert len(error.value.problems) == 1


def test_other_devices_are_refused_by_name() -> None:
    with pytest.raises(ExportError, match=r"^device: Vela compiles for ethos_u55_128, .*, received 'bitfusion'$"):
        vela.find_configuration(hwmodels.load("bitfusion"))


@pytest.mark.parametrize("name", [name for name in hwmodels.names() if name.startswith("ethos")])
def test_every_ethos_has_the_configuration_with_its_macs_and_its_place_of_weights(name: str) -> None:
    device = hwmodels.load(name)
    macs = device.title.partition("U55, ")[2].partition(" MACs")[0]
    in_flash = device.find_memory("weights").name == "flash"
    assert vela.find_configuration(device) == (f"ethos-u55-{macs}", "Shared_Sram" if in_flash else "Sram_Only")
    assert name in vela.list_profiles()


@needs_vela
def test_weights_in_sram_count_there_and_need_no_staging(exported: Path) -> None:
    sram = replace(DEVICE.find_memory("inputs"), operands=("weights", "inputs", "outputs"))
    device = replace(DEVICE, name="ethos_u55_128_sram", memories=(sram,))
    apart, beside = compile_network(exported, DEVICE), compile_network(exported, device)
    assert beside.weight_bytes == pytest.approx(apart.weight_bytes, rel=0.01)
    assert beside.sram_bytes - beside.weight_bytes == 3 * 16_384 < apart.sram_bytes
    assert beside.cycles < apart.cycles


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"^vela: ethos-u-vela is not installed.*pip install 'ethos-u-vela>=5.2'$"):
        compile_network(tmp_path / "model.tflite", DEVICE)


def pretend(monkeypatch: pytest.MonkeyPatch, rows: str, said: str = "") -> None:
    """Let the compiler leave a table of operators of these rows."""
    columns = "Original Operator,NNG Operator,Target,Op Cycles,Name"

    def run(command: Any, cwd: str, **named: Any) -> subprocess.CompletedProcess[str]:
        (Path(cwd) / "network_summary_Ethos_U55_High_End_Embedded.csv").write_text(
            "sram_memory_used,cycles_total\n1.5,12.0\n"
        )
        (Path(cwd) / "network_per-layer.csv").write_text(f"{columns}\n{rows}")
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(vela, "find_version", lambda: "5.2.0")
    monkeypatch.setattr(subprocess, "run", run)


def test_names_may_hold_commas_and_lists_may_come_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"")
    part = (
        "Tensor Allocation for read-only NPU tensors:\nStart Time - End Time : Name\n"
        "         0 -          1:        0x0 -      0x300:         768:          768: Unknown        : a, b: c.weight\n"
        "Allocation Peak Tensor Size: 768 bytes\n"
        "         0 -          1:        0x0 -      0x300:         555:          768: NHWC : a map\n"
    )
    pretend(monkeypatch, 'Conv2D,Conv2D,NPU,12,"a, b"\nSoftmax,Passthrough,CPU,0,c\n', part + part)
    found = compile_network(path, DEVICE)
    assert isinstance(found, Compiled)
    assert [(each.name, each.cycles, each.on_npu) for each in found.operators] == [
        ('"a, b"', 12, True),
        ("c", 0, False),
    ]
    assert found.constants == (("a, b: c.weight", 768),) * 2
    assert (found.weight_bytes, found.sram_bytes, found.cycles) == (1536, 1536, 12)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Softmax,Passthrough,CPU,0,c\n", "nothing of .* runs on the NPU"),
        ("Conv2D,Conv2D,NPU,many,c\n", r"what Vela 5\.2\.0 says of .* cannot be read \(ValueError"),
        ("Conv2D,Conv2D\n", r"cannot be read \(ValueError"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    rows: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"")
    pretend(monkeypatch, rows)
    with pytest.raises(ExportError, match=message):
        compile_network(path, DEVICE)


def test_the_default_is_the_device_where_vela_has_it() -> None:
    assert vela.find_accelerator("ethos_u55_256", None).name == "ethos_u55_256"
    assert vela.find_accelerator("bitfusion", None).name == "ethos_u55_128"
    assert vela.find_accelerator("ethos_u55_128", hwmodels.load("ethos_u55_256")).name == "ethos_u55_256"


@needs_vela
def test_the_configuration_is_described_with_the_version() -> None:
    assert describe_configuration(hwmodels.load("ethos_u55_256")) == (
        f"Vela {find_version()} (ethos-u55-256, Shared_Sram, Ethos_U55_High_End_Embedded)"
    )
