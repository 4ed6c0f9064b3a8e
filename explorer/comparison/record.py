"""A finished comparison, as a report takes it."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.comparison.points import ScoredCell
from explorer.settings import ComparisonSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was asked for, the network as it was given, and a point for every cell.

    `skipped` are criteria that nobody named and that say nothing of this network, each with the reason.
    """

    name: str
    title: str
    settings: ComparisonSettings
    whole: ScoredCell
    points: tuple[ScoredCell, ...]
    skipped: tuple[tuple[str, str], ...] = ()
