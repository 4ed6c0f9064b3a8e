"""What a search trades off: one record for each objective, and the table that settings, search and reports read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What candidates are compared by: the score of a network, to be maximised, or a cost, to be minimised.

    A cost is known of a candidate before it is scored; the score is a share in [0, 1].
    """

    name: str
    """As it stands in a study's objectives.names."""
    title: str
    """Of an axis: "Energy per image"."""
    heading: str
    """Of a column: "Energy"."""
    unit: str
    key: str
    """Of its budget and its column; of a cost also the attribute of `explorer.study.record.Cost`."""
    whole: bool = False
    """True for a count, whose budget is an integer."""
    is_cost: bool = True
    where_named: bool = False
    """True for a cost that takes work to know, and is known and shown only where a study names it."""

    def value(self, cost: object, score: float) -> float:
        """Return the score, or this one of the costs; NaN where the device has none."""
        found = getattr(cost, self.key) if self.is_cost else score
        return math.nan if found is None else float(found)

    def loss(self, cost: object, score: float) -> float:
        """Return the value with the sign that makes less of it better."""
        return self.value(cost, score) if self.is_cost else -score

    @property
    def limit_key(self) -> str:
        """What a limit of a cost is called where a point of a front is chosen by it: "max_energy", "max_weights"."""
        return f"max_{self.heading.lower().replace(' ', '_')}"

    @property
    def worst(self) -> float:
        """What a candidate is given that cannot be computed."""
        return math.inf if self.is_cost else 0.0


SCORE = Objective(name="accuracy", title="Accuracy", heading="Accuracy", unit="%", key="accuracy", is_cost=False)
"""The one objective that is no cost, where a study does not name its own."""

LIKENESS_NAME = "likeness"
"""Of the score that compares outputs with the float network's."""
CODED_BYTES = "coded_bytes"
OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective
    for objective in (
        SCORE,
        Objective(name="energy", title="Energy per image", heading="Energy", unit="µJ", key="energy_uj"),
        Objective(name="latency", title="Latency per image", heading="Latency", unit="ms", key="latency_ms"),
        Objective(
            name="weight_memory",
            title="Weight memory",
            heading="Weights",
            unit="bytes",
            key="weight_bytes",
            whole=True,
        ),
        Objective(
            name="activation_memory",
            title="Activation memory",
            heading="Activations",
            unit="bytes",
            key="activation_bytes",
            whole=True,
        ),
        Objective(
            name=CODED_BYTES,
            title="Coded file",
            heading="Coded file",
            unit="bytes",
            key="coded_bytes",
            whole=True,
            where_named=True,
        ),
    )
}
"""By name. A new one is an entry here, an attribute of `Cost`, and what fills it in `explorer.study.costing`."""


def find_objective(name: str) -> Objective:
    """Return the objective of that name: a cost, or else the score, which a study may give a name of its own."""
    return OBJECTIVES[name] if name in OBJECTIVES else replace(SCORE, name=name, title=name, heading=name, key=name)


def objectives_named(names: Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives that a study names, in its order."""
    return tuple(find_objective(name) for name in names)


def score_named(names: Sequence[str]) -> Objective:
    """Return the score among the objectives that a study names; accuracy where it names none."""
    return next((objective for objective in objectives_named(names) if not objective.is_cost), SCORE)


def costs(names: Sequence[str] = ()) -> tuple[Objective, ...]:
    """Return the costs that are known of every candidate, and those that are known since they are among `names`."""
    return tuple(cost for cost in every_cost() if not cost.where_named or cost.name in names)


def every_cost() -> tuple[Objective, ...]:
    """Return all objectives that are costs."""
    return tuple(objective for objective in OBJECTIVES.values() if objective.is_cost)


def costs_named(names: Sequence[str]) -> tuple[Objective, ...]:
    """Return the costs among the objectives that a study names, in its order."""
    return tuple(objective for objective in objectives_named(names) if objective.is_cost)
