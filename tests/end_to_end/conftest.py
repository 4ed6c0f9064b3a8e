"""A tiny study of a user's own network and images, and the command line in this process or in one of its own."""

import json
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from explorer.cli import main

TINY = Path(__file__).parents[1] / "tiny_study"
CREATE_TRIAL, COMPLETE = 4, 1
"""Optuna's numbers of the operation that begins a trial, and of the state of a finished one."""


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Finished(NamedTuple):
    """A finished trial as the journal has it."""

    number: int
    point: tuple[int, ...]
    score: dict[str, Any] | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Process:
    """A command in a process of its own."""

    popen: subprocess.Popen[str]

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Return once the condition holds; fail when the process ends before."""
        end = time.monotonic() + 600
        while not condition():
            assert self.popen.poll() is None, f"ended too soon: {self.popen.communicate()}"
            assert time.monotonic() < end
            time.sleep(0.01)

    def stop(self, signal: int) -> Said:
        """Send a signal, and wait for the end."""
        self.popen.send_signal(signal)
        out, err = self.popen.communicate(timeout=600)
        return Said(self.popen.returncode, out, err)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a study in "tiny"."""
    shutil.copytree(TINY, tmp_path / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](tmp_path / "tiny" / "images.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def explorer(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command in this process."""

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(int(stopped.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Process]]:
    """Starts a command in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def launch(*arguments: object) -> Process:
        command = [sys.executable, "-c", "from explorer.cli import main; main()", *map(str, arguments)]
        popen = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(popen)
        return Process(popen)

    yield launch
    for popen in started:
        popen.kill()
        popen.communicate()


@pytest.fixture
def journal() -> Callable[[Path], list[Finished]]:
    """Reads the finished trials of a run's folder, in the order of their numbers, whatever the last line is."""

    def read(folder: Path) -> list[Finished]:
        file = folder / "search.journal"
        text = file.read_text() if file.is_file() else ""
        attributes: list[dict[str, Any]] = []
        found: dict[int, tuple[float, ...]] = {}
        for line in text[: text.rfind("\n") + 1].splitlines():
            entry = json.loads(line)
            if entry["op_code"] == CREATE_TRIAL:
                attributes.append(entry["user_attrs"])
            trial = entry.get("trial_id", len(attributes) - 1)
            if "trial_id" in entry:
                attributes[trial].update(entry.get("user_attr") or {})
            if entry.get("state") == COMPLETE:
                found[trial] = tuple(entry["values"])
        return [
            Finished(trial, tuple(attributes[trial]["proposal"]["point"]), attributes[trial]["result"]["score"], values)
            for trial, values in sorted(found.items())
        ]

    return read


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The candidates that searches of this process score, as JSON, in order."""
    from explorer.compress.apply import apply  # noqa: PLC0415
    from explorer.study import sampling  # noqa: PLC0415

    seen: list[str] = []

    def recorded(context: Any, candidate: Any) -> Any:
        seen.append(json.dumps(candidate.to_json()))
        return apply(context, candidate)

    monkeypatch.setattr(sampling, "apply", recorded)
    return seen
