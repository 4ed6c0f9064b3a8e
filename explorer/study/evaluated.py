"""What a search has evaluated, with its costs."""

from __future__ import annotations

from explorer.study.costing import list_violations
from explorer.study.record import Evaluation
from explorer.study.search import Search
from explorer.study.store import Store


def evaluations(task: Search, store: Store) -> tuple[Evaluation, ...]:
    """Return everything that was evaluated, with its cost computed anew."""
    found = []
    for item in store.stored():
        cost = task.price_candidate(item.candidate)
        found.append(
            Evaluation(
                number=item.number,
                origin=item.origin,
                candidate=item.candidate,
                cost=cost,
                score=item.score,
                violations=list_violations(cost, item.score, task.budgets, task.objectives),
                failure=item.failure,
            )
        )
    return tuple(found)
