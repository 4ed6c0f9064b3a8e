"""An export is compared with what the compiler makes of it; what is none, or is damaged, is refused in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.export.formats import FileTypes
from explorer.export.tflite import package
from explorer.referee.exported import read_costed, verify_compiled
from hwmodels import load
from tests.conftest import MixedNet
from tests.support.exported_tflite import deployment_of, export_uniform, needs_litert, needs_vela, open_on_noise


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_uniform(open_on_noise(MixedNet, 3, 8, 8), tmp_path_factory.mktemp("out"), (4, 6)).parent


@pytest.fixture
def out(exported: Path, tmp_path: Path) -> Path:
    """A copy of an export, to be damaged."""
    return shutil.copytree(exported, tmp_path / "out")


@needs_vela
def test_every_layer_has_bytes_and_cycles_on_both_sides_and_the_rest_is_listed(exported: Path) -> None:
    comparison = verify_compiled(read_costed(exported), load("ethos_u55_128"))
    layers = [row for row in comparison.layers if row.kind in {"conv", "linear"}]
    wanted = ["stem", "depthwise", "left", "right", "joined_norm_gain", "fc1", "fc2"]
    assert [row.layer for row in layers] == wanted
    assert all(min(*row.weight_bytes, *row.cycles) > 0 for row in layers)
    assert comparison.vela.cycles == sum(row.cycles[1] for row in comparison.layers) + sum(
        operator.cycles for operator in comparison.unmatched
    )
    assert comparison.vela.weight_bytes == sum(row.weight_bytes[1] for row in comparison.layers) + sum(
        size for _, size in comparison.unmatched_constants
    )
    assert all(
        operator.name.startswith("cat_quantizer") for operator in comparison.unmatched
    )  # grids of what is joined


@needs_vela
def test_logits_of_16_bits_are_placed_and_are_of_their_layer(tmp_path: Path) -> None:
    base = open_on_noise(MixedNet, 3, 8, 8)
    wide = replace(deployment_of(base, uniform(base.graph)), types=FileTypes(outputs="int16"))
    comparison = verify_compiled(read_costed(package.write(wide, tmp_path).files[0]), load("ethos_u55_128"))
    assert comparison.on_cpu == ()
    last = comparison.layers[-1]
    assert (last.layer, min(*last.weight_bytes, *last.cycles) > 0) == ("fc2", True)
    assert all(operator.name.startswith("cat_quantizer") for operator in comparison.unmatched)


@needs_vela
def test_the_file_alone_can_be_named_and_the_profile_decides(exported: Path) -> None:
    few, many = (
        verify_compiled(read_costed(exported / "model.tflite"), load(f"ethos_u55_{macs}")) for macs in (128, 256)
    )
    assert few.ours.cycles > many.ours.cycles
    assert few.vela.cycles > many.vela.cycles


@needs_vela
def test_weights_packed_to_4_bits_are_named_as_what_the_compiler_does_not_take(tmp_path: Path) -> None:
    base = open_on_noise(MixedNet, 3, 8, 8)
    deployment = deployment_of(base, uniform(base.graph, 4, 8))
    package.write(replace(deployment, types=FileTypes(pack_int4=True)), tmp_path)
    costed = read_costed(tmp_path)
    with pytest.raises(ExportError, match=r"^vela: .*; it takes no weights packed to 4 bits: export without --int4$"):
        verify_compiled(costed, load("ethos_u55_128"))
    with pytest.raises(ExportError, match=r"^device: Vela compiles for .*, received 'bitfusion'$"):
        verify_compiled(costed, load("bitfusion"))


@needs_litert
def test_what_is_no_such_export_is_refused(out: Path, tmp_path: Path) -> None:
    again = r"; write it with: explorer export RUN --format tflite --to .*$"
    with pytest.raises(ExportError, match=rf"nowhere: there is no such file, which the format tflite writes{again}"):
        read_costed(tmp_path / "nowhere")
    with pytest.raises(
        ExportError, match=rf"model\.tflite: there is no such file, which the format tflite writes{again}"
    ):
        read_costed(tmp_path)
    (out / "summary.json").rename(out / "other.json")
    with pytest.raises(ExportError, match=rf"summary\.json: is missing beside model\.tflite.*{again}"):
        read_costed(out)


@needs_litert
def test_a_summary_of_another_file_or_version_is_refused(out: Path) -> None:
    summary = out / "summary.json"
    data = json.loads(summary.read_text())
    (out / "model.tflite").write_bytes((out / "model.tflite").read_bytes() + b"\0")
    with pytest.raises(ExportError, match=r"model\.tflite: is not the file that summary\.json beside it is of; write"):
        read_costed(out)
    damaged = [b"[", b"[]", b"\xff", json.dumps({**data, "costed": {}}).encode()]
    damaged += [json.dumps({key: value for key, value in data.items() if key != "costed"}).encode()]
    damaged += [json.dumps({**data, "costed": {**data["costed"], key: 5}}).encode() for key in ("jobs", "layer_of")]
    for content in damaged:
        summary.write_bytes(content)
        with pytest.raises(ExportError, match=r"summary\.json: does not say how model\.tflite was costed \(") as error:
            read_costed(out)
        assert len(error.value.problems) == 1
