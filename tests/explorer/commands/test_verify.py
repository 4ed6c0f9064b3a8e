"""explorer verify prints both sides of every layer, their ratios and their sums."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MixedNet
from tests.support.exported_tflite import export_uniform, needs_litert, needs_vela, open_on_noise

Explorer = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_uniform(open_on_noise(MixedNet, 3, 8, 8), tmp_path_factory.mktemp("out")).parent


def numbers(line: str) -> list[float]:
    return [float(word.replace(",", "")) for word in re.findall(r"(?<= )[\d,.]+(?= |$)", line)]


@needs_vela
def test_rows_add_up_to_the_total_and_ratios_are_ours_to_velas(exported: Path, explorer: Explorer) -> None:
    code, out, err = explorer("verify", exported, "--vela")
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split() == ["layer", "kind", "bytes", "Vela's", "ratio", "cycles", "Vela's", "ratio"]
    rows = {
        line.split()[0]: numbers(line) for line in lines[: next(i for i, x in enumerate(lines) if "total" in x) + 1]
    }
    total = rows.pop("total")
    for ours, vela, share in (*(row[:3] for row in (*rows.values(), total)), *(row[-3:] for row in rows.values())):
        assert share == pytest.approx(ours / vela, abs=0.006)
    rest = sum(float(found.replace(",", "")) for found in re.findall(r"of no layer: .*, ([\d,]+) cycles", out))
    assert sum(row[-2] for row in rows.values()) + rest == total[-2]
    assert sum(row[-3] for row in rows.values()) == total[-3]
    assert re.search(r"^SRAM: [\d,]+ bytes by our model, [\d,]+ by Vela, ratio \d\.\d\d$", out, re.MULTILINE)
    assert re.search(r"our profile ethos_u55_128 beside Vela \d+\.\d+\.\d+ \(ethos-u55-128, Shared_Sram, ", out)


@needs_litert
def test_without_a_compiler_to_ask_it_says_what_is_known(exported: Path, explorer: Explorer) -> None:
    code, out, err = explorer("verify", exported)
    assert (code, out) == (2, "")
    assert err.startswith("error: verify: expected --vela, which compiles ")
    assert "100.00% of 4 images agree with the integer program" in err


@needs_vela
def test_bad_input_is_one_line(exported: Path, explorer: Explorer, tmp_path: Path) -> None:
    for words in ((tmp_path, "--vela"), (exported, "--vela", "--device", "bitfusion"), (exported, "--vela=2")):
        code, out, err = explorer("verify", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
