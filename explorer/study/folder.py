"""The folder of a run: its lock, and the files in it that later commands read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from explorer.errors import SearchError
from explorer.study.record import Outcome
from explorer.study.study_file import Study

OUTCOME, STUDY, JOURNAL = "outcome.json", "study.json", "search.journal"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, created where there is none; SearchError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise SearchError(
            f"{folder}: another run is using this folder; wait for it, or choose another --out"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise SearchError(f"{folder}: is not a folder; choose another --out") from error
    except PermissionError as error:
        raise SearchError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error


def write_json(path: Path, data: object) -> None:
    """Write a JSON file whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read_outcome(folder: Path) -> Outcome:
    """What a finished run left in `folder`; SearchError when there is none, or it cannot be read."""
    path = folder / OUTCOME
    if not path.is_file():
        if (folder / JOURNAL).exists() or (folder / STUDY).exists():
            raise SearchError(f"{folder}: the run is not finished; explorer run again on this folder goes on")
        raise SearchError(f"{folder}: no run was made here; make one with: explorer run STUDY --out {folder}")
    try:
        return Outcome.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SearchError(
            f"{path}: cannot be read as this version's outcome ({type(error).__name__}: {error}); "
            "explorer run again on this folder writes it anew"
        ) from error


def write_study(folder: Path, study: Study) -> None:
    """Keep the resolved study with its results, and where its relative paths start."""
    write_json(folder / STUDY, {"study": study.to_json(), "study_folder": study.model.study_folder})


def read_study(folder: Path) -> Study:
    """The study that was run in `folder`; SearchError when the file is not there or not readable."""
    path = folder / STUDY
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Study.from_json(data["study"], study_folder=data["study_folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SearchError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); explorer run again writes it anew"
        ) from error
