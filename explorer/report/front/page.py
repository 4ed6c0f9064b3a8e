"""One HTML file that shows an outcome, opens without a network and answers to clicks and keys."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.offline

from explorer.evaluate.mean_score import MeanScore
from explorer.files import CONTENT_POLICY, replaced
from explorer.objectives import SCORE
from explorer.report.front.figures import front_figure
from explorer.report.front.pairs import PairView, pair_view
from explorer.report.front.views import MARKS, REFERENCE, FrontView, PointView, cost_figures, front_view
from explorer.study.record import Outcome, Split

HEAD = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">'
"""What the head of a page begins with."""
SPLITS: tuple[Split, ...] = ("search", "held_out")


def write_report(outcome: Outcome, path: Path, chosen: str | None = None) -> None:
    """Write the standalone report, whole or not at all; `chosen` is the member of the front shown first.

    Equal outcomes give equal bytes.

    Raises:
        ExplorerError: no member of the front is called `chosen`.
        OSError: the file cannot be written.
    """
    content = report_html(front_view(outcome, chosen)).encode()
    with replaced(path) as file:
        file.write(content)


def report_html(view: FrontView) -> str:
    """Return the page: the template with style, Plotly, data and program put in, each of them inline."""
    parts = {
        "title": html.escape(f"{view.title}: {view.device_title}"),
        "style": _shipped("page.css"),
        "plotly": plotly.offline.get_plotlyjs(),
        "data": script_json(page_data(view)),
        "program": _shipped("page.js"),
    }
    text = _shipped("page.html")
    pieces = text.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        key, rest = piece.split("}}", 1)
        filled += (parts[key], rest)
    return "".join(filled)


def page_data(view: FrontView) -> dict[str, Any]:
    """Return all that the page's program reads, as plain data."""
    return {
        "title": view.title,
        "device": view.device,
        "device_title": view.device_title,
        "objectives": view.objectives,
        "evaluations": len(view.cloud) + len(view.front),
        "reference": REFERENCE,
        "chosen": view.chosen,
        "score": SCORE.heading,
        "axes": [asdict(axis) for axis in view.axes],
        "costs": [figure._asdict() for figure in cost_figures()],
        "figures": {axis.name: _figures(view, axis.name) for axis in view.axes},
        "points": [_point(point) for point in (*view.front, *view.baselines)],
        "marks": [[sign, says] for sign, says in MARKS.items() if any(sign in point.mark for point in view.front)],
        "remarks": view.remarks,
        "skipped": view.skipped,
        "settings": view.settings,
        "provenance": view.provenance,
    }


def script_json(data: object) -> str:
    """Return JSON that no text within can end early when it stands in a script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _figures(view: FrontView, objective: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for split in SPLITS:
        pair = pair_view(view, objective, split)
        plot = json.loads(front_figure(pair, view.chosen).to_json())
        figures[split] = {"data": plot["data"], "layout": plot["layout"], "caption": _caption(pair)}
    return figures


def _caption(pair: PairView) -> str:
    """Say what the figure leaves out or a reader could take wrongly."""
    parts = ["Error bars are one standard error."]
    if pair.split == "held_out":
        parts.append(
            "The members were selected on search images; the dotted line joins those that form the front there. "
            "Other evaluations were never scored on held-out images."
        )
    elif pair.best:
        parts.append("The line is the best search accuracy reached at that cost or less.")
    if pair.below_range:
        noun = "evaluation lies" if pair.below_range == 1 else "evaluations lie"
        parts.append(f"{pair.below_range} {noun} below the range shown; double-click the plot to see all.")
    if pair.unscored:
        parts.append(f"{len(pair.unscored)} candidates over budget were costed only: the ticks at the bottom.")
    return " ".join(parts)


def _point(point: PointView) -> dict[str, Any]:
    return {
        "name": point.name,
        "mark": point.mark,
        "kind": point.kind,
        "origin": point.origin,
        "number": point.number,
        "digest": point.digest,
        "search": _described(point.search),
        "held_out": _described(point.held_out),
        "cost": asdict(point.cost),
    }


def _described(score: MeanScore) -> dict[str, float]:
    return {**asdict(score), "standard_error": score.standard_error}


def _shipped(name: str) -> str:
    """Read a file that is shipped with this package."""
    return resources.files("explorer.report.front").joinpath(name).read_text(encoding="utf-8")
