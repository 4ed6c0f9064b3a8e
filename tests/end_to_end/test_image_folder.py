"""A user's own network, checkpoint and folder of images: fifteen lines of study file, from the search to ONNX."""

import json
import random
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explorer.export.verify import open_session
from explorer.settings import TrainingSettings
from explorer.study.folder import read_outcome
from explorer.training.epochs import Recipe
from explorer.training.train import train_model
from tests.support.pages import read_page_data

STUDY = """\
[study]
name = "shapes"
[model]
factory = "network:build"
checkpoint = "weights.pt"
input_shape = [3, 16, 16]
[data]
source = "folder"
path = "photos"
[device]
profile = "gemmini_default"
[objectives]
names = ["accuracy", "energy", "latency"]
[space]
filter_keep_ratio = [0.5, 0.75, 1.0]
"""
NETWORK = """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.fc = nn.Linear(12 * 4 * 4, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


build = Net
"""
CLASSES = ("circle", "square", "triangle")
COUNTS = {"train": 100, "test": 40}
"""Images of each class."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRIALS = 30


def draw(name: str, draws: random.Random) -> Image.Image:
    """A bright shape somewhere on a dark ground, in an image of any size."""
    width, height = draws.randint(24, 48), draws.randint(24, 48)
    image = Image.new("RGB", (width, height), tuple(draws.randint(0, 90) for _ in range(3)))
    size = draws.randint(14, 22)
    left, top = draws.randint(0, width - size - 1), draws.randint(0, height - size - 1)
    box = (left, top, left + size, top + size)
    colour = tuple(draws.randint(140, 255) for _ in range(3))
    pen = ImageDraw.Draw(image)
    if name == "circle":
        pen.ellipse(box, fill=colour)
    elif name == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(left, box[3]), (box[2], box[3]), (left + size // 2, top)], fill=colour)
    return image


def pixels(files: list[Path]) -> NDArray[np.float32]:
    """What a user feeds the network with: resized to 16 x 16, normalised as for torchvision's networks."""
    images = [np.asarray(Image.open(file).resize((16, 16), Image.Resampling.BILINEAR)) for file in files]
    normalised = (np.stack(images) / 255 - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2), np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file, photos, a network, and a checkpoint of its training; only to be copied."""
    folder = tmp_path_factory.mktemp("made")
    draws = random.Random(0)
    for part, count in COUNTS.items():
        for name in CLASSES:
            (folder / "photos" / part / name).mkdir(parents=True)
            for index in range(count):
                draw(name, draws).save(folder / "photos" / part / name / f"{index:03}.png")
    (folder / "study.toml").write_text(STUDY)
    (folder / "network.py").write_text(NETWORK)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = runpy.run_path(str(folder / "network.py"))["build"]()
    files, labels = photos(folder, "train")
    recipe = Recipe(settings=TrainingSettings(epochs=30, learning_rate=0.005, batch_size=32), seed=0)
    train_model(model, pixels(files), labels, recipe)
    torch.save(model.state_dict(), folder / "weights.pt")
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a study of one's own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photos(folder: Path, part: str) -> tuple[list[Path], NDArray[np.int64]]:
    """All images of a part, and their labels."""
    files = [file for name in CLASSES for file in sorted((folder / "photos" / part / name).iterdir())]
    return files, np.repeat(np.arange(3), len(files) // 3)


def test_fifteen_lines_search_report_and_export(own: Path, explorer: Callable[..., Any]) -> None:
    assert len((own / "study.toml").read_text().splitlines()) == 15
    for command in (
        ("run", "study.toml", "--out", "run", "--trials", TRIALS),
        ("report", "run"),
        ("export", "run", "--to", "out", "--pick", "cheapest"),
    ):
        said = explorer(*command)
        assert (said.code, said.err) == (0, "")
    outcome = read_outcome(own / "run")
    data = read_page_data(own / "run" / "report.html")
    assert data["evaluations"]["number"] == list(range(TRIALS))
    assert {point.name for point in outcome.front} < {point["name"] for point in data["points"]}
    assert len(outcome.evaluations) == TRIALS
    assert any(share < 1 for entry in outcome.evaluations for _, share in entry.candidate.filter_keep_ratio)

    # All test images are either search or held out, and the float network sees them as its user does.
    files, labels = photos(own, "test")
    images = pixels(files)
    model = runpy.run_path("network.py")["build"]()
    model.load_state_dict(torch.load("weights.pt", weights_only=True))
    with torch.inference_mode():
        right = int((model(torch.from_numpy(images)).argmax(1).numpy() == labels).sum())
    assert right > 0.8 * len(files)
    reference = next(baseline for baseline in outcome.baselines if baseline.name == "float")
    assert reference.search.num_images == reference.held_out.num_images == len(files) // 2
    assert round((reference.search.value + reference.held_out.value) * len(files) / 2) == right

    point = outcome.front[0]
    assert point.evaluation.score is not None
    session = open_session(own / "out" / "model.onnx")
    logits = session.run(None, {session.get_inputs()[0].name: images})[0]
    searched = (point.evaluation.score.value + point.held_out.value) * len(files) / 2
    # A logit at the boundary of two codes may fall to either side: other sums of float32.
    assert abs(int((logits.argmax(1) == labels).sum()) - round(searched)) <= 1
    configuration = json.loads((own / "out" / "configuration.json").read_text())
    assert configuration["point"] == point.name
    assert set(configuration["layers"]) == {"conv1", "conv2", "fc"}


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda photos: (photos / "test" / "square" / "007.png").write_bytes(b"\x89PNG"), "square/007.png: cannot be"),
        (lambda photos: (photos / "train" / "star").mkdir(), "train/star: no images; add some, or remove the folder"),
        (lambda photos: photos.rename(photos.parent / "images"), "photos: no such folder; set data.path to a folder"),
    ],
)
def test_a_wrong_folder_is_one_line(
    spoil: Callable[[Path], object], expected: str, own: Path, explorer: Callable[..., Any]
) -> None:
    spoil(own / "photos")
    said = explorer("run", "study.toml", "--out", "run")
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert expected in said.err
    assert len(said.err.splitlines()) == 1
    assert not (own / "run").exists()
