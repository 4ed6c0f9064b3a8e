"""How the lines of a comparison look: the focus heavy, chance grey, the others told apart by colour and dashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.report.theme import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION

COLORS = (VERMILION, GREEN, PURPLE, ORANGE, SKY, BLUE)
DASHES = ("none", "7 3", "2 2", "8 3 2 3")
CHANCE = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A line's colour, dashes (SVG's) and width in pixels."""

    color: str
    dash: str
    width: float


def choose_styles(criteria: Sequence[str], focus: str) -> dict[str, Style]:
    """Return a style for every criterion, in their order; no two are equal for up to 26 criteria."""
    others = [name for name in criteria if name not in (focus, CHANCE)]
    found = {focus: Style(color=INK, dash="none", width=3.0)}
    if focus != CHANCE:
        found[CHANCE] = Style(color=FAINT, dash="4 3", width=2.0)
    for index, name in enumerate(others):
        color, dash = COLORS[index % len(COLORS)], DASHES[index // len(COLORS) % len(DASHES)]
        found[name] = Style(color=color, dash=dash, width=1.6)
    return {name: found[name] for name in criteria}
