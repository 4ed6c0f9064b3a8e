"""What fine-tuning made of the members of a run's front, kept beside the networks, and put back into the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from explorer.errors import SearchError
from explorer.files import replaced
from explorer.study.record import Outcome, TunedScores
from explorer.study.typed import read_typed_record

FOLDER = "tuned"
"""Of a run's folder: one network for each candidate, named after its digest, and SCORES."""
SCORES = "scores.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The content of the file: the digest of the weights that were searched, and scores by the candidate's digest."""

    weights: str = ""
    points: Mapping[str, TunedScores] = field(default_factory=dict)


def tuned_file(run: Path, digest: str) -> Path:
    """Return where the fine-tuned network of a candidate is stored."""
    return run / FOLDER / f"{digest}.pt"


def keep_scores(run: Path, weights: str, digest: str, scores: TunedScores) -> None:
    """Keep what a candidate was tuned to, beside what is known of others of the same network."""
    kept = _read(run)
    points = {**(kept.points if kept.weights == weights else {}), digest: scores}
    data = asdict(_Kept(weights=weights, points=points))
    with replaced(run / FOLDER / SCORES) as file:
        file.write((json.dumps(data, indent=1) + "\n").encode())


def with_tuned(outcome: Outcome, run: Path) -> Outcome:
    """Return the outcome of a run with what its members were tuned to, as far as the networks are still there.

    Raises:
        SearchError: When the file cannot be read.
    """
    kept = _read(run)
    if not kept.points or kept.weights != outcome.provenance.get("weights digest"):
        return outcome
    digests = [point.evaluation.candidate.digest() for point in outcome.front]
    found = [kept.points.get(digest) if tuned_file(run, digest).is_file() else None for digest in digests]
    front = tuple(replace(point, tuned=tuned) for point, tuned in zip(outcome.front, found, strict=True))
    return replace(outcome, front=front)


def _read(run: Path) -> _Kept:
    path = run / FOLDER / SCORES
    if not path.is_file():
        return _Kept()
    try:
        kept: _Kept = read_typed_record(_Kept, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise SearchError(
            f"{path}: cannot be read as scores of fine-tuned networks ({type(error).__name__}: {error}); delete it, "
            "and tune again"
        ) from error
    return kept
