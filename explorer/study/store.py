"""The trials of a search in their storage, an Optuna study: proposed, claimed, recorded and completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from explorer.compress.candidate import Candidate
from explorer.errors import SearchError
from explorer.study.trials import PROPOSED, RESULT, WORKER, Proposed, StoredTrial, TrialResult, read_trial

States = tuple[TrialState, ...] | None
"""Of trials; None for all."""
WAITING = (TrialState.WAITING,)
OPEN = (TrialState.WAITING, TrialState.RUNNING)
COORDINATOR = "coordinator"
"""Attribute of the study: who proposes, and how often that has been heard of."""
SCORED, SAMPLE = "score/", "sample"
"""Attributes of the study: scores of one network on one set of images, for each of these, and the order of images."""


class Store:
    """The trials of one search by their numbers, which are those of its Optuna study.

    A trial is proposed WAITING, claimed RUNNING, has its result recorded, and is COMPLETE. One process proposes and
    completes, the coordinator; others may claim and record.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        owner: str,
        *,
        shared: bool,
        salvaged: Mapping[str, TrialResult] = MappingProxyType({}),
        kind: str = "",
    ) -> None:
        self._storage = storage
        self._name, self._kind = name, kind
        self._study_id = storage.get_study_id_from_name(name + kind)
        self.owner = owner
        """Who this process is to others: it is the worker of what it claims."""
        self.shared = shared
        """Whether others may claim trials, too: a journal has no other process."""
        self.salvaged = salvaged
        """Results by the digest of a candidate, of evaluations that the journal has lost."""
        self._image_scores: dict[str, str] | None = None

    def beside(self, kind: str, *, create: bool = False) -> Store:
        """Return trials of another kind of the same search, whose numbers are their own: in a study beside this one.

        Raises:
            KeyError: When there are none, and they are not to be created.
        """
        try:
            self._storage.get_study_id_from_name(self._name + kind)
        except KeyError:
            if not create:
                raise
            self._storage.create_new_study(self._storage.get_study_directions(self._study_id), self._name + kind)
        salvaged = {own.removesuffix(kind): found for own, found in self.salvaged.items() if own.endswith(kind)}
        return Store(self._storage, self._name, self.owner, shared=self.shared, salvaged=salvaged, kind=kind)

    def trials(self, states: States = None) -> tuple[StoredTrial, ...]:
        """Return all trials, or those in some states, in the order of their numbers."""
        return tuple(map(read_trial, self._find(states)))

    def latest(self, most: int) -> tuple[StoredTrial, ...]:
        """Return at most so many trials, those proposed last."""
        return tuple(map(read_trial, self._find(None)[-most:]))

    def stored(self) -> tuple[StoredTrial, ...]:
        """Return the finished trials in the order of their numbers."""
        return self.trials((TrialState.COMPLETE,))

    def count(self, states: States = (TrialState.COMPLETE,)) -> int:
        """Return the number of trials that are finished, or in some other states: none of them is unpacked for it."""
        return len(self._find(states))

    def propose(
        self,
        number: int,
        proposed: Proposed,
        *,
        result: TrialResult | None = None,
        values: Sequence[float] = (),
        held: bool = False,
    ) -> None:
        """Add the next trial: complete where its result is known, and for no one to claim where it is `held`.

        Raises:
            SearchError: When another process has proposed one meanwhile.
        """
        state = TrialState.COMPLETE if result else TrialState.RUNNING if held else TrialState.WAITING
        now = datetime.now()
        attributes: dict[str, Any] = {PROPOSED: proposed.to_json()}
        if held:
            attributes[WORKER] = self.owner
        if result:
            attributes[RESULT] = result.to_json()
        trial = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=list(values) if result else None,
            datetime_start=None if state == TrialState.WAITING else now,
            datetime_complete=now if result else None,
            params={},
            distributions={},
            user_attrs=attributes,
            system_attrs={},
            intermediate_values={},
        )
        own = self._storage.create_new_trial(self._study_id, template_trial=trial)
        if self._storage.get_trial_number_from_id(own) != number:
            raise SearchError("search.storage: another run proposes candidates of this study; end one of the two")

    def read_images(self, number: int | None) -> str:
        """Return the packed scores of the images that a finished trial was scored on; empty for none."""
        found = None if number is None else self._storage.get_trial(self._id(number))
        return "" if found is None else str(found.user_attrs[RESULT]["images"])

    def claim(self, number: int) -> bool:
        """Take a waiting trial; False where another has taken it."""
        try:
            taken = self._storage.set_trial_state_values(self._id(number), TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
        if taken:
            self.say_alive(number, 0)
        return taken

    def say_alive(self, number: int, times: int) -> None:
        """Let others know, for a number of times, that a trial is still evaluated here."""
        self._set(number, WORKER, f"{self.owner} {times}")

    def release(self, number: int) -> None:
        """Let a trial be claimed again, whose worker is gone: what it may still record would be the same."""
        self._storage.set_trial_state_values(self._id(number), TrialState.WAITING)

    def record(self, number: int, candidate: Candidate, result: TrialResult) -> None:
        """Keep what an evaluation found; nothing where it is known meanwhile."""
        self._set(number, RESULT, {**result.to_json(), "candidate": candidate.digest() + self._kind})

    def complete(self, number: int, values: Sequence[float]) -> None:
        """Finish a trial whose result is recorded; it survives whatever happens after this call returns."""
        self._storage.set_trial_state_values(self._id(number), TrialState.COMPLETE, list(values))

    def damage(self) -> str:
        """Return what was found damaged when the storage was opened, now or earlier; empty where nothing was."""
        return str(self._attributes().get("damage", ""))

    def identity(self) -> dict[str, str]:
        """Return what the evaluations depend on, each part by name."""
        return dict(self._attributes().get("identity", {}))

    def image_scores(self) -> dict[str, str]:
        """Return the packed scores of images by "images/network", for what is not a trial: baselines, and the front."""
        if self._image_scores is None:
            kept = self._attributes().items()
            self._image_scores = {key.removeprefix(SCORED): packed for key, packed in kept if key.startswith(SCORED)}
        return self._image_scores

    def remember_score(self, key: str, images: str) -> None:
        """Keep packed scores of images, so that nothing is scored twice."""
        self._storage.set_study_user_attr(self._study_id, SCORED + key, images)
        self.image_scores()[key] = images

    def sample(self) -> Mapping[str, Any] | None:
        """Return the order in which images are scored, None where it is not known yet."""
        kept: Mapping[str, Any] | None = self._attributes().get(SAMPLE)
        return kept

    def keep_sample(self, order: Mapping[str, Any]) -> None:
        """Keep the order in which every process is to score images."""
        self._storage.set_study_user_attr(self._study_id, SAMPLE, dict(order))

    def coordinator(self) -> str:
        """Return who proposes, and how often that has been heard of; empty where no one does, or not any more."""
        return str(self._attributes().get(COORDINATOR, ""))

    def say_coordinating(self, times: int | None) -> None:
        """Let others know, for a number of times, that trials are proposed here; None for not any more."""
        said = "" if times is None else f"{self.owner} {times}"
        self._storage.set_study_user_attr(self._study_id, COORDINATOR, said)

    def _find(self, states: States) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=states)

    def _attributes(self) -> Mapping[str, Any]:
        return self._storage.get_study_user_attrs(self._study_id)

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _set(self, number: int, key: str, value: object) -> None:
        try:
            self._storage.set_trial_user_attr(self._id(number), key, value)
        except UpdateFinishedTrialError:
            return


def name_scores(split: str, images: str, network: str) -> str:
    """Return the key of the scores of a network on the images of a split, whose digest is given."""
    return f"{split}/{images}/{network}"
