"""A worker: it evaluates what a run elsewhere proposes, and refuses any study but that of the run."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

from explorer.errors import SearchError
from explorer.progress import Notify, silent
from explorer.settings.paths import expand_variables
from explorer.study.alive import Listener, saying
from explorer.study.beacons import Tuning
from explorer.study.jobs import Evaluate, evaluate
from explorer.study.network import open_network
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.sampling import make_entropies, make_scorer, order_sample
from explorer.study.storage import connect, is_coordinated, join_store, naming_faults
from explorer.study.store import WAITING, Store
from explorer.study.study_file import Study
from explorer.study.weights import trained_places
from explorer.threads import single_threaded

POLL_S = 0.5
"""How often a worker with nothing to do asks for work (assumed)."""
FINISHED = "the search is finished"
SILENT = "the run has not been heard of any more; once it goes on, start the worker again"


def evaluate_for(study: Study, folder: Path, notify: Notify = silent) -> tuple[int, str]:
    """Evaluate candidates of the run of a study until it ends; return how many, and why it ended.

    What evaluations depend on is computed here, too, from the same study file, images and weights. Weights that a
    study trains are not trained again, which would take as long and might end in others: they are found in `folder`,
    the run's own or a copy of it. So may relevance be; nothing but that is written there.

    Raises:
        SearchError: When the run is one of another study, image or network, naming what differs; the trained weights
            are not there; or the storage cannot be opened.
    """
    url = expand_variables(study.search.storage, "search.storage")
    if url == "journal":
        raise SearchError(
            "search.storage: a journal file is of one machine; expected a database URL or grpc://host:port"
        )
    storage = connect(url)
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    notify("wait for the run", 0, 1)
    while not is_coordinated(storage, study.name):
        time.sleep(POLL_S)
    notify("wait for the run", 1, 1)
    _refuse_untrained(study, folder)
    prepared = open_study(study, folder, notify)
    store, trials = join_store(storage, study.name, owner, prepared.identity()), study.search.trials
    with naming_faults(url), single_threaded(True):
        work = partial(evaluate, make_scorer(prepared, order_sample(prepared, store)), make_entropies(prepared))
        others = [_join_beacons(store, prepared)] if study.search.beacons else []
        return serve([(store, work), *others], lambda count: notify("evaluate", count, trials))


def _refuse_untrained(study: Study, folder: Path) -> None:
    if study.model.training is None:
        return
    network = open_network(study)
    if not trained_places(network.model, network.canonical, study, network.data, folder).found:
        raise SearchError(
            f"{folder}: holds no weights that the run has trained; give its folder as --out, or a copy of it with its "
            "weights-*.pt"
        )


def _join_beacons(store: Store, prepared: PreparedStudy) -> tuple[Store, Evaluate]:
    try:
        tuning = Tuning.open(prepared, store)
    except KeyError as error:
        raise SearchError(
            "search.beacons: the run tunes none, or by another [finetuning] or on other images; give both the same "
            "study file"
        ) from error
    return tuning.beacons, tuning.evaluate


def serve(tasks: Sequence[tuple[Store, Evaluate]], progress: Callable[[int], None]) -> tuple[int, str]:
    """Evaluate trials that wait in stores until the run of the first ends; return how many, and why it ended."""
    listener, evaluated = Listener(), 0
    while True:
        if any(_evaluate_next(store, work) for store, work in tasks):
            evaluated += 1
            progress(evaluated)
        else:
            time.sleep(POLL_S)
        coordinator = tasks[0][0].coordinator()
        if not coordinator:
            return evaluated, FINISHED
        if listener.is_silent("coordinator", coordinator):
            return evaluated, SILENT


def _evaluate_next(store: Store, work: Evaluate) -> bool:
    """Evaluate the first trial that waits in a store and that no other claims; False where there is none."""
    for stored in store.trials(WAITING):
        if store.claim(stored.number):
            with saying(partial(store.say_alive, stored.number)):
                result = work(stored.candidate, store.read_images(stored.rival))
            store.record(stored.number, stored.candidate, result)
            return True
    return False
