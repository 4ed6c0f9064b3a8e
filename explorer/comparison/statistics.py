"""Accuracies of a comparison and their paired differences, with standard errors over images and over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from explorer.comparison.points import ScoredCell, Size

Verdict = Literal["wins", "ties", "loses"]
Key = tuple[str, str, float, str]
"""(state, scope, level, criterion)."""
CONFIDENCE = 0.95
"""Of the interval around a difference that must not hold 0 for it to count as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanEstimate:
    """A mean over seeds and images, in [-1, 1], with its standard errors.

    `over_images` is that of the mean over seeds of each image, `over_seeds` that of the mean over images of each
    seed, 0 for a single one. `standard_error` is the root of the sum of their squares: what images and seeds have in
    common counts twice, so that it is rather too large. `half_width` is that of the interval of CONFIDENCE: the
    root of the sum of squares of both errors, each times Student's t for its own number of values, since few seeds know
    their own spread badly. Simulated, it is at least as wide as it has to be.
    """

    value: float
    over_images: float
    over_seeds: float
    num_images: int
    seeds: int

    @property
    def standard_error(self) -> float:
        """Over images and seeds together."""
        return float(np.hypot(self.over_images, self.over_seeds))

    @property
    def half_width(self) -> float:
        """Half of the interval of CONFIDENCE; 0 without any spread."""
        freedom = np.maximum([self.num_images - 1, self.seeds - 1], 1)
        factors = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
        return float(np.hypot(*(factors * [self.over_images, self.over_seeds])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All seeds of one criterion at one level, scope and state; sizes are means over seeds."""

    criterion: str
    scope: str
    level: float
    state: str
    accuracy: MeanEstimate
    parameters: float
    weight_bytes: float
    coded_bytes: float | None
    macs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Accuracy of the focus less that of another criterion, image by image and seed by seed."""

    focus: str
    criterion: str
    scope: str
    level: float
    state: str
    difference: MeanEstimate

    @property
    def verdict(self) -> Verdict:
        """Of the focus: wins or loses where the interval of CONFIDENCE leaves out 0, else ties."""
        value = self.difference.value
        if abs(value) <= self.difference.half_width:
            return "ties"
        return "wins" if value > 0 else "loses"


def estimate_mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> MeanEstimate:
    """Return the mean of `values` (seeds x images) and its standard errors.

    Raises:
        ValueError: For no seed or image.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"`values` must be seeds x images with at least one of each, received shape {table.shape}")
    seeds, images = table.shape
    return MeanEstimate(
        value=float(table.mean()),
        over_images=_standard_error(table.mean(0)),
        over_seeds=_standard_error(table.mean(1)),
        num_images=images,
        seeds=seeds,
    )


def group_cells(points: Iterable[ScoredCell]) -> tuple[Group, ...]:
    """Return the points of each criterion, level, scope and state together, in their order."""
    return tuple(_group(key, found) for key, found in _by_key(points).items())


def compute_differences(points: Iterable[ScoredCell], focus: str) -> tuple[Difference, ...]:
    """Return the focus less every other criterion, wherever both have the same seeds."""
    by_key = _by_key(points)
    found = []
    for (state, scope, level, criterion), others in by_key.items():
        own = by_key.get((state, scope, level, focus))
        if criterion == focus or own is None:
            continue
        seeds = sorted({point.cell.seed for point in own} & {point.cell.seed for point in others})
        if not seeds:
            continue
        table = _table(own, seeds).astype(np.float64) - _table(others, seeds)
        found.append(
            Difference(
                focus=focus,
                criterion=criterion,
                scope=scope,
                level=level,
                state=state,
                difference=estimate_mean(table),
            )
        )
    return tuple(found)


def _by_key(points: Iterable[ScoredCell]) -> dict[Key, list[ScoredCell]]:
    found: defaultdict[Key, list[ScoredCell]] = defaultdict(list)
    for point in points:
        cell = point.cell
        found[cell.state, cell.scope, cell.level, cell.criterion].append(point)
    return dict(found)


def _table(points: Sequence[ScoredCell], seeds: Sequence[int]) -> NDArray[np.bool_]:
    by_seed = {point.cell.seed: point for point in points}
    return np.stack([by_seed[seed].right_images() for seed in seeds])


def _group(key: Key, points: Sequence[ScoredCell]) -> Group:
    state, scope, level, criterion = key
    sizes = [point.size for point in points]
    coded = [size.coded_bytes for size in sizes if size.coded_bytes is not None]
    return Group(
        criterion=criterion,
        scope=scope,
        level=level,
        state=state,
        accuracy=estimate_mean(_table(points, sorted(point.cell.seed for point in points))),
        parameters=_mean(sizes, "parameters"),
        weight_bytes=_mean(sizes, "weight_bytes"),
        coded_bytes=sum(coded) / len(coded) if coded else None,
        macs=_mean(sizes, "macs"),
    )


def _mean(sizes: Sequence[Size], key: str) -> float:
    return float(sum(getattr(size, key) for size in sizes) / len(sizes))


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
