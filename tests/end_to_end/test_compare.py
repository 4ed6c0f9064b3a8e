"""`explorer compare`: criteria compared on a user's own network by one command, in all five cases."""

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from explorer.comparison.points import POINTS

CASES = {
    "filters": 'states = ["uncorrected", "fine_tuned"]\nlevels = [0.25, 0.5]\ntuned_levels = [0.5]\n'
    "[comparison.training]\nepochs = 1",
    "weights": 'criteria = ["deeplift", "magnitude", "random"]\nlevels = [0.5, 0.8]\nscopes = ["layer", "global"]',
    "sharing": 'criteria = ["deeplift", "plain", "fisher"]\nlevels = [2, 4]',
    "bits": 'criteria = ["deeplift", "uniform", "proportional", "measured_kl", "sqnr"]\nlevels = [2.5, 4]',
    "steps": 'criteria = ["deeplift", "equal", "sqnr", "ecqx"]\nlevels = [1.5, 3]',
}


def study(home: Path, case: str, more: str) -> Path:
    """The tiny study with a comparison."""
    file = home / "tiny" / "study.toml"
    file.write_text(f'{file.read_text()}\n[comparison]\ncase = "{case}"\nseeds = [0, 1]\n{more}\n')
    return file


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("case", CASES)
def test_a_comparison(case: str, home: Path, explorer: Callable[..., Any]) -> None:
    said = explorer("compare", study(home, case, CASES[case]), "--out", "run", "--results", "found/here")
    assert (said.code, said.err) == (0, "")
    assert "page:   run/comparison.html" in said.out
    assert "deeplift against the others" in said.out
    assert ("skipped: bn_gamma: " in said.out) == (case == "filters")  # nobody named it, and there is no batch norm
    folder = home / "found" / "here"
    whole, *points = rows(folder / "points.csv")
    assert (whole["criterion"], whole["images"], whole["compression_ratio"]) == ("float", "100", "1")
    assert {row["seeds"] for row in points} == {"2"}
    assert all(float(row["compression_ratio"]) > 1 for row in points)
    compared = rows(folder / "differences.csv")
    assert len(compared) == len([row for row in points if row["criterion"] != "deeplift"])
    accuracy = {(r["criterion"], r["scope"], r["state"], r["level"]): float(r["accuracy"]) for r in points}
    for row in compared:
        place = (row["scope"], row["state"], row["level"])
        difference = accuracy["deeplift", *place] - accuracy[row["criterion"], *place]
        assert float(row["difference"]) == pytest.approx(difference, abs=2e-5)
        assert row["verdict"] in ("wins", "ties", "loses")
    drawn = sorted(folder.glob("*.svg"))
    assert {"layer_by_level.svg", "layer_differences.svg"} <= {path.name for path in drawn}
    texts = [
        entry.text for entry in ElementTree.parse(folder / "layer_by_level.svg").iter() if entry.tag.endswith("text")
    ]
    assert set(accuracy_names(points)) <= set(texts)
    page = (home / "run" / "comparison.html").read_text()
    assert 'id="layer_by_level"' in page
    assert "://" not in page.partition("<script>")[0]

    before = {path: path.read_bytes() for path in (*drawn, folder / "points.csv", home / "run" / POINTS)}
    assert explorer("compare", "tiny", "--out", "run", "--results", "found/here").code == 0
    assert {path: path.read_bytes() for path in before} == before


def accuracy_names(points: list[dict[str, str]]) -> list[str]:
    return sorted({row["criterion"] for row in points})


@pytest.mark.slow
def test_ctrl_c_and_again(home: Path, start: Callable[..., Any], explorer: Callable[..., Any]) -> None:
    study(home, "filters", f"levels = {[index / 200 for index in range(1, 200)]}")
    process = start("compare", "tiny", "--out", "run")
    points = home / "run" / POINTS
    process.wait_for(lambda: points.is_file() and points.read_bytes().count(b"\n") > 10)
    said = process.stop(signal.SIGINT)
    assert said.code == 130
    assert said.err == "interrupted: all scored networks are kept in run; the same command goes on\n"
    assert not (home / "run" / "points.csv").exists()
    before = points.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    file = home / "tiny" / "study.toml"
    file.write_text(file.read_text().partition("levels")[0] + "levels = [0.005, 0.01]\n")
    said = explorer("compare", "tiny", "--out", "run")
    assert said.code == 0
    assert points.read_bytes().startswith(before)
    assert (home / "run" / "points.csv").is_file()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("levels = [2]", "comparison.levels: expected shares removed, above 0 and below 1 (case 'filters')"),
        ('criteria = ["deeplift", "sqnr"]', "comparison.criteria: 'sqnr' says nothing of filters"),
        ('criteria = ["deeplift", "bn_gamma"]', "reads the gains of batch norms, and no layer of this network has one"),
        ('criteria = ["deplift"]', "comparison.criteria: case 'filters' knows no 'deplift'; did you mean 'deeplift'?"),
    ],
)
def test_bad_input(more: str, problem: str, home: Path, explorer: Callable[..., Any]) -> None:
    said = explorer("compare", study(home, "filters", more), "--out", "run")
    assert said.code == 2
    assert problem in said.err
    assert all(line.startswith("error: ") for line in said.err.splitlines())
    assert not (home / "run" / "points.csv").exists()


def test_results_that_are_no_folder(home: Path, explorer: Callable[..., Any]) -> None:
    (home / "file").write_text("")
    said = explorer("compare", study(home, "filters", ""), "--out", "run", "--results", "file")
    assert (said.code, said.err) == (2, "error: file: is not a folder; choose another one for --results\n")


def test_a_title_in_brackets_is_text(home: Path, explorer: Callable[..., Any]) -> None:
    file = study(home, "filters", 'criteria = ["deeplift", "l1"]\nlevels = [0.5]')
    file.write_text(file.read_text().replace("[study]\n", '[study]\ntitle = "Filters [/MNIST]"\n'))
    said = explorer("compare", "tiny", "--out", "run")
    assert (said.code, said.err) == (0, "")
    assert "Filters [/MNIST]: deeplift against the others" in said.out
