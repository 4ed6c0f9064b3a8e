"""explorer verify: what the files alone score, hold and cost, and whether that is what their export recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from explorer.errors import ExplorerError
from explorer.evaluate.hardware import cost
from explorer.export.artefact import open_artefact
from explorer.export.formats import FORMATS, Deployment, Exported, FileTypes
from explorer.export.measure import verify_artefact
from explorer.export.record import tell_images
from explorer.export.scored_images import read_images
from explorer.packed.file import write_packed
from explorer.packed.network import packable
from hwmodels import load
from tests.support.deployments import deploy_digits
from tests.support.exported_tflite import needs_litert

Explorer = Callable[..., tuple[int, str, str]]
TAKES = {"c": "cc"}
"""Programs that a format takes, beside packages."""
FILES = {"pt": ("network.pt", "network.py")}
FORMS = [
    form
    for form, exporter in FORMATS.items()
    if exporter.loader and exporter.is_installed and shutil.which(TAKES.get(form, "sh"))
]


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return deploy_digits()


@pytest.fixture(scope="module")
def exported(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Exported]:
    folder = tmp_path_factory.mktemp("exports")
    return {form: FORMATS[form].load().write(deployment, folder / form) for form in FORMS}


@pytest.fixture(scope="module")
def exports(exported: Mapping[str, Exported]) -> Path:
    return exported["onnx"].files[0].parents[1]


def count_right(deployment: Deployment, count: int | None = None) -> int:
    with torch.no_grad():
        images = deployment.images[0][:count]
        return int((deployment.model(images).argmax(1) == deployment.targets[:count]).sum())


@pytest.mark.parametrize("form", FORMS)
def test_the_files_score_what_the_searched_network_does_and_cost_the_same(
    form: str, deployment: Deployment, exports: Path
) -> None:
    found = verify_artefact(exports / form, "digits")
    graph, candidate = deployment.context.graph, deployment.point.evaluation.candidate
    assert found.cost is not None
    assert found.cost.energy_pj == cost(graph, candidate, load("bitfusion")).energy_pj
    assert (found.changed, found.is_as_promised) == ((), True)
    if form == "coded":
        assert (found.score, found.kept) == (None, None)
        assert "it holds weights and no network to run: not scored" in found.notes
        return
    assert found.score is not None
    assert (found.score.value * 400, found.score.num_images) == (count_right(deployment), 400)
    assert found.kept is not None
    assert (found.kept.is_same, found.kept.difference) == (True, 0.0)


@pytest.mark.parametrize("form", FORMS)
def test_bytes_are_those_of_the_files_and_of_the_byte_table(
    form: str, deployment: Deployment, exported: Mapping[str, Exported]
) -> None:
    folder, layers = exported[form].files[0].parent, deployment.context.graph.layers
    stored = open_artefact(folder).stored
    assert sum(stored.by_kind().values()) == stored.total == exported[form].network_bytes
    if form != "c":  # its constants are bytes of the program, not of the text
        assert stored.total == sum(
            (folder / name).stat().st_size for name in FILES.get(form, (exported[form].files[0].name,))
        )
    assert len(stored.weights) == len(layers)
    if form != "coded":
        assert stored.biases == sum(4 * layer.out_channels for layer in layers)


def test_weights_of_deep_compression_are_counted(deployment: Deployment, tmp_path: Path) -> None:
    packing = write_packed(packable(deployment.model), tmp_path / "network.bin")
    found = verify_artefact(tmp_path, "digits")
    assert (found.score, found.artefact.stored.total) == (None, len(packing.data))
    sizes = {size.layer: size.size_bytes - size.scale_bytes - size.bias_bytes for size in packing.layers}
    assert dict(found.artefact.stored.weights) == sizes


@pytest.mark.parametrize("form", FORMS)
def test_the_readme_says_how_images_are_normalised(form: str, exports: Path, deployment: Deployment) -> None:
    assert "\nPixels are scaled to 0..1.\n" in (exports / form / "README.md").read_text()
    assert deployment.data is not None
    assert deployment.data.settings is not None
    other = replace(deployment.data, settings=replace(deployment.data.settings, mean=(0.25,), std=(2.0,)))
    told = tell_images(replace(deployment, data=replace(other, class_names=("zero", "one"))))
    assert told == ("Pixels are scaled to 0..1, less 0.25, through 2. The outputs are, in this order: zero, one.")
    own = replace(deployment.data.settings, source="function", function="images:read")
    told = tell_images(replace(deployment, data=replace(deployment.data, settings=own)))
    assert told.startswith("Inputs are what images:read returns.")


def test_a_file_alone_is_scored_and_says_that_nothing_was_recorded(
    deployment: Deployment, exports: Path, tmp_path: Path
) -> None:
    shutil.copy(exports / "onnx" / "model.onnx", tmp_path / "renamed.onnx")
    found = verify_artefact(tmp_path / "renamed.onnx", "digits", load("bitfusion"), num_images=50)
    assert found.score is not None
    assert found.score.value * 50 == count_right(deployment, 50)
    assert (found.record, found.kept) == (None, None)
    assert found.cost is not None
    assert found.cost.macs == deployment.context.graph.macs
    assert "compared with nothing: what its export recorded is in summary.json or configuration" in found.summary()


def test_a_renamed_file_is_still_known_by_its_bytes(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "pt2", tmp_path / "out")
    (tmp_path / "out" / "network.pt2").rename(tmp_path / "out" / "mine.pt2")
    assert verify_artefact(tmp_path / "out" / "mine.pt2", "digits").is_as_promised


@needs_litert
@pytest.mark.parametrize(("inputs", "outputs"), [("uint8", "float32"), ("float32", "uint8")])
def test_a_file_for_litert_says_itself_what_it_reads(
    inputs: str, outputs: str, deployment: Deployment, tmp_path: Path
) -> None:
    other = replace(deployment, types=FileTypes(inputs=inputs, outputs=outputs))
    FORMATS["tflite"].load().write(other, tmp_path / "out")
    shutil.move(tmp_path / "out" / "model.tflite", tmp_path)
    found = verify_artefact(tmp_path / "model.tflite", "digits")
    assert found.score is not None
    assert found.score.value * 400 == count_right(deployment)
    assert found.artefact.inputs[0].type.startswith(inputs)
    (tmp_path / "model.tflite").write_bytes(b"0123TFL3 and no more")
    with pytest.raises(ExplorerError, match=r"is no file for LiteRT \(.*\); write it again"):
        verify_artefact(tmp_path / "model.tflite", "digits")


def test_other_weights_break_the_promise(exports: Path, tmp_path: Path, explorer: Explorer) -> None:
    shutil.copytree(exports / "onnx", tmp_path / "out")
    file = tmp_path / "out" / "model.onnx"
    model = onnx.load(file)
    codes = next(tensor for tensor in model.graph.initializer if tensor.name == "fc3/weight_codes")
    codes.raw_data = bytes(len(codes.raw_data))
    onnx.save(model, file)
    code, out, err = explorer("verify", tmp_path / "out", "--data", "digits", "--json")
    assert (code, err) == (1, "")
    told = json.loads(out)
    assert (told["as_promised"], told["changed_files"], told["promised"]["same_images"]) == (
        False,
        ["model.onnx"],
        True,
    )
    assert told["score"]["value"] < told["promised"]["value"] - 0.5


def test_other_images_are_compared_by_their_standard_errors(
    exports: Path, deployment: Deployment, tmp_path: Path, explorer: Explorer
) -> None:
    assert deployment.data is not None
    search = deployment.data.search
    pixels = np.round(search.images[:, 0] * 255).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=pixels[:2], y_train=[0, 1], x_test=pixels[:90], y_test=search.targets[:90])
    code, out, err = explorer("verify", exports / "integer", "--data", tmp_path / "mine.npz")
    assert (code, err) == (0, "")
    assert "of 90 images, the test images of mine.npz" in out
    assert "images, others than these: " in out
    assert "standard errors of the difference away" in out


def test_bad_input_is_one_line(exports: Path, tmp_path: Path, explorer: Explorer) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    (tmp_path / "broken.pt2").write_bytes(b"PK")
    (tmp_path / "broken.bin").write_bytes(b"XPE1")
    (tmp_path / "net.c").write_text("int main(void);")
    shutil.copy(exports / "pt" / "network.pt", tmp_path)
    cases = (
        (("nowhere", "--data", "digits"), "there is no such file or folder"),
        ((exports, "--data", "digits"), "holds no network of an export"),
        ((exports / "onnx", "--data", "digit"), "expected digits, mnist, cifar10, a folder"),
        ((exports / "onnx",), "expected --data"),
        ((exports / "onnx", "--data", "digits", "--vela"), "expected --vela alone"),
        ((exports / "onnx", "--data", "digits", "--images", "0"), "expected a whole number from 1"),
        ((exports / "onnx", "--data", "digits", "--device", "toaster"), "toaster"),
        ((exports / "onnx" / "configuration.json", "--data", "digits"), "expected a file that ends in one of .onnx"),
        ((tmp_path / "broken.onnx", "--data", "digits"), "cannot open it"),
        ((tmp_path / "broken.bin", "--data", "digits"), "write the network again"),
        ((tmp_path / "net.c", "--data", "digits"), "net.h is missing"),
        ((tmp_path / "broken.pt2", "--data", "digits"), "cannot open it as a program"),
        ((tmp_path / "network.pt", "--data", "digits"), "network.py, which is missing"),
        ((tmp_path, "--data", "digits"), "expected one network, received network.pt, net.c; name the file"),
    )
    for words, told in cases:
        code, out, err = explorer("verify", *words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert told in err, err


def test_a_damaged_record_is_one_line(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "pt2", tmp_path / "out")
    summary = tmp_path / "out" / "summary.json"
    described = json.loads(summary.read_text())
    damages: tuple[dict[str, object], ...] = (
        {"score": 1},
        {"shapes": "x"},
        {"files": []},
        {"data": {"source": "digits"}},
    )
    for damage in damages:
        summary.write_text(json.dumps({**described, "artefact": {**described["artefact"], **damage}}))
        with pytest.raises(ExplorerError, match=r"its artefact is damaged \(.*\); export the network again"):
            verify_artefact(tmp_path / "out", "digits")


def test_images_of_another_shape_or_with_other_labels_are_refused(exports: Path, tmp_path: Path) -> None:
    pixels, labels = np.zeros((12, 9, 8), np.uint8), np.arange(12)
    np.savez(tmp_path / "tall.npz", x_train=pixels, x_test=pixels, y_train=labels, y_test=labels)
    with pytest.raises(ExplorerError, match=r"expected images of 1 x 8 x 8 \(channels first\).*received 1 x 9 x 8"):
        verify_artefact(exports / "onnx", str(tmp_path / "tall.npz"))
    pixels = pixels[:, :8]
    np.savez(tmp_path / "many.npz", x_train=pixels, x_test=pixels, y_train=labels, y_test=labels)
    with pytest.raises(ExplorerError, match=r"label 11 is out of range; the network has 10 outputs"):
        verify_artefact(exports / "onnx", str(tmp_path / "many.npz"))


def test_without_a_record_images_are_normalised_as_their_source_says() -> None:
    given = read_images("digits", None, None)
    assert (len(given.images), given.are_held_out) == (400, False)
    assert given.normalised == "pixels in 0..1, as they are, as data.source 'digits' does"
