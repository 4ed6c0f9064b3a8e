"""A search by likeness to the float network: labels change nothing, and its scores are those of the exported file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import explorer as api
from explorer import ExplorerError
from explorer.cli import main
from explorer.export.record import read_record
from explorer.export.verify import open_session
from explorer.study.folder import read_outcome
from explorer.study.prepare import open_study
from explorer.study.study_file import load_study

Explorer = Callable[..., Any]
STUDY = """
[study]
name = "alike"

[model]
reference = "lenet5_digits"

[model.training]
epochs = 2

[data]
source = "function"
function = "data:read"

[score]
name = "likeness"

[device]
profile = "bitfusion"

[objectives]
names = ["likeness", "energy"]

[budgets]
likeness = 0.2

[search]
trials = 8
seeds = 4
"""
CODE = """
import numpy as np
from sklearn.datasets import load_digits

def read():
    found = load_digits()
    images, labels = (found.images[:, None] / 16).astype(np.float32), found.target.astype(np.int64)
    return (images[:800], labels[:800]), (images[800:900], labels[800:900]), (images[900:1000], labels[900:1000])
"""
SHUFFLED = CODE.replace("labels[800:900]", "labels[800:900][::-1].copy()").replace(
    "labels[900:1000]", "labels[900:1000][::-1].copy()"
)

PIXELS = """
import torch

def Pixels():
    return torch.nn.Conv2d(1, 1, 3, padding=1)
"""

WIDE = """
import torch.nn as nn

def Wide():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
"""


def run(*command: object) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(part) for part in command])
    assert not stopped.value.code, command


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study in "labels" and, its labels of search and held-out images in another order, "others"."""
    folder = tmp_path_factory.mktemp("likeness")
    for name, code in (("labels", CODE), ("others", SHUFFLED)):
        (folder / name).mkdir()
        (folder / name / "study.toml").write_text(STUDY)
        (folder / name / "data.py").write_text(code)
        run("run", folder / name, "--out", folder / name / "run")
    run("export", folder / "labels" / "run", "--pick", "accurate", "--to", folder / "onnx")
    return folder


def test_labels_that_judge_change_nothing(alike: Path) -> None:
    assert CODE != SHUFFLED
    fronts = [(alike / name / "run" / "front.csv").read_text() for name in ("labels", "others")]
    assert fronts[0] == fronts[1]
    assert "likeness" in fronts[0].splitlines()[0]


def test_what_it_takes_is_told_before_the_network_is_trained(alike: Path, explorer: Explorer) -> None:
    said = explorer("check", alike / "labels")
    assert said.code == 0
    assert "s for each of 8 candidates" in said.out


def test_its_scores_are_one_less_the_distance_from_the_float_networks_probabilities(alike: Path) -> None:
    """By numpy alone, from the outputs of the exported file."""
    run_folder = alike / "labels" / "run"
    prepared, outcome = open_study(load_study(alike / "labels"), run_folder), read_outcome(run_folder)
    member = max(outcome.front, key=lambda point: point.held_out.value)
    (images,) = prepared.data.held_out.inputs
    session = open_session(alike / "onnx" / "model.onnx")
    (given,) = session.run(None, {session.get_inputs()[0].name: images})
    with torch.inference_mode():
        wanted = prepared.context.reference(torch.from_numpy(images)).numpy()
    roots = []
    for outputs in (given, wanted):
        shares = np.exp(outputs.astype(np.float64) - outputs.max(1, keepdims=True))
        roots.append(np.sqrt(shares / shares.sum(1, keepdims=True)))
    distances = np.sqrt(((roots[0] - roots[1]) ** 2).sum(1) / 2)
    assert member.held_out.value == pytest.approx(1.0 - distances.mean(), abs=1e-5)
    assert 0.5 < member.held_out.value < 1.0
    assert outcome.baselines[0].held_out.value == 1.0


def test_what_is_exported_is_measured_by_its_labels(alike: Path, explorer: Explorer) -> None:
    found = [explorer("verify", alike / "onnx", "--data", alike / name / "study.toml") for name in ("labels", "others")]
    right, wrong = (float(re.findall(r"right +([\d.]+)%", each.out)[0]) for each in found)
    assert right > wrong + 30


def test_what_a_run_depends_on_are_not_the_last_digits_of_outputs(alike: Path) -> None:
    found = open_study(load_study(alike / "labels"), alike / "labels" / "run")
    before, references = found.identity(), found.data.search.references
    assert references is not None
    references += 1e-6
    assert found.identity() == before


