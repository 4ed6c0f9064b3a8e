"""`explorer devices check` and `show` on profiles of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

Explorer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile of one's own: Bit Fusion's under another name, with brackets in it."""
    shipped = (resources.files("hwmodels.device") / "catalogue" / "bitfusion.toml").read_text(encoding="utf-8")
    file = tmp_path / "own.toml"
    file.write_text(shipped.replace('title = "', 'title = "[red]Own '), encoding="utf-8")
    return file


def test_a_complete_profile(profile: Path, explorer: Explorer) -> None:
    code, out, err = explorer("devices", "check", profile)
    assert (code, err) == (0, "")
    assert out.startswith(f"{profile}: bitfusion ([red]Own ")
    assert " is complete: " in out
    assert " of them assumed\nResNet-8 of MLPerf Tiny with weights of 16 bits and activations of 16 takes " in out


def test_everything_that_is_wrong_is_said(profile: Path, explorer: Explorer) -> None:
    text = profile.read_text(encoding="utf-8")
    profile.write_text(text.replace("rows = ", "rws = ").replace('dataflow = { value = "ws"', "dataflow = { value = 3"))
    code, out, err = explorer("devices", "check", profile)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"error: {profile}: ") for line in lines)
    assert any("array.rws: unknown key" in line for line in lines)


def test_a_file_that_is_not_there(explorer: Explorer) -> None:
    code, _, err = explorer("devices", "check", "none.toml")
    assert code == 2
    assert err.startswith("error: none.toml: ")
    assert err.count("\n") == 1


def test_brackets_in_a_profile_are_shown(profile: Path, explorer: Explorer) -> None:
    code, out, _ = explorer("devices", "show", profile)
    assert code == 0
    assert "[red]Own " in out


def test_sizes_are_shown_to_the_byte(explorer: Explorer) -> None:
    _, out, _ = explorer("devices", "show", "ethos_u55_128")
    assert re.search(r"^memories\.sram\.size_bytes +2097152 ", out, re.MULTILINE)


def test_what_is_assumed_to_be_0_is_said(explorer: Explorer) -> None:
    _, out, _ = explorer("devices", "show", "bitfusion")
    assert (
        "assumed 0, a bandwidth without limit: array.layer_overhead_cycles, buffers.weights.bandwidth_bits_per_cycle, "
        "buffers.inputs.bandwidth_bits_per_cycle, buffers.outputs.bandwidth_bits_per_cycle, power.static_w\n"
    ) in out
    _, out, _ = explorer("devices", "show", "gap9_ne16")
    assert "power.static_w" not in out.splitlines()[-1]
