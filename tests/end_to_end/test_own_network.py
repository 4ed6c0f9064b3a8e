"""A user's own network, images and checkpoint, from a study file of fifteen lines to an ONNX file."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer.compress.apply import apply
from explorer.export.verify import open_session
from explorer.models.checkpoint import load_checkpoint
from explorer.settings import TrainingSettings
from explorer.study.choose import recommend
from explorer.study.folder import read_outcome, read_study
from explorer.study.prepare import open_study
from explorer.study.record import Outcome
from explorer.training.epochs import Recipe
from tests.support.integers import exactly
from tests.support.pages import read_page_data

FIFTEEN_LINES = """\
[study]
name = "own"
[model]
factory = "network:build"
checkpoint = "own.pt"
[data]
source = "npz"
path = "images.npz"
search = 100
held_out = 100
[device]
profile = "gemmini_default"
[objectives]
names = ["accuracy", "energy", "latency"]
"""
SHORT = ("--trials", "40")


@pytest.fixture
def own(home: Path) -> Path:
    """A study with a checkpoint, saved as a user saves it."""
    import runpy  # noqa: PLC0415

    from explorer.training.train import train_model  # noqa: PLC0415

    folder = home / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = runpy.run_path(str(folder / "network.py"))["build"]()
    with np.load(folder / "images.npz") as archive:
        images, labels = archive["x_train"], archive["y_train"]
    recipe = Recipe(settings=TrainingSettings(epochs=12, learning_rate=0.02, batch_size=32), seed=0)
    train_model(model, images, labels, recipe)
    torch.save({"state_dict": model.state_dict()}, folder / "own.pt")
    load_checkpoint(model, folder / "own.pt")
    (folder / "study.toml").write_text(FIFTEEN_LINES)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of front.csv."""
    with (folder / "front.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_from_study_to_onnx(own: Path, home: Path, explorer: Callable[..., Any]) -> None:
    run, out = home / "run", home / "exported"
    said = explorer("run", own / "study.toml", "--out", run, *SHORT)
    assert (said.code, said.err) == (0, "")
    for command in (("front", run), ("report", run), ("export", run, "--to", out, "--pick", "cheapest")):
        said = explorer(*command)
        assert (said.code, said.err) == (0, "")
    names = {path.name for path in run.iterdir()} - {".lock"}
    (relevance,) = run.glob("relevance-*.npz")
    kept = {"front.csv", "report.html", "outcome.json", "study.json", "graphs.json", "search.journal", "losses.json"}
    assert names == {*kept, relevance.name}
    assert {path.name for path in out.iterdir()} == {"configuration.json", "model.onnx", "README.md"}

    outcome = read_outcome(run)
    assert len(outcome.evaluations) == 40
    _assert_views(read_page_data(run / "report.html"), outcome)
    assert [
        (row["name"], float(row["accuracy_search"]), float(row["accuracy_held_out"]), row["digest"])
        for row in rows(run)
    ] == [
        (point.name, point.evaluation.score.value, point.held_out.value, point.evaluation.candidate.digest())
        for point in outcome.front
        if point.evaluation.score is not None
    ]
    for row, point in zip(rows(run), outcome.front, strict=True):
        cost = point.evaluation.cost
        assert float(row["energy_uj"]) == pytest.approx(cost.energy_uj, rel=1e-8)
        assert int(row["latency_cycles"]) == cost.latency_cycles
        assert int(row["weight_bytes"]) == cost.weight_bytes

    point, row = outcome.front[0], rows(run)[0]
    prepared = open_study(read_study(run), run, lambda *_: None)
    (images,), labels = prepared.tensors(prepared.data.held_out)
    session = open_session(out / "model.onnx")
    predictions = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0].argmax(1)
    with torch.no_grad():
        searched = apply(prepared.context, point.evaluation.candidate)(images).argmax(1).numpy()
    assert (predictions == searched).mean() >= 0.99
    configuration = json.loads((out / "configuration.json").read_text())
    held_out, measured = float(row["accuracy_held_out"]), configuration["network"]["accuracy"]["value"]
    assert configuration["accuracy"]["held_out"]["value"] == held_out
    assert (predictions == labels.numpy()).mean() == pytest.approx(measured)
    # The search's arithmetic is exact. That of the file is float32, which puts a sum at the border of two codes on the
    # other side now and then: of these 2-bit layers for one image in 100.
    exact, codes = exactly(apply(prepared.context, point.evaluation.candidate), images)
    with torch.no_grad():
        exactly_right = exact(*codes).argmax(1).numpy()
    assert (exactly_right == labels.numpy()).mean() == pytest.approx(held_out)
    assert (predictions != exactly_right).sum() <= 1

    size = (out / "model.onnx").stat().st_size
    assert f"bytes in float32, {size:,} exported" in said.out
    assert f"packed weights {point.evaluation.cost.weight_bytes:,}" in said.out
    assert "100 of 100 predictions agree" in said.out


