"""Makes the results of all studies, or of those named, anew: python -m studies.run [STUDY...].

What is unfinished stays in runs/studies, where the same command goes on; a study's results are replaced once all of
them are there. Deleting runs/studies starts from scratch.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIST = HERE / "studies.toml"
WORK = HERE.parent / "runs" / "studies"
INCOMPLETE, INTERRUPTED = 1, 130
POLL_S, REPORT_S = 0.1, 60.0
Key = tuple[str, str]
"""(Name of a study, name of one of its steps)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a study, in which {work} is the folder for what it writes.

    `minutes` are what it takes on one core, for the time that is said to be left. A `last` step reads what the others
    wrote, which do not depend on each other.
    """

    name: str
    command: tuple[str, ...]
    minutes: float
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A folder of studies/ or one below it, and how its results are made.

    `results` are patterns of files in the work folder, each with the folder of the study that they go to; `needs` are
    files, the first part of which is an environment variable that names their folder.
    """

    name: str
    steps: tuple[Step, ...]
    results: tuple[tuple[str, str], ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where the studies are, where they work, how many commands run at a time, and with which variables."""

    studies: Path
    work: Path
    jobs: int
    environment: Mapping[str, str]
    say: Callable[[str], None] = print

    def work_of(self, study: Study) -> Path:
        """Return the folder for what a study writes: another one once its commands or its own files change."""
        return self.work / f"{study.name}-{_digest(study, self.studies / study.name)}"

    def mark(self, study: Study, step: Step) -> Path:
        """Return the file that says that a step is done."""
        return self.work_of(study) / f".{step.name}.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    study: Study
    step: Step
    number: int
    process: subprocess.Popen[bytes]
    log: Path
    start: float


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What waits, runs, is done, and failed; and how the finished steps' times compare with what was expected."""

    waiting: list[tuple[Study, Step]]
    total: int
    running: dict[Key, _Running] = field(default_factory=dict)
    done: set[Key] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    begun: int = 0
    expected_s: float = 0.0
    taken_s: float = 0.0

    def left(self, jobs: int) -> str:
        """Return the time left, in words."""
        pace = self.taken_s / self.expected_s if self.expected_s else 1.0
        seconds = sum(60.0 * step.minutes * pace for _, step in self.waiting)
        now = time.monotonic()
        seconds += sum(max(0.0, 60.0 * one.step.minutes * pace - (now - one.start)) for one in self.running.values())
        return f"about {_duration(seconds / jobs)} left"


def read_studies(path: Path) -> tuple[Study, ...]:
    """Return the studies of a list in TOML, in its order."""
    listed = tomllib.loads(path.read_text(encoding="utf-8"))["study"]
    return tuple(
        Study(
            name=entry["name"],
            steps=tuple(Step(**{**step, "command": tuple(shlex.split(step["command"]))}) for step in entry["steps"]),
            results=tuple((pattern, target) for pattern, target in entry["results"]),
            needs=tuple(entry.get("needs", ())),
        )
        for entry in listed
    )


def run_studies(studies: Sequence[Study], place: Workplace) -> int:
    """Run what is left to do, and return the exit code: 0 only when the results of all studies were made.

    A study without its data is named and left out, one with a failed step keeps the results that it had; the others
    are made all the same.
    """
    lacking = {study.name: what for study in studies if (what := missing(study, place.environment))}
    for name, what in lacking.items():
        place.say(f"{name}: not run: {what}")
    able = [study for study in studies if study.name not in lacking]
    steps = [(study, step) for study in able for step in sorted(study.steps, key=lambda step: step.last)]
    progress = _Progress(waiting=[], total=len(steps))
    for study, step in steps:
        if place.mark(study, step).exists():
            progress.done.add((study.name, step.name))
        else:
            progress.waiting.append((study, step))
    progress.begun = len(progress.done)
    place.say(f"studies: {', '.join(study.name for study in able) or 'none'}")
    place.say(f"{len(steps)} steps, {len(progress.done)} of them done before; {progress.left(place.jobs)}")
    try:
        _loop(able, progress, place)
    except KeyboardInterrupt:
        _interrupt(progress)
        place.say(f"interrupted: what was done is kept in {place.work}; the same command goes on")
        return INTERRUPTED
    return INCOMPLETE if progress.failed or lacking else 0


def missing(study: Study, environment: Mapping[str, str]) -> str:
    """Return what a study needs and does not find, in words; empty where nothing is missing."""
    for need in study.needs:
        variable, _, file = need.partition("/")
        if not environment.get(variable):
            return f"{variable} is not set; set it to the folder with {file}"
        if not (Path(environment[variable]) / file).exists():
            return f"there is no {file} in {environment[variable]}, to which {variable} is set"
    return ""


def _digest(study: Study, folder: Path) -> str:
    """Return eight hexadecimal digits over a study's commands and its own files."""
    files = sorted(path for pattern in ("*.toml", "*.py") for path in folder.rglob(pattern))
    found = hashlib.sha256(repr([(step.name, step.command, step.last) for step in study.steps]).encode())
    for path in files:
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()[:8]


def _loop(studies: Sequence[Study], progress: _Progress, place: Workplace) -> None:
    open_studies, reported = list(studies), time.monotonic()
    while open_studies or progress.running:
        while len(progress.running) < place.jobs and (ready := _next(progress)) is not None:
            _start(progress, *ready, place)
        for one in list(progress.running.values()):
            if one.process.poll() is not None:
                _finish(progress, one, place)
        for study in list(open_studies):
            if {(study.name, step.name) for step in study.steps} <= progress.done:
                _publish(study, place)
                open_studies.remove(study)
            elif study.name in progress.failed:
                open_studies.remove(study)
        if time.monotonic() - reported > REPORT_S:
            reported = time.monotonic()
            for one in progress.running.values():
                place.say(f"{_title(progress, one)}: {_last_line(one.log)}")
            place.say(f"{len(progress.done)} of {progress.total} steps done, {progress.left(place.jobs)}")
        time.sleep(POLL_S)


def _next(progress: _Progress) -> tuple[Study, Step] | None:
    """Return the first step whose study has not failed, and the other steps of which are done if it is a last one."""
    progress.waiting = [entry for entry in progress.waiting if entry[0].name not in progress.failed]
    for study, step in progress.waiting:
        others = {(study.name, other.name) for other in study.steps if not other.last}
        if not step.last or others <= progress.done:
            progress.waiting.remove((study, step))
            return study, step
    return None


def _start(progress: _Progress, study: Study, step: Step, place: Workplace) -> None:
    work = place.work_of(study)
    work.mkdir(parents=True, exist_ok=True)
    log = work / f"{step.name}.log"
    programs = {"python": sys.executable, "explorer": str(Path(sys.executable).with_name("explorer"))}
    command = [part.replace("{work}", str(work)) for part in step.command]
    command[0] = programs.get(command[0], command[0])
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=HERE.parent,
            env={**place.environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interruption is passed on once, not by the terminal as well
        )
    progress.begun += 1
    one = _Running(study=study, step=step, number=progress.begun, process=process, log=log, start=time.monotonic())
    progress.running[study.name, step.name] = one
    place.say(f"{_title(progress, one)}: started; {progress.left(place.jobs)}")


def _finish(progress: _Progress, one: _Running, place: Workplace) -> None:
    del progress.running[one.study.name, one.step.name]
    taken = time.monotonic() - one.start
    if one.process.returncode:
        progress.failed.add(one.study.name)
        place.say(f"{_title(progress, one)}: failed, exit code {one.process.returncode}: {_last_line(one.log)}")
        place.say(f"{one.study.name}: not made; the same command tries again, and {one.log} has all that was said")
        return
    progress.done.add((one.study.name, one.step.name))
    progress.taken_s, progress.expected_s = progress.taken_s + taken, progress.expected_s + 60.0 * one.step.minutes
    place.mark(one.study, one.step).touch()
    place.say(f"{_title(progress, one)}: done in {_duration(taken)}")


def _publish(study: Study, place: Workplace) -> None:
    """Copy what a finished study is for to its results, each file whole or not at all."""
    work, home = place.work_of(study), place.studies / study.name
    found = [(path, home / target) for pattern, target in study.results for path in sorted(work.glob(pattern))]
    for source, target in found:
        target.mkdir(parents=True, exist_ok=True)
        unfinished = target / f".{source.name}.part"
        shutil.copyfile(source, unfinished)
        unfinished.replace(target / source.name)
    place.say(f"{study.name}: {len(found)} files copied into {home}" if found else f"{study.name}: made")


def _interrupt(progress: _Progress) -> None:
    """Ask the running commands to end, which keep what they have, and wait for them."""
    for one in progress.running.values():
        one.process.send_signal(signal.SIGINT)
    for one in progress.running.values():
        one.process.wait()


def _title(progress: _Progress, one: _Running) -> str:
    return f"[{one.number} of {progress.total}] {one.study.name}: {one.step.name}"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "nothing said yet"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _wanted(name: str, wishes: Sequence[str]) -> bool:
    """Return whether a study is one of those named, or lies in one of them."""
    return any(name == wish or name.startswith(f"{wish}/") for wish in wishes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run what it names."""
    known = read_studies(LIST)
    names = [study.name for study in known]
    parser = argparse.ArgumentParser(description="Make the results of the studies anew; the same command goes on.")
    parser.add_argument("studies", metavar="STUDY", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="commands that run at a time, each on one core")
    chosen = parser.parse_args(arguments)
    unknown = [wish for wish in chosen.studies if not any(_wanted(name, [wish]) for name in names)]
    if unknown:
        parser.error(f"there is no study {unknown[0]!r}; known are {', '.join(names)}")
    if chosen.jobs < 1:
        parser.error(f"--jobs must be at least 1, received {chosen.jobs}")
    wanted = [study for study in known if not chosen.studies or _wanted(study.name, chosen.studies)]

    def say(line: str) -> None:
        print(line, flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):  # the former is ignored where a shell starts this in the background
        signal.signal(number, signal.default_int_handler)
    return run_studies(wanted, Workplace(studies=HERE, work=WORK, jobs=chosen.jobs, environment=os.environ, say=say))


if __name__ == "__main__":
    sys.exit(main())
