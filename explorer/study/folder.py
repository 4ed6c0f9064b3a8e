"""The folder of a run: its lock, and the files in it that later commands read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from explorer.errors import SearchError
from explorer.files import replaced
from explorer.study.record import Outcome
from explorer.study.study_file import Study
from explorer.study.tuned_front import with_tuned

EARLIER = "holds the results of an earlier version of explorer; choose another folder, or go on with that"
OUTCOME, STUDY, JOURNAL, LOCK = "outcome.json", "study.json", "search.journal", ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, created where there is none.

    A folder that was created here and got no file is removed again: bad input leaves nothing behind.

    Raises:
        SearchError: When another process holds it.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise SearchError(f"{folder}: another run is using this folder; wait for it, or choose another one") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise SearchError(f"{folder}: is not a folder; choose another one") from error
    except OSError as error:
        raise SearchError(f"{folder}: cannot be written ({error.strerror}); choose another one") from error
    try:
        yield
    finally:
        if created and not any(path.name != LOCK for path in folder.iterdir()):
            (folder / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # something else was put into a folder above it meanwhile
                for path in created:
                    path.rmdir()
        lock.release()


def write_json(path: Path, data: object) -> None:
    """Write a JSON file whole or not at all."""
    with replaced(path) as file:
        file.write((json.dumps(data, indent=1) + "\n").encode())


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Keep what a run has found, whole or not at all."""
    with replaced(folder / OUTCOME) as file:
        file.writelines(part.encode() for part in outcome.write_json())


def refuse_no_run(folder: Path) -> None:
    """Raise SearchError where no run was made in `folder`, finished or not."""
    if not any((folder / name).exists() for name in (JOURNAL, STUDY)):
        raise SearchError(f"{folder}: no run was made here; make one with: explorer run STUDY --out {folder}")


def read_outcome(folder: Path) -> Outcome:
    """Return what a finished run left in `folder`, with what members of its front were tuned to there.

    Raises:
        SearchError: When there is none, or it cannot be read.
    """
    path = folder / OUTCOME
    if not path.is_file():
        refuse_no_run(folder)
        raise SearchError(
            f"{folder}: the run is not finished; explorer run again on this folder goes on, or the same search "
            "from Python"
        )
    try:
        outcome = Outcome.from_json(json.loads(path.read_text(encoding="utf-8")))
        if Study.from_json(outcome.study).objectives.names != outcome.objectives:
            raise ValueError("its objectives are not those of its study")
    except (OSError, ValueError, RecursionError) as error:
        raise SearchError(
            f"{path}: cannot be read as this version's outcome ({type(error).__name__}: {error}); "
            "explorer run again on this folder writes it anew"
        ) from error
    return with_tuned(outcome, folder)


def write_study(folder: Path, study: Study) -> None:
    """Keep the resolved study with its results, and where its relative paths start, whatever the working folder."""
    write_json(folder / STUDY, {"study": study.to_json(), "study_folder": str(Path(study.folder).absolute())})


def read_study(folder: Path) -> Study:
    """Return the study that was run in `folder`.

    Raises:
        SearchError: When the file is not there or not readable.
    """
    path = folder / STUDY
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Study.from_json(data["study"], folder=data["study_folder"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SearchError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); explorer run again writes it anew"
        ) from error


def refuse_other_study(folder: Path, study: Study) -> None:
    """Raise SearchError when `folder` holds a search of a study that differs in what results depend on.

    This looks at settings only, before anything is computed; the storage holds what else evaluations depend on.
    A journal in which no line has a checksum is not damaged, but that of an earlier version; so is one whose trials
    have parameters.
    """
    journal = (folder / JOURNAL).read_bytes() if (folder / JOURNAL).is_file() else b""
    if b'"op_code"' in journal.partition(b"\n")[0] and (b'"sum":"' not in journal or b'"param_name"' in journal):
        raise SearchError(f"{folder}: {EARLIER}")
    if not ((folder / STUDY).is_file() and (folder / JOURNAL).is_file()):
        return
    try:
        known = read_study(folder).essentials()
    except SearchError:
        return  # the file is written anew, and the storage knows the study, too
    refuse_changes(folder, known, study.essentials())


def refuse_changes(place: Path | str, known: Mapping[str, str], identity: Mapping[str, str]) -> None:
    """Raise SearchError, naming what differs, when `identity` is not that of the results in a place."""
    changed = sorted(key for key in identity.keys() | known.keys() if identity.get(key) != known.get(key))
    if changed:
        details = "; ".join(f"{key} was {known.get(key)}, is {identity.get(key)}" for key in changed[:3])
        details += f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise SearchError(
            f"{place}: holds the results of another study ({details}); choose another folder, or restore it"
        )
