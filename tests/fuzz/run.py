"""Runs a reader on damaged files, each in a time limit, in a process of its own whose death is counted as well."""

from __future__ import annotations

import faulthandler
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explorer.errors import ExplorerError
from hwmodels import HardwareModelError
from tests.fuzz.mutations import Mutate

SECONDS = 10
"""For one input, on a busy machine."""
DEAD_SECONDS = 120
"""Without a word from the process that reads: it hangs where no signal reaches it."""
LONGEST_LINE = 600
GROWTH_BYTES = 2**30
"""Of the memory's high-water mark by one input."""
SOUND = ("accepted", "refused")
VERDICTS = (*SOUND, "traceback", "died", "hang", "outside", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """A reader of files that anybody may have written.

    `sound` are files that it accepts; `read` reads one from a folder of its own, and uses what it read.
    """

    name: str
    sound: Sequence[bytes]
    mutations: Sequence[Mutate]
    read: Callable[[bytes, Path], object]


@dataclass(slots=True)
class Counts:
    """Inputs by verdict, and the first input of every kind of fault."""

    verdicts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """True where every input was accepted or refused in one line for each problem."""
        return set(self.verdicts) <= set(SOUND)


class Late(BaseException):
    """The time for one input is over; no handler of Exception takes it."""


def damaged(parser: Parser, seed: int, index: int) -> bytes:
    """Input number `index`: the same for the same seed. The first ones are the sound files themselves."""
    if index < len(parser.sound):
        return parser.sound[index]
    chance = random.Random(f"{seed} {parser.name} {index}")
    return chance.choice(parser.mutations)(chance, parser.sound)


def fuzz(parser: Parser, count: int, seed: int, keep: Path | None = None) -> Counts:
    """Read `count` inputs; those that show a new kind of fault are kept in a folder."""
    counts, start = Counts(), 0
    while start < count:
        for index, verdict, detail in _reports(parser, start, count, seed):
            start = index + 1
            counts.verdicts[verdict] += 1
            kind = f"{verdict}: {detail}"
            if verdict not in SOUND and kind not in counts.faults:
                counts.faults[kind] = index, detail
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{parser.name}-{index}").write_bytes(damaged(parser, seed, index))
    return counts


def _reports(parser: Parser, start: int, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """(index, verdict, detail) from a process of its own; the last is that of its death where it dies."""
    received, sent = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which are idle here
        child = os.fork()
    if not child:
        os.close(received)
        _child(parser, range(start, count), seed, sent)
    os.close(sent)
    rest, last = b"", start - 1
    with os.fdopen(received, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], DEAD_SECONDS)[0]:
            piece = pipe.read(1 << 16)
            if not piece:
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                number, verdict, detail = line.decode().split("\t", 2)
                last = int(number)
                yield last, verdict, detail
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if last + 1 < count:
        yield last + 1, "died", f"status {status}"


def _child(parser: Parser, indices: range, seed: int, sent: int) -> None:
    """Judge inputs and write the verdicts; never returns."""
    home = Path(tempfile.mkdtemp(prefix="fuzz-"))
    code = 1
    try:
        os.chdir(home)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        tempfile.tempdir = str(home)
        warnings.simplefilter("ignore")
        faulthandler.disable()
        outside: list[str] = []
        _watch(home, outside)
        signal.signal(signal.SIGALRM, _late)
        for index in indices:
            verdict, detail = _verdict(parser, damaged(parser, seed, index), home / "in", outside)
            os.write(sent, f"{index}\t{verdict}\t{detail}\n".encode(errors="replace"))
        code = 0
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os._exit(code)


def _verdict(parser: Parser, content: bytes, folder: Path, outside: list[str]) -> tuple[str, str]:
    folder.mkdir()
    outside.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _limit():
            parser.read(content, folder)
        verdict, detail = "accepted", ""
    except (ExplorerError, HardwareModelError) as error:
        verdict, detail = _judged(str(error), len(error.problems))
    except Late:
        verdict, detail = "hang", f"more than {SECONDS} s"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        verdict, detail = "traceback", f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
    shutil.rmtree(folder, ignore_errors=True)
    if outside:
        return "outside", outside[0]
    if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > GROWTH_BYTES:
        return "memory", f"{verdict} {detail}"
    return verdict, detail


def _judged(text: str, problems: int) -> tuple[str, str]:
    """A refusal is sound where each problem is one short line that a terminal can show."""
    lines = text.split("\n")
    if len(lines) != problems or not all(line.isprintable() and line for line in lines):
        return "traceback", "a refusal of more than one line for a problem, or with control characters"
    if max(map(len, lines)) > LONGEST_LINE:
        return "traceback", f"a refusal of {max(map(len, lines)) // 100 * 100} characters"
    return "refused", ""


@contextmanager
def _limit() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _late(*_: object) -> None:
    raise Late


def _watch(home: Path, outside: list[str]) -> None:
    """Note every file that is opened for writing, made, moved or removed outside of `home`."""
    inside = (str(home), "/dev/", "/proc/")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.symlink", "os.link"}:
            path = arguments[1] if event in {"os.rename", "os.symlink", "os.link"} else arguments[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike):
            written = os.path.realpath(os.path.join(os.getcwd(), os.fsdecode(path)))  # noqa: PTH109, PTH118
            if not written.startswith(inside) and "__pycache__" not in written:
                outside.append(f"{event} {written[:200]}")

    sys.addaudithook(hook)


def told(name: str, counts: Counts, seconds: float) -> list[str]:
    """A line of counts, and one for each kind of fault."""
    parts = [f"{counts.verdicts[verdict]} {verdict}" for verdict in VERDICTS if counts.verdicts[verdict]]
    lines = [f"{name}: {sum(counts.verdicts.values())} inputs in {seconds:.0f} s: {', '.join(parts)}"]
    return lines + [f"  {kind} (input {index})" for kind, (index, _) in counts.faults.items()]


def timed(parser: Parser, count: int, seed: int, keep: Path | None) -> tuple[Counts, float]:
    """What `fuzz` counts, and its seconds."""
    start = time.monotonic()
    counts = fuzz(parser, count, seed, keep)
    return counts, time.monotonic() - start
