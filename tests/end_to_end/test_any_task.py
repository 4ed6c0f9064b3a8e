"""Networks that are no classifiers, by study file: a U-Net scored by IoU, and a regressor by 1 - error."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import explorer as api
from explorer.cli import main
from explorer.export.verify import open_session
from explorer.models.unet import UNet
from explorer.study.folder import read_outcome
from tests.support.pages import read_page_data

PAGE = Path(__file__).parents[2] / "docs" / "any_task.md"
Explorer = Callable[..., Any]


def write_study(folder: Path, study: str, module: str, code: str) -> Path:
    folder.mkdir()
    (folder / "study.toml").write_text(study)
    (folder / f"{module}.py").write_text(code)
    return folder


def run_commands(*commands: tuple[object, ...]) -> None:
    for command in commands:
        with pytest.raises(SystemExit) as stopped:
            main([str(part) for part in command])
        assert not stopped.value.code, command


def read_rows(run: Path) -> list[dict[str, str]]:
    with (run / "front.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's study in "shapes", its finished run in "run", exported both ways and fine-tuned."""
    home = tmp_path_factory.mktemp("masks")
    study, code = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[:2]
    shapes, run = write_study(home / "shapes", study, "shapes", code), home / "run"
    run_commands(
        ("run", shapes, "--out", run),
        ("export", run, "--pick", "accurate", "--to", home / "onnx"),
        ("export", run, "--pick", "accurate", "--to", home / "integer", "--format", "integer"),
        ("finetune", run, "--pick", "accurate", "--epochs", "2"),
        ("export", run, "--pick", "accurate", "--tuned", "--to", home / "tuned"),
    )
    return home


def iou_by_hand(logits: NDArray[np.generic], wanted: NDArray[np.bool_]) -> float:
    """Mean of the intersection over union of single images, in sets of positions."""
    found = []
    for image, mask in zip(logits, wanted, strict=True):
        here, there = ({tuple(place) for place in np.argwhere(each)} for each in (image[0] > 0, mask))
        found.append(len(here & there) / len(here | there) if here | there else 1.0)
    return float(np.mean(found))


def test_the_front_calls_the_score_by_its_name(masks: Path) -> None:
    outcome = read_outcome(masks / "run")
    assert outcome.objectives == ("iou", "energy")
    plain = outcome.baselines[0]
    assert plain.held_out.value > 0.75
    assert plain.held_out.deviation is not None
    assert plain.held_out.standard_error == pytest.approx(plain.held_out.deviation / 24**0.5)
    first, *_ = rows = read_rows(masks / "run")
    assert {"iou_search", "iou_held_out", "standard_error_search"} <= first.keys()
    assert not any("accuracy" in key for key in first)
    assert len(rows) == len(outcome.front)
    assert all(float(row["iou_search"]) >= 0.7 for row in rows)
    budgeted = [item for item in outcome.evaluations if any(key == "iou" for key, _ in item.violations)]
    assert all(item.score is not None and item.score.value < 0.7 for item in budgeted)


@pytest.mark.parametrize(
    ("folder", "file"), [("onnx", "model.onnx"), ("tuned", "model.onnx"), ("integer", "integer.onnx")]
)
def test_the_exported_network_has_the_score_that_is_told(folder: str, file: str, masks: Path) -> None:
    """Run by onnxruntime, and scored by hand on the images that the search never saw."""
    told = json.loads((masks / folder / ("summary.json" if folder == "integer" else "configuration.json")).read_text())
    stated = told["iou"] if folder == "integer" else told["network"]["iou"]
    images, wanted = runpy.run_path(str(masks / "shapes" / "shapes.py"))["read"]()[1]
    session = open_session(masks / folder / file)
    outputs = session.run(None, {session.get_inputs()[0].name: images})[0]
    held_out = _held_out(images, wanted, masks / "run")
    assert len(held_out) == 24
    assert iou_by_hand(outputs[held_out], wanted[held_out]) == pytest.approx(stated["value"], abs=1e-6)
    assert "accuracy" not in json.dumps(told)


