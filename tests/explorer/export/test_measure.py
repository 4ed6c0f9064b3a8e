"""explorer verify: what the files alone score, hold and cost, and whether that is what their export recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from explorer.errors import ExplorerError
from explorer.evaluate.hardware import cost
from explorer.export.formats import FORMATS, Deployment
from explorer.export.measure import verify_artefact
from explorer.export.scored_images import read_images
from hwmodels import load
from tests.support.deployments import deploy_digits

Explorer = Callable[..., tuple[int, str, str]]
FORMS = ("onnx", "integer", "pt", "pt2")
PROGRAM_BYTES = {"pt": ("network.pt", "network.py")}


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return deploy_digits()


@pytest.fixture(scope="module")
def exports(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for form in FORMS:
        FORMATS[form].load().write(deployment, folder / form)
    return folder


def count_right(deployment: Deployment, count: int | None = None) -> int:
    with torch.no_grad():
        images = deployment.images[0][:count]
        return int((deployment.model(images).argmax(1) == deployment.targets[:count]).sum())


@pytest.mark.parametrize("form", FORMS)
def test_the_files_score_what_the_searched_network_does_and_cost_the_same(
    form: str, deployment: Deployment, exports: Path
) -> None:
    found = verify_artefact(exports / form, "digits")
    assert found.score is not None
    assert (found.score.value * 400, found.score.num_images) == (count_right(deployment), 400)
    assert found.kept is not None
    assert (found.kept.is_same, found.kept.difference, found.changed, found.is_as_promised) == (True, 0.0, (), True)
    graph, candidate = deployment.context.graph, deployment.point.evaluation.candidate
    assert found.cost is not None
    assert found.cost.energy_pj == cost(graph, candidate, load("bitfusion")).energy_pj
    stored = found.artefact.stored
    files = PROGRAM_BYTES.get(form, (FORMATS[form].network,))
    assert stored.total == sum((exports / form / name).stat().st_size for name in files)
    assert sum(stored.by_kind().values()) == stored.total
    assert len(stored.weights) == len(graph.layers)
    assert stored.biases == sum(4 * layer.out_channels for layer in graph.layers)


def test_a_file_alone_is_scored_and_says_that_nothing_was_recorded(
    deployment: Deployment, exports: Path, tmp_path: Path
) -> None:
    shutil.copy(exports / "onnx" / "model.onnx", tmp_path / "renamed.onnx")
    found = verify_artefact(tmp_path / "renamed.onnx", "digits", device="bitfusion", num_images=50)
    assert found.score is not None
    assert found.score.value * 50 == count_right(deployment, 50)
    assert (found.record, found.kept) == (None, None)
    assert found.cost is not None
    assert found.cost.macs == deployment.context.graph.macs
    assert "no description beside it" in found.summary()


def test_a_renamed_file_is_still_known_by_its_bytes(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "pt2", tmp_path / "out")
    (tmp_path / "out" / "network.pt2").rename(tmp_path / "out" / "mine.pt2")
    assert verify_artefact(tmp_path / "out" / "mine.pt2", "digits").is_as_promised


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
        ((tmp_path / "broken.pt2", "--data", "digits"), "cannot open it as a program"),
        ((tmp_path / "network.pt", "--data", "digits"), "network.py, which is missing"),
        ((tmp_path, "--data", "digits"), "network.py, which is missing"),
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
