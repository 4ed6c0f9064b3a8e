"""The storage of a search: an Optuna study in a journal file or a database, safe against being killed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from explorer.compress.candidate import Candidate
from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import objectives_named
from explorer.settings.paths import expand_variables
from explorer.study.folder import JOURNAL, refuse_changes
from explorer.study.journal import Damage, Journal, Log, surviving
from explorer.study.study_file import Study

FINISHED = (TrialState.COMPLETE,)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrial:
    """One finished trial as the storage holds it; `score` is None where it was over budget, or has a `failure`."""

    number: int
    origin: str
    candidate: Candidate
    score: MeanScore | None
    failure: str = ""
    """Why the candidate could not be computed; empty where it could, or was not built."""
    entropies: tuple[float, ...] | None = None
    """Of the integers of each of its layers, in bits a weight, where it was scored."""
    coded_bytes: int | None = None
    """Of a coded file, where the study names these."""


class Store:
    """Finished evaluations of one search, and its Optuna study for the sampler to read."""

    def __init__(
        self, study: optuna.Study, owner: str, salvaged: Mapping[str, MeanScore] = MappingProxyType({})
    ) -> None:
        self.study = study
        self.owner = owner
        self.salvaged = salvaged
        """Scores by the digest of a candidate, of evaluations that the journal has lost."""

    def stored(self) -> tuple[StoredTrial, ...]:
        """Return all finished trials in the order in which they were started."""
        return tuple(
            StoredTrial(
                number=index,
                origin=trial.user_attrs["origin"],
                candidate=Candidate.from_json(trial.user_attrs["candidate"]),
                score=_read(trial.user_attrs["score"]),
                failure=trial.user_attrs.get("failure", ""),
                entropies=tuple(found) if (found := trial.user_attrs.get("entropies")) is not None else None,
                coded_bytes=trial.user_attrs.get("coded_bytes"),
            )
            for index, trial in enumerate(self._finished())
        )

    def count(self) -> int:
        """Return the number of finished trials."""
        return len(self._finished())

    def waiting(self) -> bool:
        """Return True when a seed was put into the queue and not yet taken out."""
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def finish(
        self,
        trial: optuna.Trial,
        candidate: Candidate,
        origin: str,
        score: MeanScore | None,
        values: Sequence[float],
        failure: str = "",
        **known: Any,
    ) -> None:
        """Record an evaluation, with more that is `known` of it; it survives whatever happens after this returns."""
        trial.set_user_attr("candidate", candidate.to_json())
        trial.set_user_attr("origin", origin)
        trial.set_user_attr("score", None if score is None else asdict(score))
        if failure:
            trial.set_user_attr("failure", failure)
        for key, value in known.items():
            if value is not None:
                trial.set_user_attr(key, value)
        self.study.tell(trial, list(values))

    def damage(self) -> str:
        """Return what was found damaged when the storage was opened, now or earlier; empty where nothing was."""
        return str(self.study.user_attrs.get("damage", ""))

    def identity(self) -> dict[str, str]:
        """Return what the evaluations depend on, each part by name."""
        return dict(self.study.user_attrs.get("identity", {}))

    def scores(self) -> dict[str, MeanScore]:
        """Return scores by "images/network", for what is not a trial: baselines, and the front's final score."""
        return {key: MeanScore(**score) for key, score in self.study.user_attrs.get("scores", {}).items()}

    def remember_score(self, key: str, score: MeanScore) -> None:
        """Keep a score, so that nothing is scored twice."""
        self.study.set_user_attr("scores", {**self.study.user_attrs.get("scores", {}), key: asdict(score)})

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=FINISHED)


def open_store(folder: Path, url: str, name: str, objectives: Sequence[str], identity: Mapping[str, str]) -> Store:
    """Open or create the study `name` in `folder`'s journal file, or in the database at `url`.

    The caller holds the lock on `folder`. A trial that a killed process left running is given up, and so tried again.

    Args:
        identity: What the evaluations depend on, each part by name.

    Raises:
        SearchError: When the stored ones were made with another identity, naming what differs, or the database cannot
            be opened.
    """
    directions = [
        StudyDirection.MINIMIZE if objective.is_cost else StudyDirection.MAXIMIZE
        for objective in objectives_named(objectives)
    ]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = Journal(folder / JOURNAL) if url == "journal" else None
    try:
        storage = RDBStorage(url) if journal is None else JournalStorage(journal)
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
    except ImportError as error:
        raise SearchError(
            f"search.storage: {_masked(url)} needs a driver that is not installed ({error}); "
            "pip install 'psycopg[binary]'"
        ) from error
    except Exception as error:
        if isinstance(error, SearchError):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise SearchError(f"search.storage: cannot open {_masked(url)}: {first}") from error
    _check_identity(study, identity, folder)
    owner = str(folder.absolute())
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # The journal is this folder's own; a database may hold a trial that another folder's run is at.
        if url == "journal" or trial.user_attrs.get("owner") == owner:
            study.tell(trial.number, state=TrialState.FAIL)
    if journal is None:
        return Store(study, owner)
    if journal.damage is not None:
        study.set_user_attr("damage", _damaged(journal.damage))
    return Store(study, owner, _salvaged(surviving(folder / JOURNAL), identity))


def read_store(folder: Path, study: Study) -> Store:
    """Open what a run has stored, as it is, to be read.

    Raises:
        SearchError: It has stored nothing yet, or the database cannot be opened.
    """
    url = expand_variables(study.search.storage, "search.storage")
    if url == "journal" and not (folder / JOURNAL).is_file():
        raise SearchError(f"{folder}: nothing was evaluated yet; explorer run again on this folder goes on")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = JournalStorage(Journal(folder / JOURNAL)) if url == "journal" else RDBStorage(url)
        return Store(optuna.load_study(storage=storage, study_name=study.name), str(folder.absolute()))
    except KeyError as error:
        raise SearchError(f"{folder}: holds no search of {study.name}; run the study anew") from error
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise SearchError(f"search.storage: cannot open {_masked(url)}: {first}") from error


def _read(score: Mapping[str, Any] | None) -> MeanScore | None:
    return None if score is None else MeanScore(**score)


def _check_identity(study: optuna.Study, identity: Mapping[str, str], folder: Path) -> None:
    known: dict[str, Any] | None = study.user_attrs.get("identity")
    if known is None:
        study.set_user_attr("identity", dict(identity))
        return
    refuse_changes(folder, known, identity)


def _damaged(damage: Damage) -> str:
    return (
        f"line {damage.line} was not what had been written there: evaluation {damage.kept + 1} and those after it "
        f"({damage.lost} of them were found) are made again, with what scores are left in {JOURNAL}.damaged"
    )


def _salvaged(logs: Iterable[Log], identity: Mapping[str, str]) -> dict[str, MeanScore]:
    """Return scores by the digest of the candidate; none where they may be those of another study."""
    attributes: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    ours = False
    for log in logs:
        given = log.get("user_attr") or {}
        ours = ours or ("trial_id" not in log and given.get("identity") == dict(identity))
        if "trial_id" in log:
            attributes[log["trial_id"]].update(given)
    scored = [
        entry for entry in attributes.values() if ours and "candidate" in entry and entry.get("score") is not None
    ]
    return {Candidate.from_json(entry["candidate"]).digest(): MeanScore(**entry["score"]) for entry in scored}


def _masked(url: str) -> str:
    """Return the URL without a password."""
    if "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}"
