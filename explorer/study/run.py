"""The main job: from a study to its front, scored once on images that the search never saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate, uniform
from explorer.errors import SearchError
from explorer.evaluate.accuracy import count_correct
from explorer.search.seeds import Seed, relevance_seeds
from explorer.search.sensitivity import sensitivity
from explorer.search.space import SearchSpace, search_space
from explorer.study import front
from explorer.study.costing import candidate_cost, excesses
from explorer.study.outcome import conclude
from explorer.study.prepare import Notify, Prepared, prepare
from explorer.study.record import Cost, Outcome
from explorer.study.search import Search, search
from explorer.study.store import JOURNAL, Store, open_store
from explorer.study.study_file import Study

OUTCOME, STUDY = "outcome.json", "study.json"


def run(study: Study, folder: Path, notify: Notify) -> Outcome:
    """Run the study in `folder`, or go on with it there, and return what it found.

    Everything found on the way is stored at once: after an interruption the same call goes on. The folder is
    locked meanwhile. Raises a child of ExplorerError for what is wrong with the user's input.
    """
    with locked(folder):
        prepared = prepare(study, folder, notify)
        store = open_store(
            folder, study.search.storage_url, study.name, study.objectives.names, prepared.identity()
        )
        write_json(folder / STUDY, study.to_json())
        task = _task(prepared, store, notify)
        search(task, store, lambda done, total: notify("search", done, total))
        outcome = conclude(prepared, task, store, notify)
        write_json(folder / OUTCOME, outcome.to_json())
        return outcome


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, created where there is none; SearchError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise SearchError(f"{folder}: another run is using this folder; wait for it, or choose another --out") from error
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


def _task(prepared: Prepared, store: Store, notify: Notify) -> Search:
    study, graph = prepared.study, prepared.basis.graph
    space = search_space(graph, study.space)
    images, labels = prepared.tensors(prepared.data.search)

    def correct(candidate: Candidate) -> int:
        model = apply(prepared.basis, candidate)
        return count_correct(model, images, labels, study.search.batch_size)

    def cost_of(candidate: Candidate) -> Cost:
        return candidate_cost(graph, candidate, prepared.accelerator, with_layers=False)

    return Search(
        space=space,
        settings=study.search,
        seed=study.seed,
        seeds=_seeds(prepared, space, notify) if store.count() < study.search.seeds else (),
        objectives=study.objectives.names,
        images=len(labels),
        cost_of=cost_of,
        excesses=lambda cost: excesses(cost, study.budgets),
        count_correct=correct,
    )


def _seeds(prepared: Prepared, space: SearchSpace, notify: Notify) -> tuple[Seed, ...]:
    table = sensitivity(
        prepared.basis, prepared.relevance, space, lambda done, total: notify("sensitivity", done, total)
    )
    objectives = [name for name in prepared.study.objectives.names if name != "accuracy"]
    graph, accelerator = prepared.basis.graph, prepared.accelerator

    def values(candidate: Candidate) -> list[float]:
        cost = candidate_cost(graph, candidate, accelerator, with_layers=False)
        return [front.objective_value(name, cost, 0.0) for name in objectives]

    base = values(uniform(graph))

    def cost_of(candidate: Candidate) -> float:
        return sum(value / whole for value, whole in zip(values(candidate), base, strict=True)) / len(base)

    notify("seeds", 0, 1)
    seeds = relevance_seeds(space, table, cost_of, prepared.study.search.seeds)
    notify("seeds", 1, 1)
    return seeds
