"""Where the names of points go so that they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

LabelPosition = Literal["top left", "bottom right", "top right", "bottom left"]
PLACES: tuple[LabelPosition, ...] = ("top left", "bottom right", "top right", "bottom left")
"""In the order tried: a front that rises to the right leaves the space above and left of it free."""

WIDTH, HEIGHT, RADIUS = 0.065, 0.05, 0.012
"""Size of a label and half the size of a point, as shares of a plot of about 600 x 350 pixels (assumed)."""


class Box(NamedTuple):
    """A rectangle in shares of the plot."""

    left: float
    bottom: float
    right: float
    top: float


def place_labels(
    points: Sequence[tuple[float, float]], obstacles: Sequence[tuple[float, float]]
) -> list[LabelPosition | None]:
    """Return where each point's label goes, None where it would cover something.

    `points` and `obstacles` are positions in [0, 1] x [0, 1], from the left and from the bottom.
    """
    taken = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in (*points, *obstacles)]
    places: list[LabelPosition | None] = []
    for x, y in points:
        free = next((place for place in PLACES if not _covers(_label(x, y, place), taken)), None)
        if free is not None:
            taken.append(_label(x, y, free))
        places.append(free)
    return places


def _label(x: float, y: float, place: LabelPosition) -> Box:
    bottom = y + RADIUS if place.startswith("top") else y - RADIUS - HEIGHT
    left = x + RADIUS if place.endswith("right") else x - RADIUS - WIDTH
    return Box(left, bottom, left + WIDTH, bottom + HEIGHT)


def _covers(label: Box, taken: Sequence[Box]) -> bool:
    """Return True when the label overlaps something or leaves the plot."""
    if label.left < 0.0 or label.bottom < 0.0 or label.right > 1.0 or label.top > 1.0:
        return True
    return any(
        label.left < box.right and box.left < label.right and label.bottom < box.top and box.bottom < label.top
        for box in taken
    )
