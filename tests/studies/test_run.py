"""The runner of studies/: what is chosen, what goes on after an interruption, and what it says of missing data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from explorer.study.study_file import COME_ALONG
from studies import run

STUDIES = Path(__file__).parents[2] / "studies"


APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
"""A command that leaves a trace each time that it runs."""


class Bench:
    """A folder of fake studies, and what the runner says while it runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()

    def study(self, name: str, *steps: Any, needs: tuple[str, ...] = ()) -> Any:
        (self.folder / "studies" / name).mkdir(parents=True, exist_ok=True)
        return run.Study(name=name, steps=steps, results=(("out/*.csv", "results"),), needs=needs)

    def step(self, name: str, text: str, last: bool = False, code: str = APPEND) -> Any:
        program = f"import pathlib; pathlib.Path(r'{{work}}', 'out').mkdir(exist_ok=True); {code}"
        command = ("python", "-c", program, "{work}/out/table.csv", text)
        return run.Step(name=name, command=command, minutes=1.0, last=last)

    def run(self, *studies: Any, jobs: int = 1, environment: Mapping[str, str] | None = None) -> int:
        self.said.clear()
        place = run.Workplace(
            studies=self.folder / "studies",
            work=self.folder / "work",
            jobs=jobs,
            environment={**os.environ, **(environment or {})},
            say=self.said.append,
        )
        return int(run.run_studies(studies, place))

    def result(self, name: str) -> str:
        return (self.folder / "studies" / name / "results" / "table.csv").read_text()

    def tells(self, text: str) -> bool:
        return any(text in line for line in self.said)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Fake studies in a folder of their own."""
    return Bench(tmp_path)


def test_steps_run_and_the_results_are_copied(bench: Bench) -> None:
    study = bench.study("a", bench.step("join", "3", last=True), bench.step("one", "1"), bench.step("two", "2"))
    assert bench.run(study) == 0
    assert bench.result("a") == "123"  # the last step ran after the others
    assert bench.said[1] == "3 steps, 0 of them done before; about 3 min left"
    assert bench.tells("[3 of 3] a: join: done in")


def test_what_is_done_is_not_run_again_until_the_study_changes(bench: Bench) -> None:
    study = bench.study("a", bench.step("one", "1"))
    assert bench.run(study) == 0
    assert bench.run(study) == 0
    assert bench.result("a") == "1"
    assert bench.tells("1 steps, 1 of them done before; about 0 s left")
    (bench.folder / "studies" / "a" / "study.toml").write_text("seed = 2")
    assert bench.run(study) == 0
    assert bench.tells("1 steps, 0 of them done before; about 60 s left")


def test_a_failed_step_keeps_the_results_and_the_other_studies(bench: Bench) -> None:
    good = bench.step("one", "1")
    assert bench.run(bench.study("a", good)) == 0
    bad = bench.step("two", "2", code="print('no disk'); raise SystemExit(3)")
    failing = bench.study("a", good, bad, bench.step("join", "3", last=True))
    assert bench.run(failing, bench.study("b", bench.step("one", "b"))) == run.INCOMPLETE
    assert bench.tells("a: two: failed, exit code 3: no disk")
    assert bench.tells("a: not made; the same command tries again")
    assert not bench.tells("join")
    assert (bench.result("a"), bench.result("b")) == ("1", "b")


def test_missing_data_is_said_in_one_line_and_the_rest_is_made(bench: Bench, tmp_path: Path) -> None:
    needs = ("SOME_DATA/images.npz",)
    unset = bench.study("unset", bench.step("one", "1"), needs=needs)
    assert bench.run(unset, bench.study("b", bench.step("one", "b"))) == run.INCOMPLETE
    assert bench.said[0] == "unset: not run: SOME_DATA is not set; set it to the folder with images.npz"
    assert bench.result("b") == "b"
    assert bench.run(unset, environment={"SOME_DATA": str(tmp_path)}) == run.INCOMPLETE
    assert bench.said[0] == f"unset: not run: there is no images.npz in {tmp_path}, to which SOME_DATA is set"
    (tmp_path / "images.npz").touch()
    assert bench.run(unset, environment={"SOME_DATA": str(tmp_path)}) == 0


def test_several_commands_run_at_a_time(bench: Bench) -> None:
    """Each waits for the other: only side by side do they end."""
    wait = (
        "import sys, time; me, other = sys.argv[2]; work = pathlib.Path(r'{work}'); (work / me).touch()\n"
        "end = time.monotonic() + 600\n"
        "while not (work / other).exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "raise SystemExit(not (work / other).exists())"
    )
    study = bench.study("a", bench.step("one", "xy", code=wait), bench.step("two", "yx", code=wait))
    assert bench.run(study, jobs=2) == 0


def test_an_interruption_is_passed_on_and_the_next_run_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = f"import time; on = pathlib.Path(r'{{work}}', 'on'); on.exists() or on.touch() or time.sleep(600); {APPEND}"
    study = bench.study("a", bench.step("one", "1"), bench.step("two", "2", code=slow))

    class Impatient:
        """Interrupts once the second step is under way."""

        monotonic = time.monotonic

        @staticmethod
        def sleep(seconds: float) -> None:
            time.sleep(seconds)
            if list(bench.folder.glob("work/*/on")):
                raise KeyboardInterrupt

    monkeypatch.setattr(run, "time", Impatient)
    assert bench.run(study) == run.INTERRUPTED
    assert bench.tells("interrupted: what was done is kept in")
    assert not (bench.folder / "studies" / "a" / "results").exists()
    monkeypatch.undo()
    assert bench.run(study) == 0
    assert bench.tells("2 steps, 1 of them done before")
    assert bench.result("a") == "12"


def test_the_list_names_studies_and_profiles_that_exist() -> None:
    for study in run.read_studies(run.LIST):
        assert (STUDIES / study.name).is_dir(), study.name
        assert len({step.name for step in study.steps}) == len(study.steps), study.name
        for step in study.steps:
            assert step.command[0] in {"explorer", "python"}
            assert _names_what_exists(step.command), step.command


def _names_what_exists(command: Sequence[str]) -> bool:
    """Whether the study's folder or module that a step is run on is there."""
    module = command[command.index("-m") + 1].replace(".", "/") + ".py" if "-m" in command else ""
    places = (STUDIES.parent, COME_ALONG)
    names = (module or command[1], command[2], f"{command[2]}.toml")
    return any((place / name).exists() for place in places for name in names)


def test_an_unknown_study_is_refused() -> None:
    command = [sys.executable, "-m", "studies.run", "digit"]
    ended = subprocess.run(command, cwd=STUDIES.parent, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 2
    assert "there is no study 'digit'; known are digits, " in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped_where_a_shell_started_it_in_the_background(number: int, tmp_path: Path) -> None:
    """Such a shell has interruptions ignored; what runs is asked to end all the same."""
    program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path.insert(0, {str(STUDIES.parent)!r})
from explorer.study.study_file import COME_ALONG
from studies import run
def endless(studies, place):
    try:
        print("begun", flush=True)
        run.time.sleep(600)
    except KeyboardInterrupt:
        return run.INTERRUPTED
    return 0
run.run_studies = endless
sys.exit(run.main(["digits"]))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        assert process.wait(timeout=300) == run.INTERRUPTED