def _held_out(images: NDArray[np.float32], wanted: NDArray[np.bool_], run: Path) -> NDArray[np.intp]:
    """Which of the test images the study holds out."""
    from explorer.data.load import load_data  # noqa: PLC0415
    from explorer.study.folder import read_study  # noqa: PLC0415

    study = read_study(run)
    held_out = load_data(study.data, folder=study.folder).held_out
    return np.array([int(np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0]) for image in held_out.images])


def test_every_command_says_what_was_compared(masks: Path, explorer: Explorer, tmp_path: Path) -> None:
    said = explorer("export", masks / "run", "--pick", "accurate", "--to", tmp_path / "again")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"p\d+, iou \d\d\.\d\d% on 24 held-out images", said.out)
    told = r"outputs of 24 of 24 images agree within 1% of their range, and so does the score \(\d\d\.\d\d% expected\)"
    assert re.search(told, " ".join(said.out.split()))
    said = explorer("front", masks / "run")
    assert "iou %" in said.out
    assert "accuracy" not in said.out
    said = explorer("finetune", masks / "run", "--pick", "accurate", "--epochs", "2")
    assert re.search(r"iou on 24 held-out images: \d\d\.\d\d% \(\+- ", said.out)
    said = explorer("check", masks / "shapes")
    assert "targets of 16 x 16 each" in said.out
    data = read_page_data(masks / "run" / "report.html")
    assert (data["score_name"], data["score"]) == ("iou", "iou")


def test_relevance_is_of_what_the_study_names(masks: Path, explorer: Explorer) -> None:
    said = explorer("relevance", masks / "shapes", "--folder", masks / "run")
    assert (said.code, said.err) == (0, "")
    page = (masks / "run" / "relevance_deeplift.html").read_text(encoding="utf-8")
    assert "shapes:foreground" in page
    assert '"label": null' in page or '"label":null' in page


def test_another_score_does_not_go_on_with_the_run(masks: Path, explorer: Explorer, tmp_path: Path) -> None:
    """Neither under another name, nor the function changed."""
    shutil.copytree(masks / "shapes", tmp_path / "shapes")
    shutil.copytree(masks / "run", tmp_path / "run")
    module = tmp_path / "shapes" / "shapes.py"
    module.write_text(module.read_text().replace("found = outputs[:, 0] > 0", "found = outputs[:, 0] > 0.5"))
    said = explorer("run", tmp_path / "shapes", "--out", tmp_path / "run")
    assert said.code == 2
    assert "holds the results of another study" in said.err
    assert "score was" in said.err


REGRESSION = """
[study]
name = "angle"
[model]
factory = "angle:Regressor"
[model.training]
loss = "angle:loss"
epochs = 30
learning_rate = 0.01
[data]
source = "function"
function = "angle:read"
calibration = 32
relevance = 16
[score]
function = "angle:score"
name = "closeness"
[device]
profile = "bitfusion"
[objectives]
names = ["closeness", "weight_memory"]
[search]
trials = 6
population = 4
seeds = 2
"""
ANGLES = """
import torch
from torch import nn


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(1, 6, 3), nn.Linear(6 * 36, 12), nn.Linear(12, 1)

    def forward(self, x):
        return self.fc2(self.fc1(self.conv(x).relu().flatten(1)).relu())


def read():
    draw = torch.Generator().manual_seed(0)

    def made(count):
        value = torch.rand(count, generator=draw)
        ramp = torch.linspace(0, 1, 8).expand(8, 8)
        images = value[:, None, None, None] * ramp + 0.1 * torch.randn(count, 1, 8, 8, generator=draw)
        return images, value

    return made(200), made(60), made(60)


def loss(outputs, targets):
    return (outputs[:, 0] - targets).square().mean()


def score(outputs, targets):
    return 1 - (outputs[:, 0] - targets).abs().clamp(max=1)
"""


