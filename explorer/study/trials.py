"""What a storage holds of one trial of a search, packed and unpacked."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from explorer.compress.candidate import Candidate
from explorer.evaluate.mean_score import MeanScore
from explorer.search.proposals import Point

PROPOSED, RESULT, WORKER = "proposal", "result", "worker"
"""Attributes of a trial: one packed each, since a database takes as long for one as for a hundred parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What an evaluation found: None where the candidate was over budget, or cannot be computed, and why."""

    score: MeanScore | None = None
    failure: str = ""
    entropies: tuple[float, ...] | None = None
    """Of the integers of each of its layers, in bits a weight, where it was scored."""
    images: str = ""
    """Packed scores of the images that it was scored on, in the order of the sample; empty where they are not known."""
    beaten: bool = False
    """Whether it was scored no further since another network was better and cost no more."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "score": None if self.score is None else asdict(self.score),
            "failure": self.failure,
            "entropies": self.entropies,
            "images": self.images,
            "beaten": self.beaten,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrialResult:
        """Read it from JSON."""
        score, entropies = data["score"], data["entropies"]
        return cls(
            score=None if score is None else MeanScore(**score),
            failure=data["failure"],
            entropies=None if entropies is None else tuple(entropies),
            images=data["images"],
            beaten=data["beaten"],
        )


@dataclass(frozen=True, slots=True)
class Proposed:
    """What is to be evaluated, at which point of the space, and where it came from."""

    point: Point
    candidate: Candidate
    origin: str
    coded_bytes: int | None = None
    """Of a coded file, where the study names these."""
    rival: int | None = None
    """The trial that it is compared with on the same images, to end its evaluation early."""
    expected_gain: float | None = None
    """What share it is expected to add to the hypervolume of the front, by a sampler that says so."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "point": list(self.point),
            "candidate": _pack(self.candidate),
            "origin": self.origin,
            "coded_bytes": self.coded_bytes,
            "rival": self.rival,
            "expected_gain": self.expected_gain,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTrial:
    """One trial as the storage holds it; its `result` is known before it counts as `complete`."""

    number: int
    point: Point
    candidate: Candidate
    origin: str
    coded_bytes: int | None
    """Of a coded file, where the study names these."""
    running: bool
    complete: bool
    result: TrialResult | None
    rival: int | None = None
    """The trial that it is compared with on the same images, to end its evaluation early."""
    expected_gain: float | None = None
    """What share it is expected to add to the hypervolume of the front, by a sampler that says so."""
    worker: str = field(compare=False)
    """Who evaluates it, or did, and how often that has been heard of; empty where no one does."""

    @property
    def score(self) -> MeanScore | None:
        """Return its score, None where it has none."""
        return None if self.result is None else self.result.score

    @property
    def entropies(self) -> tuple[float, ...] | None:
        """Return those of its layers, None where it was not scored."""
        return None if self.result is None else self.result.entropies

    @property
    def failure(self) -> str:
        """Return why it cannot be computed, empty where that is not so."""
        return "" if self.result is None else self.result.failure


def _pack(candidate: Candidate) -> str:
    """Return a candidate as text: that of 300 layers in 3 kB instead of 30."""
    return b64encode(zlib.compress(json.dumps(candidate.to_json(), separators=(",", ":")).encode())).decode()


def _unpack(text: str) -> Candidate:
    return Candidate.from_json(json.loads(zlib.decompress(b64decode(text))))


def read_trial(trial: FrozenTrial) -> StoredTrial:
    """Return a trial as its storage holds it."""
    attributes = trial.user_attrs
    proposed, result = attributes[PROPOSED], attributes.get(RESULT)
    return StoredTrial(
        number=trial.number,
        point=tuple(proposed["point"]),
        candidate=_unpack(proposed["candidate"]),
        origin=proposed["origin"],
        coded_bytes=proposed["coded_bytes"],
        rival=proposed["rival"],
        expected_gain=proposed.get("expected_gain"),
        running=trial.state == TrialState.RUNNING,
        complete=trial.state == TrialState.COMPLETE,
        result=None if result is None else TrialResult.from_json(result),
        worker=attributes.get(WORKER, ""),
    )