def test_what_is_exported_knows_the_images_that_it_was_checked_on(alike: Path) -> None:
    record = read_record(alike / "onnx" / "model.onnx")
    held_out = open_study(load_study(alike / "labels"), alike / "labels" / "run").data.held_out
    assert record is not None
    assert record.images == held_out.digest()
    measured = api.verify(alike / "onnx", held_out)
    assert measured.score_name == "accuracy"
    assert any("recorded likeness" in note for note in measured.notes)


def closeness(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + (outputs.mean(1) - targets - 1).square())


def test_a_search_is_read_with_the_score_that_it_went_by_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    images, labels = torch.rand(100, 1, 8, 8), torch.arange(100) % 10
    net = api.open(model, images, labels, score="likeness")
    api.search(net, device="bitfusion", objectives=("likeness", "energy"), trials=4, folder=tmp_path)
    assert api.load(tmp_path, net).open_net().score is net.score
    with pytest.raises(ExplorerError, match="scored by likeness, as the search was, received one by accuracy"):
        api.load(tmp_path, api.open(model, images, labels)).open_net()


def test_the_float_network_is_like_itself_without_an_error(alike: Path) -> None:
    found = api.load(alike / "labels" / "run")
    moved = found.retarget("gap9_ne16")
    for outcome in (found.outcome, moved.outcome):
        assert (outcome.baselines[0].search.value, outcome.baselines[0].search.standard_error) == (1.0, 0.0)
        assert outcome.baselines[0].held_out.standard_error == 0.0
        assert outcome.baselines[1].held_out.standard_error > 0.0


def test_a_search_from_python_takes_images_without_labels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    images, nothing = torch.rand(100, 1, 8, 8), torch.zeros(100)
    net = api.open(model, images, nothing, score="likeness")
    found = api.search(net, device="bitfusion", objectives=("likeness", "energy"), trials=6)
    scores = [point.held_out.value for point in found.front]
    assert len(set(scores)) == len(scores) > 1
    coarse, fine = (api.compress(net, api.uniform(net, bits, 8)) for bits in (2, 8))
    assert api.score(coarse).value < api.score(fine).value == pytest.approx(1.0, abs=0.02)
    assert api.score(fine, net.data.held_out.inputs[0], nothing[:20]).value == api.score(fine).value
    assert api.accuracy(fine, net.data.held_out.inputs[0], [0] * 20).value < 1.0
    again = api.open(model, net.data.train, search=net.data.search, held_out=net.data.held_out, score=closeness)
    assert api.score(api.compress(again, api.uniform(again, 8, 8))).value < 0.9
    with pytest.raises(ExplorerError, match='"likeness" is the built-in one'):
        api.open(model, images, nothing, score=api.Score(name="likeness", function=closeness))
    with pytest.raises(ExplorerError, match="likeness is to a float network's outputs, which are not known here"):
        api.score(model, images, nothing, function=net.score)
    with pytest.raises(ExplorerError, match=r"expected a function .* received 'accuracy'"):
        api.open(model, images, nothing, score="accuracy")  # type: ignore[arg-type]


def test_outputs_that_are_no_classes_are_refused_in_one_line(explorer: Explorer, tmp_path: Path) -> None:
    text = STUDY.replace('reference = "lenet5_digits"', 'factory = "data:Pixels"')
    text = text.replace("[model.training]\nepochs = 2", 'checkpoint = "weights.pt"')
    (tmp_path / "study.toml").write_text(text)
    (tmp_path / "data.py").write_text(CODE.replace("labels[", "images[") + PIXELS)
    torch.save(nn.Conv2d(1, 1, 3, padding=1).state_dict(), tmp_path / "weights.pt")
    said = explorer("run", tmp_path, "--out", tmp_path / "run")
    assert said.code == 2
    assert (
        'score.name: "likeness" compares the probabilities that logits of classes give, received outputs of shape'
        in said.err
    )
    assert "Traceback" not in said.err


def test_a_file_whose_outputs_have_8_bits_is_written_though_they_cost_likeness(
    explorer: Explorer, tmp_path: Path
) -> None:
    """One class is so far below the others that the step of its logits is half a unit."""
    text = STUDY.replace('reference = "lenet5_digits"', 'factory = "data:Wide"')
    text = text.replace("[model.training]\nepochs = 2", 'checkpoint = "weights.pt"')
    (tmp_path / "study.toml").write_text(text)
    (tmp_path / "data.py").write_text(CODE + WIDE)
    torch.manual_seed(0)
    classify = nn.Linear(288, 10)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), classify)
    with torch.no_grad():
        classify.weight.mul_(10)
        classify.bias[9] = -60.0
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    run("run", tmp_path, "--out", tmp_path / "run")
    said = explorer("export", tmp_path / "run", "--pick", "accurate", "--format", "tflite", "--to", tmp_path / "out")
    assert said.code == 0, said.err