SCORE, LOSS = "1 - (outputs[:, 0] - targets).abs().clamp(max=1)", "(outputs[:, 0] - targets).square().mean()"


def test_a_regressor_is_scored_by_how_near_it_comes(explorer: Explorer, tmp_path: Path) -> None:
    study, run = write_study(tmp_path / "angle", REGRESSION, "angle", ANGLES), tmp_path / "run"
    said = explorer("run", study, "--out", run)
    assert (said.code, said.err) == (0, "")
    said = explorer("export", run, "--to", tmp_path / "out")
    assert (said.code, said.err) == (0, "")
    plain, point = read_outcome(run).baselines[0], json.loads((tmp_path / "out" / "configuration.json").read_text())
    assert plain.held_out.value > 0.9
    images, values = runpy.run_path(str(study / "angle.py"))["read"]()[2]
    session = open_session(tmp_path / "out" / "model.onnx")
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    nearness = 1 - np.abs(outputs[:, 0] - values.numpy())
    assert point["network"]["closeness"]["value"] == pytest.approx(float(nearness.mean()), abs=1e-6)
    assert float(read_rows(run)[0]["closeness_held_out"]) > 0.8


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (SCORE, "outputs[:, 0] - 7", "'closeness' to return one number in [0, 1]"),
        (SCORE, "(outputs[:, 0] * targets).mean()", "received one of shape ()"),
        (
            SCORE,
            "outputs @ outputs",
            "'closeness' failed on outputs of shape",
        ),
        ("def score", "def other", "score.function: 'angle:score': the module has no 'score'"),
        (LOSS, "(outputs[:, 0] - targets).square()", "expected one number with gradients"),
        (LOSS, "targets.mean()", "received one without gradients"),
        ("return images, value", "return images, value[1:]", "data.function: 'angle:read': train: expected one target"),
        (".relu())\n", ".relu()),\n", "expected one tensor with an entry for each of 2 images, received a tuple"),
    ],
)
def test_what_the_users_functions_do_wrong_is_one_line(
    old: str, new: str, told: str, explorer: Explorer, tmp_path: Path
) -> None:
    assert old in ANGLES
    study = write_study(tmp_path / "angle", REGRESSION, "angle", ANGLES.replace(old, new))
    said = explorer("run", study, "--out", tmp_path / "run")
    assert said.code == 2
    (line,) = [line for line in said.err.splitlines() if line.startswith("error")]
    assert told in line
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('names = ["closeness",', 'names = ["accuracy",', 'objectives.names[0]: expected "closeness" or "energy"'),
        ('name = "closeness"', 'name = "energy"', "score.name: expected a name of letters, digits and _ that no cost"),
        (
            'function = "angle:score"',
            "",
            "score.name: without score.function expected \"likeness\", received 'closeness'",
        ),
        ('name = "closeness"', 'name = "likeness"', "score.name: expected a name of letters"),
        ('loss = "angle:loss"', "", "model.training.loss: missing; the targets are no class numbers"),
        (
            '[score]\nfunction = "angle:score"\nname = "closeness"',
            "",
            "score.function: missing; the targets",
        ),
        (
            "[search]",
            "[budgets]\naccuracy = 0.5\n[search]",
            "budgets.accuracy: unknown key; the score is called",
        ),
        ("[search]", "[budgets]\ncloseness = 2\n[search]", "budgets.closeness: expected a number above 0"),
        ("[search]", '[relevance]\nmethod = "layer_importance"\n[search]', "'layer_importance' is of classes"),
    ],
)
def test_what_a_study_of_another_task_can_have_wrong_is_one_line(
    old: str, new: str, told: str, explorer: Explorer, tmp_path: Path
) -> None:
    assert old in REGRESSION
    text = REGRESSION.replace(old, new)
    if "[score]" not in text:
        text = text.replace('"closeness"', '"accuracy"')
    said = explorer("run", write_study(tmp_path / "angle", text, "angle", ANGLES), "--out", tmp_path / "run")
    assert said.code == 2
    assert told in said.err
    assert len([line for line in said.err.splitlines() if line.startswith("error")]) == 1


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("compare",), "score: a comparison is of which images are right"),
        (("relevance", "--class", "1"), "class 1: expected none, since targets are no class numbers"),
        (("relevance", "--method", "hessian_trace"), "relevance.method: 'hessian_trace' is of classes"),
    ],
)
def test_what_is_of_classes_alone_is_refused(
    command: tuple[str, ...], told: str, masks: Path, explorer: Explorer, tmp_path: Path
) -> None:
    shutil.copytree(masks / "shapes", tmp_path / "shapes")
    said = explorer(command[0], tmp_path / "shapes", *command[1:])
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err


