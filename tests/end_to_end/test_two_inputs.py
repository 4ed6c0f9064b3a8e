"""A network with two inputs, by study file and from Python: searched, reported, explained, tuned and exported."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

import explorer as api
from explorer.export.integer.package import read_program
from explorer.export.verify import open_session
from explorer.integer.interpret import run_program
from explorer.packed.file import read_packed
from explorer.study.folder import read_outcome
from tests.support.pages import read_page_data

NETWORK = '''
import torch
import torch.nn.functional as F
from torch import nn


class Two(nn.Module):
    """A scan, and what is known of the patient."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.side = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(3, 8)
        self.joint, self.fc = nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, scan, patient):
        x = F.max_pool2d(F.relu(self.norm(self.conv1(scan))), 2)
        x = F.relu(self.conv2(x)).mean((2, 3))
        return self.fc(F.relu(self.joint(torch.cat((x, F.relu(self.side(patient))), 1))))


def data():
    """A bar that stands or lies in the scan, and an age: neither says the class by itself."""
    draw = torch.Generator().manual_seed(0)

    def made(count):
        upright, old = torch.randint(0, 2, (2, count), generator=draw)
        bars = torch.zeros(2, 1, 8, 8)
        bars[0, 0, :, 3:5], bars[1, 0, 3:5] = 1.0, 1.0
        scan = bars[upright] + 0.4 * torch.randn(count, 1, 8, 8, generator=draw)
        patient = 0.3 * torch.randn(count, 3, generator=draw)
        patient[:, 1] += 2 * old - 1
        return (scan, patient), 2 * upright + old

    return made(400), made(120), made(120)
