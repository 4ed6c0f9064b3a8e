"""How far one order of some networks agrees with another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAgreement:
    """How a model orders networks that are ordered by measured figures, too.

    `tau` is Kendall's tau-b, in [-1, 1], None where all of either side are equal. Of `pairs`, whose measured figures
    differ, the model has `agreeing` in that order; of the others its own figures differ by at most `widest`, relative
    to the smaller one, 0 where there are none.
    """

    tau: float | None
    pairs: int
    agreeing: int
    widest: float


def compare_orders(modelled: Sequence[float], measured: Sequence[float]) -> OrderAgreement:
    """Return how the order by modelled figures agrees with that by measured ones, none below 0.

    Two networks that the model has as equal are not in order where the measured figures differ.

    Source: Kendall, 1945, for ties.
    """
    pairs = [
        ((own, other), (before, after))
        for (own, before), (other, after) in combinations(zip(modelled, measured, strict=True), 2)
        if before != after
    ]
    wrong = [own for own, found in pairs if (own[0] - own[1]) * (found[0] - found[1]) <= 0]
    varied = len(set(modelled)) > 1 and len(set(measured)) > 1
    return OrderAgreement(
        tau=float(stats.kendalltau(modelled, measured).statistic) if varied else None,
        pairs=len(pairs),
        agreeing=len(pairs) - len(wrong),
        widest=max((max(own) / min(own) - 1 if min(own) > 0 else math.inf for own in wrong), default=0.0),
    )
