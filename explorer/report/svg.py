"""Plain SVG: shaded grids of numbers and stepped lines, from plain data, with nothing to load."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from explorer.report.theme import BLUE, FONT, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILION

RULE = "#d5dbe2"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("none", "6 4", "2 3")
CELL_WIDTH, CELL_HEIGHT, CHARACTER = 72, 24, 7
"""Pixels; a character of 12-pixel type is about so wide (assumed)."""
PLOT_WIDTH, PLOT_HEIGHT = 420, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of texts whose cells are shaded by a number in [0, 1], row by row; None is an empty cell."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    shades: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points of a line in ascending order of x; `color` and `dash` count from 0."""

    name: str
    points: tuple[tuple[float, float], ...]
    color: int
    dash: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines over common axes that show `x_range` and `y_range`, with horizontal lines at named levels."""

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    levels: tuple[tuple[str, float], ...] = ()


def draw_grids(grids: Sequence[Grid], caption: str) -> str:
    """Return an SVG document with the grids side by side, all with the rows of the first one, below a caption."""
    left = 28 + CHARACTER * max((len(row) for grid in grids for row in grid.rows), default=0)
    parts, x = [place_text(16, 24, caption, size=14, weight="bold")], left
    tallest = max((len(grid.rows) for grid in grids), default=0)
    lines = max((len(name.split()) for grid in grids for name in grid.columns), default=1)
    top = 62 + 14 * lines
    if grids:
        parts += [place_text(left - 8, _middle(top, i), row, anchor="end") for i, row in enumerate(grids[0].rows)]
    for grid in grids:
        parts += [place_text(x, 48, grid.title, weight="bold"), *_grid(grid, x, top)]
        x += max(len(grid.columns) * CELL_WIDTH, CHARACTER * len(grid.title)) + 28
    width = max(x, 32 + int(1.2 * CHARACTER * len(caption)))
    return wrap_document(width, top + tallest * CELL_HEIGHT + 16, parts)


def draw_plots(plots: Sequence[Plot], caption: str) -> str:
    """Return an SVG document with the plots side by side and one legend below, that of the first, below a caption."""
    parts = [place_text(16, 24, caption, size=14, weight="bold")]
    for index, plot in enumerate(plots):
        parts += _plot(plot, 72 + index * (PLOT_WIDTH + 88), 60)
    names = {line.name: line for plot in plots for line in plot.lines}
    bottom = 60 + PLOT_HEIGHT + 62
    for index, line in enumerate(names.values()):
        x, y = 72 + (index % 4) * 230, bottom + (index // 4) * 20
        parts += [_stroke([(x, y), (x + 26, y)], line), place_text(x + 34, y + 4, line.name)]
    width = max(72 + len(plots) * (PLOT_WIDTH + 88), 32 + int(1.2 * CHARACTER * len(caption)))
    return wrap_document(width, bottom + 20 * ((len(names) + 3) // 4) + 8, parts)


def round_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten from `low` to `high`, above it, at most `most` steps apart."""
    wanted = (high - low) / most
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _grid(grid: Grid, left: float, top: float) -> Iterable[str]:
    for column, name in enumerate(grid.columns):
        words = name.split()
        for index, word in enumerate(words):
            y = top - 8 - 14 * (len(words) - 1 - index)
            yield place_text(left + (column + 0.5) * CELL_WIDTH, y, word, size=11, anchor="middle", color=MUTED)
    for row, (texts, shades) in enumerate(zip(grid.texts, grid.shades, strict=True)):
        for column, (text, shade) in enumerate(zip(texts, shades, strict=True)):
            x, y = left + column * CELL_WIDTH, top + row * CELL_HEIGHT
            if shade is not None:
                yield (
                    f'<rect x="{x:g}" y="{y:g}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}" '
                    f'fill="{_shade(shade)}"/>'
                )
            dark = shade is not None and shade > 0.6
            color = "white" if dark else INK
            yield place_text(x + (CELL_WIDTH - 2) / 2, _middle(top, row), text, anchor="middle", color=color)


def _plot(plot: Plot, left: float, top: float) -> Iterable[str]:
    def at(x: float, y: float) -> tuple[float, float]:
        (low, high), (bottom, highest) = plot.x_range, plot.y_range
        across, up = (x - low) / (high - low), (y - bottom) / (highest - bottom)
        return left + across * PLOT_WIDTH, top + (1.0 - up) * PLOT_HEIGHT

    yield place_text(left, top - 12, plot.title, weight="bold")
    for value in round_ticks(*plot.x_range):
        x, y = at(value, plot.y_range[0])
        yield _rule((x, top), (x, y))
        yield place_text(x, y + 16, f"{value:g}", size=11, anchor="middle", color=MUTED)
    for value in round_ticks(*plot.y_range):
        x, y = at(plot.x_range[0], value)
        yield _rule((x, y), (x + PLOT_WIDTH, y))
        yield place_text(x - 6, y + 4, f"{value:g}", size=11, anchor="end", color=MUTED)
    yield place_text(left + PLOT_WIDTH / 2, top + PLOT_HEIGHT + 34, plot.x_title, anchor="middle")
    yield place_text(left - 44, top + PLOT_HEIGHT / 2, plot.y_title, anchor="middle", turned=True)
    for name, value in plot.levels:
        x, y = at(plot.x_range[0], value)
        yield _rule((x, y), (x + PLOT_WIDTH, y), MUTED)
        yield place_text(x + 4, y - 4, name, size=11, color=MUTED)
    for line in plot.lines:
        inside = [(x, y) for x, y in line.points if plot.y_range[0] <= y and plot.x_range[0] <= x <= plot.x_range[1]]
        corners: list[tuple[float, float]] = []
        for x, y in inside:
            if corners:  # what is reached at a cost holds for all higher ones
                corners.append((x, corners[-1][1]))
            corners.append((x, y))
        yield _stroke([at(x, y) for x, y in corners], line)
        for x, y in inside:
            cx, cy = at(x, y)
            yield f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="2.6" fill="{COLORS[line.color % len(COLORS)]}"/>'


def _stroke(points: Sequence[tuple[float, float]], line: Line) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{places}" fill="none" stroke="{COLORS[line.color % len(COLORS)]}" stroke-width="1.8" '
        f'stroke-dasharray="{DASHES[line.dash % len(DASHES)]}"/>'
    )


def _rule(start: tuple[float, float], end: tuple[float, float], color: str = RULE) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="{color}" '
        'stroke-width="1"/>'
    )


def place_text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    anchor: str = "start",
    weight: str = "normal",
    color: str = INK,
    turned: bool = False,
) -> str:
    """Return a text at a place in pixels; `turned` reads upwards."""
    turn = f' transform="rotate(-90 {x:g} {y:g})"' if turned else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{color}"{turn}>{html.escape(text)}</text>'
    )


def _shade(value: float) -> str:
    """Return a colour, from nearly white at 0 to blue at 1."""
    share = min(max(value, 0.0), 1.0)
    light, dark = (0xF3, 0xF6, 0xF9), (0x00, 0x4C, 0x80)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(light, dark, strict=True))


def _middle(top: float, row: int) -> float:
    return top + row * CELL_HEIGHT + CELL_HEIGHT / 2 + 3


def wrap_document(width: float, height: float, parts: Iterable[str]) -> str:
    """Return the whole SVG file on a white ground."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="{FONT}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