'''
STUDY = """
[study]
name = "two_inputs"
[model]
factory = "network:Two"
[model.training]
epochs = 6
learning_rate = 0.02
batch_size = 32
shift_pixels = 1.0
[data]
source = "function"
function = "network:data"
calibration = 64
relevance = 16
[device]
profile = "bitfusion"
[objectives]
names = ["accuracy", "energy", "weight_memory"]
[search]
trials = 10
population = 5
seeds = 3
[finetuning]
epochs = 1
[compute]
device = "cpu"
"""
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]
Explorer = Callable[..., Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study in "two", its finished run in "run", exported both ways."""
    from explorer.cli import main  # noqa: PLC0415  (only where a test asks for a run)

    home = tmp_path_factory.mktemp("two_inputs")
    (home / "two").mkdir()
    (home / "two" / "network.py").write_text(NETWORK)
    (home / "two" / "study.toml").write_text(STUDY)
    run = str(home / "run")
    for command in (
        ["run", str(home / "two"), "--out", run],
        ["report", run],
        ["export", run, "--pick", "knee", "--to", str(home / "onnx")],
        ["export", run, "--pick", "knee", "--to", str(home / "integer"), "--format", "integer"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert not stopped.value.code, command
    return home


@pytest.fixture(scope="module")
def held_out(finished: Path) -> tuple[Arrays, NDArray[np.int64]]:
    """The images that nothing was chosen on."""
    _, _, ((scan, patient), labels) = runpy.run_path(str(finished / "two" / "network.py"))["data"]()
    return (scan.numpy(), patient.numpy()), labels.numpy()


def run_file(path: Path, inputs: Arrays) -> NDArray[np.generic]:
    """What onnxruntime gives for inputs by the names of forward()'s arguments."""
    logits: NDArray[np.generic] = open_session(path).run(None, dict(zip(("scan", "patient"), inputs, strict=True)))[0]
    return logits


def test_the_front_prices_both_inputs(finished: Path) -> None:
    outcome = read_outcome(finished / "run")
    plain = next(entry for entry in outcome.baselines if entry.name == "uniform 8-bit")
    # The scan (64 bytes) is gone when the pooled image is there; the patient (3) waits until the side layer.
    assert plain.cost.activation_bytes == 3 + 8 * 64 + 8 * 16
    assert plain.cost.macs == 64 * 8 * 9 + 16 * 8 * 8 * 9 + 3 * 8 + 16 * 12 + 12 * 4
    assert plain.held_out.value > 0.9
    with (finished / "run" / "front.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(outcome.front) > 0
    assert '"side"' in json.dumps(read_page_data(finished / "run" / "report.html"))  # the layer that reads the patient


def test_the_file_takes_each_input_by_its_name(finished: Path, held_out: tuple[Arrays, NDArray[np.int64]]) -> None:
    (scan, patient), labels = held_out
    path = finished / "onnx" / "model.onnx"
    shapes = {entry.name: entry.shape[1:] for entry in open_session(path).get_inputs()}
    assert shapes == {"scan": [1, 8, 8], "patient": [3]}
    right = run_file(path, (scan, patient)).argmax(1) == labels
    stated = json.loads((finished / "onnx" / "configuration.json").read_text())["network"]
    assert right.mean() == pytest.approx(
        next(v["value"] for v in stated.values() if isinstance(v, dict) and "value" in v)
    )
    for wrong in ((scan[::-1].copy(), patient), (scan, patient[::-1].copy())):
        assert (run_file(path, wrong).argmax(1) == labels).mean() < 0.75  # half of what it needs to know


def test_the_program_has_a_quantiser_for_each_input(finished: Path, held_out: tuple[Arrays, NDArray[np.int64]]) -> None:
    inputs, labels = held_out
    described = json.loads((finished / "integer" / "program.json").read_text())
    assert described["inputs"] == [{"name": "scan", "shape": [1, 8, 8]}, {"name": "patient", "shape": [3]}]
    quantised = {step["input"]: step for step in described["steps"] if step["operation"] == "QuantizeInput"}
    assert list(quantised) == ["scan", "patient"]
    assert quantised["scan"]["scale"] != quantised["patient"]["scale"]
    logits = run_program(read_program(finished / "integer"), inputs)
    assert np.array_equal(run_file(finished / "integer" / "integer.onnx", inputs), logits)
    assert (logits.argmax(1) == labels).mean() > 0.8


def test_pixels_are_shown_of_the_input_that_has_some(finished: Path, explorer: Explorer) -> None:
    table = finished / "filters.csv"
    said = explorer("relevance", finished / "two", "--folder", finished / "run", "--csv", table)
    assert (said.code, said.err) == (0, "")
    assert "Not every input has pixel maps: no image is what the network reads as patient." in said.out
    with table.open(newline="") as file:
        assert {row["layer"] for row in csv.DictReader(file)} == {"conv1", "conv2", "side", "joint", "fc"}
    page = (finished / "run" / "relevance_deeplift.html").read_text(encoding="utf-8")
    assert page.count('"input": "scan"') + page.count('"input":"scan"') == 4


def test_it_is_tuned_and_packed(finished: Path, explorer: Explorer) -> None:
    for command in (
        ("finetune", finished / "run"),
        ("export", finished / "run", "--tuned", "--to", finished / "tuned"),
        ("compress", finished / "two", "--to", finished / "packed"),
        ("check", finished / "two"),
    ):
        said = explorer(*command)
        assert (said.code, said.err) == (0, ""), command
    assert "images of 1 x 8 x 8 and 3" in said.out
    assert {layer.name for layer in read_packed(finished / "packed" / "network.bin").layers} >= {"conv1", "side"}


def test_the_same_from_python(finished: Path, held_out: tuple[Arrays, NDArray[np.int64]], tmp_path: Path) -> None:
    made = runpy.run_path(str(finished / "two" / "network.py"), run_name="network")
    train, search, test = made["data"]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = made["Two"]()
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(40):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(*train[0]), train[1]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    net = api.open(model.eval(), *train, search=search, held_out=test)
    assert net.graph.input_shapes == ((1, 8, 8), (3,))
    assert len(set(api.relevance(net, "taylor").layer("side").filter_scores)) == 8
    result = api.search(net, api.Space(weight_bits=(4, 8)), "bitfusion", trials=6, seeds=2)
    small = api.finetune(net, result.knee, epochs=1)
    scored = api.accuracy(small, *test)
    assert scored.value > 0.9
    for form in ("onnx", "integer"):
        assert api.export(small, tmp_path / form, form).verification.agreement >= 0.99
    inputs, labels = held_out
    right = run_file(tmp_path / "onnx" / "model.onnx", inputs).argmax(1) == labels
    assert right.mean() == pytest.approx(scored.value, abs=0.01)
    loader = DataLoader(TensorDataset(*test[0], test[1]), batch_size=50, collate_fn=as_pair)
    assert api.accuracy(small, loader).value == scored.value


def as_pair(samples: list[tuple[torch.Tensor, ...]]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """A batch as (inputs, targets)."""
    *inputs, targets = (torch.stack(parts) for parts in zip(*samples, strict=True))
    return tuple(inputs), targets


WRONG = {
    "the data give one": (
        "def wrong():\n    return [(inputs[0], classes) for inputs, classes in data()]",
        "network:Two",
        "forward() takes 2 inputs (scan, patient), received 1; give one tensor for each",
    ),
    "whole numbers": (
        "def wrong():\n    return [((x, y.long()), classes) for (x, y), classes in data()]",
        "network:Two",
        "data.function: 'network:wrong': train: input 2: expected floats",
    ),
    "by name": (
        "wrong = data\n\n\nclass Named(Two):\n    def forward(self, scan, *, patient):\n"
        "        return super().forward(scan, patient)",
        "network:Named",
        "input 'patient': forward() takes it by name alone; let it take it by place, too",
    ),
    "of the first image alone": (
        "wrong = data\n\n\nclass First(Two):\n    def forward(self, scan, patient):\n"
        "        return super().forward(scan, patient[0].expand(len(scan), -1))",
        "network:First",
        "forward() depends on the number of images",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_ends_in_one_line(case: str, finished: Path, tmp_path: Path, explorer: Explorer) -> None:
    code, factory, told = WRONG[case]
    (tmp_path / "network.py").write_text(f"{NETWORK}\n\n{code}\n")
    study = STUDY.replace("network:data", "network:wrong").replace("network:Two", factory)
    (tmp_path / "study.toml").write_text(study)
    said = explorer("run", tmp_path, "--out", tmp_path / "run")
    assert said.code == 2
    lines = [line for line in said.err.splitlines() if line]
    assert len(lines) == 1
    assert told in lines[0]
