"""The commands: their help, what they print, and how options go before the study file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hwmodels
from explorer import __version__, cli
from explorer.commands import progress
from explorer.commands.terminal import command
from explorer.evaluate.mean_score import MeanScore
from explorer.study.record import Outcome
from explorer.study.study_file import Study, load_study
from tests.support.costs import make_cost

STUDY = """\
[study]
name = "small"
title = "A small study"
[model]
reference = "lenet5_digits"
training = { epochs = 1 }
[data]
source = "digits"
[device]
profile = "bitfusion"
[objectives]
names = ["accuracy", "energy"]
[search]
trials = 8
seeds = 4
[output]
folder = "results"
"""
Explorer = Callable[..., tuple[int, str, str]]
Started = list[tuple[Study, Path]]


def outcome_of(study: Study, evaluations: int = 0) -> Outcome:
    """An outcome without a front."""
    from explorer.compress.candidate import Candidate, LayerChoice  # noqa: PLC0415
    from explorer.study.record import Baseline, Evaluation  # noqa: PLC0415

    cost = make_cost(weight_bytes=100, energy_uj_by_component={"mac": 1.0, "sram": 0.0, "dram": 0.0, "static": 0.0})
    choice = LayerChoice(layer="fc", weight_bits=8, activation_bits=8, weight_density=1.0, codebook_size=None)
    candidate = Candidate(layers=(choice,), filter_keep_ratio=())
    accuracy = MeanScore(value=0.5, num_images=10)
    return Outcome(
        study=study.to_json(),
        device="bitfusion",
        device_title="Bit Fusion",
        objectives=study.objectives.names,
        baselines=tuple(
            Baseline(name=name, cost=cost, search=accuracy, held_out=accuracy) for name in ("float", "uniform 8-bit")
        ),
        front=(),
        evaluations=tuple(
            Evaluation(
                number=number,
                origin="nsga2",
                candidate=candidate,
                cost=cost,
                score=None,
                violations=(("energy_uj", 1.0),),
            )
            for number in range(evaluations)
        ),
        skipped=(),
        provenance={},
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """The (study, folder) of runs that are started; nothing is run. The working folder is new."""
    from explorer.study import run  # noqa: PLC0415

    seen: Started = []

    def pretend(study: Study, folder: Path, *_: object) -> Outcome:
        seen.append((study, folder))
        folder.mkdir(parents=True, exist_ok=True)
        return outcome_of(study, 2)

    monkeypatch.setattr(run, "run", pretend)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "study.toml").write_text(STUDY)
    return seen


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("run", "front", "report", "export", "cost", "devices")),
        (("run",), ("[STUDY]", "--out", "--trials", "--seed", "--device", "Ctrl-C keeps what was done")),
        (("front",), ("RUN", "Print the front")),
        (("report",), ("RUN", "--pick", "report.html")),
        (("export",), ("RUN", "--to", "--pick", "ONNX")),
        (("cost",), ("NETWORK", "--device", "--bits", "--batch", "--layers", "--csv")),
        (("devices",), ("list", "show", "check")),
        (("devices", "list"), ("List all device profiles",)),
        (("devices", "show"), ("DEVICE", "assumed")),
        (("devices", "check"), ("FILE", "everything that is wrong")),
    ],
)
def test_help(command: tuple[str, ...], words: tuple[str, ...], explorer: Explorer) -> None:
    code, out, err = explorer(*command, "--help")
    assert (code, err) == (0, "")
    assert [word for word in words if word not in out] == []


@pytest.mark.parametrize("command", [(), ("devices",)])
def test_without_a_command_there_is_help(command: tuple[str, ...], explorer: Explorer) -> None:
    code, out, err = explorer(*command)
    assert (code, err) == (2, "")
    assert "Commands" in out


def test_devices_list(explorer: Explorer) -> None:
    code, out, _ = explorer("devices", "list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["name", "device", "array", "dataflow", "clock", "precision"]
    assert [line.split()[0] for line in lines[1:]] == list(hwmodels.names())
    (bitfusion,) = (line for line in lines if line.startswith("bitfusion "))
    for part in ("16x32", "ws", "500 MHz", "fusion"):
        assert part in bitfusion


@pytest.mark.parametrize("name", hwmodels.names())
def test_devices_show(name: str, explorer: Explorer) -> None:
    code, out, _ = explorer("devices", "show", name)
    assert code == 0
    device = hwmodels.load(name)
    assert f"{name}: {device.title}" in out
    entries = hwmodels.profile_entries(device)
    assert [key for key, _, _ in entries if key not in out] == []
    assumed = sum(source == "assumed" for _, _, source in entries)
    assert f"{assumed} of {len(entries)} values are assumed; sources are in hwmodels/sources.bib\n" in out
    assert out.count(" assumed") >= assumed


def test_help_and_devices_do_not_import_torch() -> None:
    program = (
        "import sys; from explorer.cli import main\n"
        "for command in (['--help'], ['run', '--help'], ['devices', 'list']):\n"
        "    try: main(command)\n"
        "    except SystemExit: pass\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_study_file_as_it_is(started: Started, explorer: Explorer, tmp_path: Path) -> None:
    for path in ("small", "small/study.toml", tmp_path / "small", "./small/../small"):
        code, _, err = explorer("run", path)
        assert (code, err) == (0, "")
    for study, folder in started:
        assert folder.resolve() == tmp_path / "small" / "results"
        assert (study.search.trials, study.search.seeds, study.seed) == (8, 4, 0)
        assert study.device.profile == "bitfusion"


def test_options_go_before_the_study_file(started: Started, explorer: Explorer) -> None:
    options = ("--trials", 3, "--seed", 7, "--device", "gemmini_default")
    assert explorer("run", "small", *options, "--out", "a b/c")[0] == 0
    ((study, folder),) = started
    assert folder == Path("a b/c")
    assert (study.search.trials, study.search.seeds, study.seed) == (3, 4, 7)
    assert study.device.profile == "gemmini_default"
    assert study.results_folder() == Path("a b/c").absolute()


def test_a_device_file_is_found_from_the_working_folder(started: Started, explorer: Explorer, tmp_path: Path) -> None:
    for device in ("my device.toml", tmp_path / "my device.toml"):
        assert explorer("run", "small", "--device", device)[0] == 0
    assert {study.device.profile for study, _ in started} == {str(tmp_path / "my device.toml")}


def test_an_absolute_out(started: Started, explorer: Explorer, tmp_path: Path) -> None:
    out = tmp_path / "not" / "yet" / "there"
    assert explorer("run", "small", "--out", out)[0] == 0
    assert started[0][1] == out
    assert {path.name for path in out.iterdir()} == {"front.csv", "report.html"}


def test_the_study_that_comes_along_is_the_default_and_a_folder_of_its_name_comes_first(
    started: Started, explorer: Explorer, tmp_path: Path
) -> None:
    assert explorer("run")[0] == 0
    (study, folder) = started[0]
    assert (study.name, folder) == ("digits", Path("runs/digits"))
    (tmp_path / "digits").mkdir()
    assert explorer("run", "digits", "--out", "out")[0] == 0
    (tmp_path / "digits" / "study.toml").write_text(STUDY)
    assert explorer("run", "digits", "--out", "out")[0] == 0
    assert [study.name for study, _ in started] == ["digits", "digits", "small"]


def test_a_study_that_is_not_there_tells_which_comes_along(started: Started, explorer: Explorer) -> None:
    for path in ("none", "none/digits"):
        code, _, err = explorer("run", path)
        told = "no such file or folder; name a study.toml, a folder that holds one, or digits, which comes along"
        assert (code, err) == (2, f"error: {path}: {told}\n")


def test_the_version(explorer: Explorer) -> None:
    assert explorer("--version") == (0, f"explorer {__version__}\n", "")


def test_the_package_can_be_run_and_says_how_to_go_on() -> None:
    command = (sys.executable, "-m", "explorer", "--version")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"explorer {__version__}\n", "")


@pytest.mark.parametrize(
    ("started_as", "on_path", "words"),
    [
        ("/venv/bin/explorer", True, "explorer"),
        ("/venv/bin/explorer", False, "/venv/bin/explorer"),
        ("/venv/explorer/__main__.py", True, "explorer"),
        ("/venv/explorer/__main__.py", False, "python -m explorer"),
    ],
)
def test_the_next_command_is_called_as_this_one(
    started_as: str, on_path: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started_as])
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if on_path else None)
    assert command("front", "runs/a b") == f"{words} front 'runs/a b'"


def test_brackets_in_a_path_are_printed(started: Started, explorer: Explorer) -> None:
    _, out, _ = explorer("run", "small", "--out", "run [bold]")
    assert "study small, results in run [bold]\n" in out
    assert "report: run [bold]/report.html\n" in out
    assert "relax [budgets]" in out


def test_an_interruption_is_one_line(started: Started, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.study import run  # noqa: PLC0415

    def interrupted(study: Study, folder: Path, notify: Callable[[str, int, int], None], *_: object) -> Outcome:
        notify("search", 1, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run", interrupted)
    code, _, err = explorer("run", "small", "--out", "here")
    assert code == progress.INTERRUPTED
    assert err == "interrupted: all finished evaluations are kept in here; the same command goes on\n"


def test_a_full_disk_is_one_line(started: Started, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.study import run  # noqa: PLC0415

    def full(*_: Any) -> Outcome:
        raise OSError(28, "No space left on device", "here/search.journal")

    monkeypatch.setattr(run, "run", full)
    code, _, err = explorer("run", "small", "--out", "here")
    assert code == cli.BAD_INPUT
    assert err == (
        "error: here/search.journal: No space left on device; check that the disk has room and the folder "
        "can be written\n"
    )


def test_a_run_that_found_all_done_says_so(started: Started, explorer: Explorer, tmp_path: Path) -> None:
    study = Study.from_json(load_study("small").to_json())
    for held, said in ((1, False), (2, True)):
        (tmp_path / "here").mkdir(exist_ok=True)
        (tmp_path / "here" / "outcome.json").write_text(json.dumps(outcome_of(study, held).to_json()))
        assert ("nothing was left to search" in explorer("run", "small", "--out", "here")[1]) is said


def test_front_prints_a_table_without_colours_on_a_pipe(explorer: Explorer, started: Started, tmp_path: Path) -> None:
    study = load_study("small")
    (tmp_path / "outcome.json").write_text(json.dumps(outcome_of(study).to_json()))
    code, out, err = explorer("front", tmp_path)
    assert (code, err) == (0, "")
    firsts = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert firsts[:2] + firsts[3:5] == ["Search", "Network", "float", "uniform"]
    assert "50.0" in out
    assert "\x1b" not in out
    assert "the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder\n" in out


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    program = "from explorer.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "devices", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=600,
        check=False,
    )
    os.close(write)
    assert b"Traceback" not in done.stderr
    assert done.returncode != 0
