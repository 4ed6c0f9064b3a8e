"""Where the trials of a search are kept: a journal file in its folder, a database, or Optuna's proxy of one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, get_storage
from optuna.study import StudyDirection

from explorer.errors import SearchError
from explorer.objectives import objectives_named
from explorer.settings.paths import expand_variables
from explorer.study.folder import EARLIER, JOURNAL, refuse_changes
from explorer.study.journal import Damage, Journal, Log, surviving
from explorer.study.store import COORDINATOR, Store
from explorer.study.study_file import Study
from explorer.study.trials import PROPOSED, RESULT, TrialResult

PROXY = "grpc"
"""Scheme of the URL of a proxy: grpc://host:port."""
PROXY_PORT = 13000
"""That of Optuna's `run_grpc_proxy_server`."""
PACKAGES = {"grpc": "pip install grpcio protobuf", "postgresql": "pip install 'psycopg[binary]'"}
"""What has to be installed for a storage, by the extra of the package that has it."""
DRIVERS = ("grpc", "psycopg", "sqlalchemy")
"""Packages whose errors are those of a storage."""
CREATIONS, CREATED_MEANWHILE = 20, ("already exists", "duplicate key value")
"""How often a database is opened anew whose tables others create meanwhile (assumed), and what it says of that."""
READY_S = 10.0
"""A proxy that does not answer within this time is not there (assumed)."""


def open_store(folder: Path, url: str, name: str, objectives: Sequence[str], identity: Mapping[str, str]) -> Store:
    """Open or create the study `name` in `folder`'s journal file, or in the storage at `url`.

    The caller holds the lock on `folder`, and proposes the trials.

    Args:
        identity: What the evaluations depend on, each part by name.

    Raises:
        SearchError: When the stored ones were made with another identity, naming what differs, or by an earlier
            version, or the storage cannot be opened.
    """
    directions = [
        StudyDirection.MINIMIZE if objective.is_cost else StudyDirection.MAXIMIZE
        for objective in objectives_named(objectives)
    ]
    journal = Journal(folder / JOURNAL) if url == "journal" else None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = connect(url) if journal is None else JournalStorage(journal)
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        study_id = storage.create_new_study(directions, name)
    known: dict[str, Any] | None = storage.get_study_user_attrs(study_id).get("identity")
    if known is None:
        storage.set_study_user_attr(study_id, "identity", dict(identity))
    else:
        refuse_changes(folder, known, identity)
    _refuse_earlier(storage, study_id, folder)
    owner = str(folder.absolute())
    if journal is None:
        return Store(storage, name, owner, shared=True)
    if journal.damage is not None:
        storage.set_study_user_attr(study_id, "damage", _damaged(journal.damage))
    return Store(storage, name, owner, shared=False, salvaged=_salvaged(surviving(folder / JOURNAL), identity))


def read_store(folder: Path, study: Study) -> Store:
    """Open what a run has stored, as it is, to be read.

    Raises:
        SearchError: It has stored nothing yet, or by an earlier version, or the storage cannot be opened.
    """
    url = expand_variables(study.search.storage, "search.storage")
    if url == "journal" and not (folder / JOURNAL).is_file():
        raise SearchError(f"{folder}: nothing was evaluated yet; explorer run again on this folder goes on")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(Journal(folder / JOURNAL)) if url == "journal" else connect(url)
    try:
        study_id = storage.get_study_id_from_name(study.name)
    except KeyError as error:
        raise SearchError(f"{folder}: holds no search of {study.name}; run the study anew") from error
    _refuse_earlier(storage, study_id, folder)
    return Store(storage, study.name, str(folder.absolute()), shared=url != "journal")


def is_coordinated(storage: BaseStorage, name: str) -> bool:
    """Return whether a run of the study `name` proposes candidates in a storage; it may have fallen silent."""
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return bool(storage.get_study_user_attrs(study_id).get(COORDINATOR))


def join_store(storage: BaseStorage, name: str, owner: str, identity: Mapping[str, str]) -> Store:
    """Return the study `name` in a storage for a worker called `owner`.

    Raises:
        SearchError: When its evaluations depend on something else, naming what.
    """
    store = Store(storage, name, owner, shared=True)
    refuse_changes(f"search.storage: study {name}", store.identity(), identity)
    return store


@contextmanager
def naming_faults(url: str) -> Iterator[None]:
    """Say in one line that a storage failed in the middle of the work.

    Raises:
        SearchError: Instead of what the database or the network raised.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, StorageInternalError) and type(error).__module__.partition(".")[0] not in DRIVERS:
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        kept = "what was recorded is kept, and the same command goes on"
        raise SearchError(f"search.storage: {_masked(url)} has failed: {first}; {kept}") from error


def connect(url: str) -> BaseStorage:
    """Open the database or the proxy at a URL.

    Raises:
        SearchError: When it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    shown = _masked(url)
    try:
        parts = urlsplit(url)
        if parts.scheme != PROXY:
            return _open_database(url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = GrpcStorageProxy(host=parts.hostname or "localhost", port=parts.port or PROXY_PORT)
        proxy.wait_server_ready(READY_S)
        return proxy
    except ImportError as error:
        advice = PACKAGES["grpc" if url.startswith(PROXY) else "postgresql"]
        raise SearchError(
            f"search.storage: {shown} needs a package that is not installed ({error}); {advice}"
        ) from error
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise SearchError(f"search.storage: cannot open {shown}: {first}") from error


def _open_database(url: str) -> BaseStorage:
    """Open a database, whose tables another process may be creating at the same time: one of the two then fails."""
    for _ in range(CREATIONS):
        try:
            return get_storage(url)
        except Exception as error:
            if not any(said in str(error) for said in CREATED_MEANWHILE):
                raise
            time.sleep(READY_S / CREATIONS)
    return get_storage(url)


def _masked(url: str) -> str:
    """Return the URL without a password."""
    if "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}"


def _refuse_earlier(storage: BaseStorage, study_id: int, folder: Path) -> None:
    proposals = (trial.user_attrs.get(PROPOSED, {}) for trial in storage.get_all_trials(study_id, deepcopy=False))
    if not all(isinstance(proposed.get("candidate"), str) for proposed in proposals):
        raise SearchError(f"{folder}: {EARLIER}")


def _damaged(damage: Damage) -> str:
    return (
        f"line {damage.line} was not what had been written there: evaluation {damage.kept + 1} and those after it "
        f"({damage.lost} of them were found) are made again, with what scores are left in {JOURNAL}.damaged"
    )


def _salvaged(logs: Iterable[Log], identity: Mapping[str, str]) -> dict[str, TrialResult]:
    """Return results by the digest of the candidate; none where they may be those of another study."""
    found, ours = {}, False
    for log in logs:
        given = log.get("user_attr") or {}
        ours = ours or ("trial_id" not in log and given.get("identity") == dict(identity))
        if RESULT in given and given[RESULT]["score"] is not None:
            found[given[RESULT]["candidate"]] = TrialResult.from_json(given[RESULT])
    return found if ours else {}