def test_a_checkpoint_is_tuned_by_its_teacher_or_by_a_loss_that_is_named(
    masks: Path, explorer: Explorer, tmp_path: Path
) -> None:
    (weights,) = (masks / "run").glob("weights-*.pt")
    folder = tmp_path / "shapes"
    shutil.copytree(masks / "shapes", folder)
    text = (folder / "study.toml").read_text()
    text = re.sub(r"\[model\.training\].*?\n\n", "", text, flags=re.DOTALL)
    text = text.replace("[model]\n", f'[model]\ncheckpoint = "{weights}"\n').replace("trials = 12", "trials = 2")
    (folder / "study.toml").write_text(text + "\n[finetuning]\nepochs = 1\n")
    run_commands(("run", folder, "--out", tmp_path / "run"))
    said = explorer("finetune", tmp_path / "run", "--pick", "accurate")
    assert said.code == 2
    assert "finetuning.loss: missing; the targets are no class numbers" in said.err
    assert "set finetuning.teacher_weight = 1" in said.err
    (folder / "study.toml").write_text(text + "\n[finetuning]\nepochs = 1\nteacher_weight = 1.0\n")
    run_commands(("run", folder, "--out", tmp_path / "run"))  # what comes after the search does not change it
    said = explorer("finetune", tmp_path / "run", "--pick", "accurate")
    assert (said.code, said.err) == (0, "")


def test_the_same_from_python(masks: Path, tmp_path: Path) -> None:
    functions = runpy.run_path(str(masks / "shapes" / "shapes.py"))
    train, (images, wanted) = functions["read"]()
    (weights,) = (masks / "run").glob("weights-*.pt")
    model = UNet(classes=1, in_channels=1, widths=(8, 16, 24))
    model.load_state_dict(torch.load(weights, weights_only=True))
    search, held_out = (images[:24], wanted[:24]), (images[24:], wanted[24:])
    net = api.open(model.eval(), *train, search=search, held_out=held_out, score=functions["iou"])
    with torch.no_grad():
        outputs = model(torch.from_numpy(held_out[0])).numpy()
    plain = api.score(model, *held_out, function=functions["iou"])
    assert plain.value == pytest.approx(iou_by_hand(outputs, held_out[1]), abs=1e-6)
    result = api.search(net, api.Space(weight_bits=(4, 8)), "bitfusion", trials=4, seeds=2, budgets={"iou": 0.5})
    assert "iou_search" in result.front.to_frame().columns
    assert result.best(max_loss=20).score.value >= plain.value - 0.3
    with pytest.raises(api.ExplorerError, match=r"loss: missing; the targets are no class numbers"):
        api.finetune(net, result.knee, epochs=1)
    tuned = api.finetune(net, result.knee, epochs=1, loss=functions["loss"])
    exported = api.export(tuned, tmp_path / "out")
    assert exported.score.value == pytest.approx(api.score(tuned).value, abs=0.01)
    assert "iou" in exported.summary()