@pytest.mark.slow
def test_a_moved_run(home: Path, explorer: Callable[..., Any]) -> None:
    assert explorer("run", "tiny", "--out", "run").code == 0
    before = explorer("front", "run").out.partition("report:")[0]
    csv_before = (home / "run" / "front.csv").read_bytes()
    elsewhere = home / "else where [1]"
    shutil.move(home / "run", elsewhere)
    said = explorer("front", elsewhere)
    assert said.out.partition("report:")[0] == before
    assert f"report: {elsewhere / 'report.html'}\n" in said.out
    best = recommend(read_outcome(elsewhere))
    assert best is not None
    assert f"explorer export '{elsewhere}' --pick {best.name} --to '{elsewhere / 'export'}'\n" in said.out
    for name in ("front.csv", "report.html"):
        (elsewhere / name).unlink()
    assert explorer("report", elsewhere).code == 0
    assert (elsewhere / "front.csv").read_bytes() == csv_before
    assert (elsewhere / "report.html").stat().st_size > 1000
    assert explorer("export", elsewhere, "--to", elsewhere / "export").code == 0


@pytest.mark.slow
def test_export_from_another_working_folder(
    home: Path, explorer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explorer("run", "tiny", "--out", "deep/er/run").code == 0  # the study is named by a relative path
    (home / "other").mkdir()
    monkeypatch.chdir(home / "other")
    said = explorer("export", "../deep/er/run", "--to", "here")
    assert (said.code, said.err) == (0, "")
    assert (home / "other" / "here" / "model.onnx").is_file()


def test_budgets_that_nothing_keeps(home: Path, explorer: Callable[..., Any]) -> None:
    study = home / "tiny" / "study.toml"
    study.write_text(study.read_text() + "[budgets]\nenergy_uj = 1e-9\n")
    said = explorer("run", "tiny", "--out", "run")
    advice = "the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder"
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith(advice + "\n")
    assert rows(home / "run") == []
    assert explorer("front", "run").out.endswith(advice + "\n")
    assert explorer("report", "run").code == 0
    assert explorer("export", "run", "--to", "out") == (2, "", f"error: {advice}\n")
    assert not (home / "out").exists()


def _assert_views(data: Any, outcome: Outcome) -> None:
    """Assert that a run's page has what is drawn beside its front, of every member."""
    rises = [share for _, share in data["history"]["rises"]]
    assert rises == sorted(rises)
    assert rises[-1] > 0.0
    assert data["importance"]["values"][0]["title"] == "Accuracy"
    information = data["information"]
    assert information["kept"].keys() == {point.name for point in outcome.front}
    carried = [layer["carried"] for layer in information["layers"]]
    for kept in information["kept"].values():
        assert all(0.0 < bits <= most + 1e-6 for bits, most in zip(kept, carried, strict=True))
    rows = [row for point in data["points"] if point["kind"] == "front" for row in point["cost"]["layers"]]
    widths = {(row["weight_bits"], row["activation_bits"]) for row in rows if row["macs"]}
    assert widths <= {tuple(peak[:2]) for peak in data["roofs"]["peaks"]}
    for row in (row for row in rows if row["macs"]):
        peak = max(each[4] for each in data["roofs"]["peaks"])
        roof = min(data["roofs"]["bandwidth"] * 8 * row["macs"] / row["memory_bits"], peak)
        assert row["macs"] * data["roofs"]["clock_hz"] / row["latency_cycles"] <= 1.01 * roof
