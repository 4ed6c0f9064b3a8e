"""How the front grew: the hypervolume that was dominated after each evaluation of a search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorer.objectives import costs_named, score_named
from explorer.search.improvement import Attained, spread_corners
from explorer.study.record import UNIFORM, Outcome

CORNERS = 2048
"""Places in the space of costs at which the best score is averaged (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The share of a volume that the front dominated after N evaluations.

    The volume lies between the reference and a network that is always right and costs nothing.
    """

    shares: tuple[float, ...]
    """After each evaluation, N."""
    least: float
    """The score of the reference: the study's least one, else 0."""
    costs: tuple[float, ...]
    """Those of the uniform 8-bit network, by the study's objectives."""


def measure_history(outcome: Outcome) -> History | None:
    """Return the history of an outcome; None where the 8-bit network has no such cost, or nothing was evaluated.

    What exceeds a budget or the reference adds nothing. The volume is the mean over CORNERS combinations of costs of
    the best score within these.
    """
    axes, found = costs_named(outcome.objectives), outcome.evaluations
    plain = next((entry for entry in outcome.baselines if entry.name == UNIFORM), None)
    if plain is None or not found or not axes:
        return None
    high = np.array([axis.value(plain.cost, 0.0) for axis in axes])
    if not (np.isfinite(high) & (high > 0)).all():
        return None
    budgets = outcome.study.get("budgets") or {}
    least = min(float(budgets.get(score_named(outcome.objectives).key) or 0.0), 0.999)
    front = Attained(spread_corners(np.zeros(len(high)), high, CORNERS), least, 1)
    shares, share = [], 0.0
    for item in found:
        if item.feasible and item.score is not None and item.score.value > least:
            costs = np.array([[axis.value(item.cost, 0.0) for axis in axes]])
            front.add(costs, np.array([[item.score.value]]))
            share = float((front.best.mean() - least) / (1.0 - least))
        shares.append(share)
    return History(shares=tuple(shares), least=least, costs=tuple(high.tolist()))
