"""The front is printed, chosen from and written again without torch, and as tables for a pipe."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.report.front.tables import build_front_frame, write_front_csv
from explorer.study.folder import write_outcome
from explorer.study.record import Outcome
from explorer.study.study_file import load_study
from tests.support.outcomes import make_outcome
from tests.support.pages import read_page_data

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """The synthetic outcome, of a study that can be read."""
    study = load_study("digits")
    made = make_outcome()
    objectives = replace(study.objectives, names=made.objectives)
    return replace(made, study=replace(study, objectives=objectives).to_json())


@pytest.fixture(scope="module")
def run(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_outcome(folder, outcome)
    write_front_csv(outcome, folder / "front.csv")
    return folder


def explorer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line where torch and other slow packages cannot be imported."""
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'optuna', 'captum', 'sklearn', 'onnx', 'onnxruntime')))\n"
        "from explorer.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600)


def test_a_table_for_a_pipe_is_that_of_the_csv_file_and_nothing_else(run: Path, outcome: Outcome) -> None:
    plain, sorted_ = explorer("front", run, "--csv"), explorer("front", run, "--json", "--sort", "accuracy_held_out")
    assert (plain.returncode, plain.stderr) == (sorted_.returncode, sorted_.stderr) == (0, "")
    assert plain.stdout == (run / "front.csv").read_text()
    records = json.loads(sorted_.stdout)
    scores = [record["accuracy_held_out"] for record in records]
    assert scores == sorted(scores, reverse=True)
    assert len(records) == len(outcome.front)
    for row in csv.DictReader(plain.stdout.splitlines()):
        record = next(record for record in records if record["name"] == row["name"])
        assert list(record) == list(row)
        for key, cell in row.items():
            value = record[key]
            assert (cell == "") if value in (None, "") else str(value) == cell or float(cell) == value, key


def test_a_network_is_chosen_without_torch(run: Path, outcome: Outcome) -> None:
    frame = build_front_frame(outcome).set_index("name")
    recommended, middle = frame.index[frame["recommended"]][0], frame.index[frame["knee"]][0]
    said = explorer("front", run, "--sort", "weight_bytes")
    assert (said.returncode, said.stderr) == (0, "")
    assert f"recommended: {recommended}, " in said.stdout
    assert f"knee: {middle}, " in said.stdout
    names = [line.split()[0].rstrip(">*~=") for line in said.stdout.splitlines() if line.startswith("p")]
    assert names == frame["weight_bytes"].sort_values(kind="stable").index.tolist()
    most = frame["weight_bytes"].iloc[3]
    within = frame["accuracy_search"][frame["weight_bytes"] <= most]
    said = explorer("front", run, "--max-weights", f"{most}B")
    assert f"chosen: {within.idxmax()}, " in said.stdout
    (marked,) = [line for line in said.stdout.splitlines() if line.startswith("p") and ">" in line.split()[0]]
    assert marked.startswith(f"{within.idxmax()}>")
    said = explorer("report", run, "--max-weights", f"{most}B")
    assert (said.returncode, said.stderr) == (0, "")
    assert f"opens on: {within.idxmax()}, " in said.stdout
    page, (marked,) = read_page_data(run / "report.html"), pick_marked(run / "front.csv")
    assert (page["chosen"]["name"], page["chosen"]["called"], marked) == (within.idxmax(), "chosen", within.idxmax())
    assert f"with weight memory of at most {most:,} bytes" in page["chosen"]["told"]
    assert [point["name"] for point in page["points"] if ">" in point["mark"]] == [marked]
    explorer("report", run)
    assert pick_marked(run / "front.csv") == [recommended]


def pick_marked(path: Path) -> list[str]:
    """The names whose rows of a table are marked as recommended or chosen."""
    return [row["name"] for row in csv.DictReader(path.read_text().splitlines()) if row["recommended"] == "True"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--csv", "--json"), "error: expected one of --csv and --json, received both"),
        (("--sort", "energy"), "error: --sort: there is no column 'energy'; did you mean 'energy_uj"),
        (("--max-energy", "1pJ", "--csv"), "error: no network on the front has energy per image of at most 1e-06 µJ; "),
        (("--pick", "p99"), "error: --pick: received 'p99'; choose one of recommended, knee, "),
    ],
)
def test_what_cannot_be_shown_is_one_line(run: Path, options: tuple[str, ...], message: str) -> None:
    said = explorer("front", run, *options)
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (2, "", 1)
    assert message in said.stderr
