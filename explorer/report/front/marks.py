"""Signs behind the names of members of a front: the recommended one, the knee, what may be no gain."""

from __future__ import annotations

from explorer.study.choose import ChosenNetwork
from explorer.study.front import knee, still_undominated
from explorer.study.record import Outcome

CHOSEN = ">"
MARKS = {
    CHOSEN: "recommended, or chosen by the requirements that were stated",
    "*": "the knee, nearest to the best of all objectives at once",
    "~": "would not be on the front of the held-out images",
    "=": "a tie: the held-out images do not show it to be better than one that costs no more (paired test, 95 %)",
}
"""What the signs behind the names of members of a front say."""


def mark_points(outcome: Outcome, chosen: ChosenNetwork | None) -> dict[str, str]:
    """Return the signs of every member of the front, by name."""
    if not outcome.front:
        return {}
    middle = knee(outcome.front, outcome.objectives).name
    best = None if chosen is None or chosen.tuned else chosen.point.name
    stays = still_undominated(outcome.front, outcome.objectives)
    holds = {
        point.name: {
            CHOSEN: point.name == best,
            "*": point.name == middle,
            "~": not still,
            "=": bool(point.tied_with),
        }
        for point, still in zip(outcome.front, stays, strict=True)
    }
    return {name: "".join(sign for sign in MARKS if signs[sign]) for name, signs in holds.items()}
