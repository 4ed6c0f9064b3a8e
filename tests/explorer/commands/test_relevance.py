"""`explorer relevance`: what it stores, prints and draws, and one line for bad input that leaves nothing behind."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.relevance.scores import Relevance
from explorer.study import weights as module
from explorer.study.explain import Wanted, explain
from explorer.study.study_file import load_study

Explorer = Callable[..., tuple[int, str, str]]
TINY = Path(__file__).parents[2] / "tiny_study"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, and a folder with what one call of the command has left there."""
    root = tmp_path_factory.mktemp("relevance")
    shutil.copytree(TINY, root / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](root / "tiny" / "images.npz")
    (root / "run").mkdir()
    return root


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(module, "train_model", refuse)


def quiet(stage: str, done: int, total: int) -> None:
    """Show nothing."""


def page_data(page: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_everything_is_written_and_found_again(explorer: Explorer, trained: Path, tmp_path: Path) -> None:
    folder = ("--folder", trained / "run")
    code, out, err = explorer("relevance", trained / "tiny", *folder)
    assert (code, err) == (0, "")
    assert "\nrelevance: " in out
    stored = trained / "run" / "relevance_deeplift.npz"
    found = Relevance.load(stored)
    assert [layer.layer for layer in found.layers] == ["0", "3", "7"]
    assert f"stored: {stored}\n" in out
    assert f"page:   {stored.with_suffix('.html')}\n" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if re.match(r"[037] ", line)}
    for layer in found.layers:
        assert rows[layer.layer][1] == str(len(layer.filter_scores))
        assert rows[layer.layer][3:5] == [f"{layer.filter_scores.max():.4g}", f"{layer.filter_scores.mean():.4g}"]
    assert "method deeplift, reference shuffled, target predicted, aggregation mean_abs, images 16, complete" in out

    to, table = tmp_path / "again.npz", tmp_path / "again.csv"
    code, out, err = explorer("relevance", trained / "tiny", *folder, "--to", to, "--csv", table)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line.startswith(("train, batches", "relevance"))] == []
    assert Relevance.load(to).layer("3").filter_scores.tolist() == found.layer("3").filter_scores.tolist()
    assert to.with_suffix(".html").is_file()
    with table.open(newline="") as file:
        scores = [float(row["score"]) for row in csv.DictReader(file) if row["layer"] == "3"]
    assert scores == pytest.approx(found.layer("3").filter_scores.tolist(), rel=1e-6)


def test_chosen_images_filters_and_class(explorer: Explorer, trained: Path, tmp_path: Path) -> None:
    explained = explain(load_study(trained / "tiny"), Wanted(), trained / "run", quiet).relevance.explained
    number = explained[5]
    page = tmp_path / "page.html"
    files = ("--to", tmp_path / "r.npz", "--html", page)
    chosen = ("--image", 5, "--image", 2, "--filter", "3:4", "--filter", "0:1", "--class", number)
    code, out, err = explorer("relevance", trained / "tiny", "--folder", trained / "run", *files, *chosen)
    assert (code, err) == (0, "")
    assert f"images {explained.count(number)}, explained as {number}" in out
    found = Relevance.load(tmp_path / "r.npz")
    assert set(found.explained) == {number}
    data = page_data(page)
    assert data["filters"] == ["3, filter 4", "0, filter 1"]
    assert [image["index"] for image in data["images"]] == [5, 2]


def test_another_method_has_a_file_of_its_own(explorer: Explorer, trained: Path) -> None:
    code, out, err = explorer("relevance", trained / "tiny", "--folder", trained / "run", "--method", "captum_deeplift")
    assert (code, err) == (0, "")
    assert "note: Pixel maps are DeepLIFT's, filter scores are those of captum_deeplift.\n" in out
    assert Relevance.load(trained / "run" / "relevance_captum_deeplift.npz").method == "captum_deeplift"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--method", "captum"], 'command line: relevance.method: expected "deeplift" or '),
        (["--filter", "conv9:0"], "filter conv9:0: no layer is called 'conv9'; known are 0, 3, 7"),
        (["--filter", "3:6"], "filter 3:6: expected an index in 0..5, received 6"),
        (["--filter", "3"], "Invalid value for '--filter': expected LAYER:INDEX, such as conv1:3, received '3'"),
        (["--image", "16"], "image 16: expected an index in 0..15 (data.relevance), received 16"),
        (["--image", "-1"], "Invalid value for '--image': expected a whole number from 0, received '-1'"),
        (["--images", "0"], "Invalid value for '--images': expected a whole number from 1, received '0'"),
        (["--images", "2", "--image", "1"], "Invalid value: --images says how many, --image which"),
        (["--class", "2"], "class 2: expected one in 0..1"),
        (["--to", "missing/r.npz"], "--to: missing is no folder; make it, or name another file"),
        (["--csv", "."], "--csv: . is a folder; name a file in it"),
        (["--to", "r.npz", "--csv", "r.npz"], "--to, --html, --csv: each needs a file of its own, received "),
    ],
)
@pytest.mark.usefixtures("no_training")
def test_bad_input_is_one_line_and_leaves_nothing(
    explorer: Explorer,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    line: str,
) -> None:
    """Refused before the network is trained."""
    monkeypatch.chdir(tmp_path)
    code, _, err = explorer("relevance", trained / "tiny", "--folder", tmp_path / "new", *arguments)
    assert code == 2
    assert err.startswith(f"error: {line}"), err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_problems_is_named(explorer: Explorer, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[study]\nname = 'a b'\n", encoding="utf-8")
    code, out, err = explorer("relevance", tmp_path)
    assert (code, out) == (2, "")
    assert f"error: {tmp_path / 'study.toml'}: study.name: expected" in err


def test_a_class_of_scores_that_are_not_kept_for_each_image(explorer: Explorer, trained: Path, tmp_path: Path) -> None:
    files = ("--to", tmp_path / "r.npz")
    code, _, err = explorer(
        "relevance", trained / "tiny", "--folder", trained / "run", "--method", "l1", "--class", 1, *files
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "relevance: these scores were not kept for each image" in err
    assert not (tmp_path / "r.npz").exists()
