"""What a sampler may know of a search besides its trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float64Array, Int64Array
from explorer.search.space import SearchSpace

if TYPE_CHECKING:
    from explorer.search.sensitivity import Sensitivity

STANDARD_ERROR = "standard_error"
"""Attribute of a trial that was scored: the standard error of its score."""


class PointCosts(NamedTuple):
    """Costs of N points, by each of the objectives that is one (N x costs), and whether they keep the budgets (N)."""

    values: Float64Array
    fits: NDArray[np.bool_]


PricePoints = Callable[[Int64Array], PointCosts]
"""What points (N x axes of indices) cost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """What is known of points without scoring them: their costs, and what single choices are estimated to lose."""

    price_points: PricePoints
    list_losses: Callable[[], Sensitivity]
    """The table, filled when it is first asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplingProblem:
    """What a sampler may know.

    Attributes:
        seed: The study's.
        population: Of samplers that have one.
        score: The place of the score among the objectives; the others are costs.
        least_score: What a candidate must reach by the study's budgets, if they say.
        estimates: None where no sampler asks for any.
        memory: Where a sampler keeps what follows from trials alone, so as not to compute it again.
    """

    space: SearchSpace
    seed: int
    population: int
    score: int
    least_score: float | None = None
    estimates: Estimates | None = None
    memory: dict[str, Any] = field(default_factory=dict)
