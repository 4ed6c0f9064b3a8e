"""The settings that Vela is called with are those of the golden table: it says the same of the same layers.

Provenance: `vela_layers.csv`, Vela 5.2.0 on networks of MLPerf Tiny with weights of their own. What depends on shapes
alone must be equal to the cycle; what weights are coded to depends on their values.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.models.mlperf_tiny import TinyResNet8
from explorer.referee.exported import read_costed, verify_compiled
from hwmodels import load
from tests.support.exported_tflite import export_uniform, needs_vela, open_on_noise

Rows = list[dict[str, str]]
LAYERS = {
    "conv1": "c0.conv",
    "stage1.conv1": "l1.c1.conv",
    "stage1.conv2": "l1.c2.conv",
    "stage1.add": "add",
    "stage2.conv1": "l2.c1.conv",
    "stage2.add": "add_1",
    "stage3.add": "add_2",
}
"""Name in the table to ours, of layers whose weights, 5 KB at most, arrive in time whatever they are coded to."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_uniform(open_on_noise(lambda: TinyResNet8(10), 3, 32, 32), tmp_path_factory.mktemp("resnet8"))


@needs_vela
@pytest.mark.parametrize("macs", [128, 256])
def test_cycles_of_resnet8_are_those_of_the_table(macs: int, exported: Path, golden: Callable[[str], Rows]) -> None:
    rows = {
        row["layer"]: row
        for row in golden("vela_layers.csv")
        if (row["network"], row["weights"], row["macs"]) == ("resnet8", "dense", str(macs))
    }
    comparison = verify_compiled(read_costed(exported), load(f"ethos_u55_{macs}"))
    received = {row.layer: row.cycles[1] for row in comparison.layers}
    assert {name: received[ours] for name, ours in LAYERS.items()} == {
        name: int(rows[name]["cycles"]) for name in LAYERS
    }


@needs_vela
def test_the_sram_of_resnet8_is_that_of_the_table(exported: Path, golden: Callable[[str], Rows]) -> None:
    """Three maps and the weights of a layer: what these are coded to decides within 1 %."""
    (row,) = (
        row
        for row in golden("vela.csv")
        if (row["network"], row["weights"], row["macs"]) == ("resnet8", "dense", "128")
    )
    comparison = verify_compiled(read_costed(exported), load("ethos_u55_128"))
    assert comparison.vela.sram_bytes == pytest.approx(int(row["sram_used_bytes"]), rel=0.01)
