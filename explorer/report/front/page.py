"""One HTML file that shows an outcome, opens without a network and answers to clicks and keys."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import score_named
from explorer.report.front.figures import draw_front
from explorer.report.front.marks import MARKS
from explorer.report.front.pairs import PairView, build_pair_view
from explorer.report.front.views import REFERENCE, FrontView, PointView, build_front_view, list_cost_figures
from explorer.report.shell import encode_figure, read_shipped, render_page, write_page
from explorer.study.record import Outcome, Split

SPLITS: tuple[Split, ...] = ("search", "held_out")


def write_report(outcome: Outcome, path: Path, chosen: str | None = None) -> None:
    """Write the standalone report, whole or not at all; `chosen` is the member of the front shown first.

    Equal outcomes give equal bytes.

    Raises:
        ExplorerError: no member of the front is called `chosen`.
        OSError: the file cannot be written.
    """
    write_page(render_report(build_front_view(outcome, chosen)), path)


def render_report(view: FrontView) -> str:
    """Return the page of a front."""
    return render_page(
        f"{view.title}: {view.device_title}",
        style=read_shipped("", "page.css") + read_shipped("front", "page.css"),
        body=read_shipped("front", "page.html"),
        data=collect_page_data(view),
        program=read_shipped("front", "page.js"),
    )


def collect_page_data(view: FrontView) -> dict[str, Any]:
    """Return all that the page's program reads, as plain data."""
    return {
        "title": view.title,
        "device": view.device,
        "device_title": view.device_title,
        "objectives": view.objectives,
        "evaluations": len(view.cloud) + len(view.front),
        "reference": REFERENCE,
        "chosen": view.chosen,
        "score": score_named(view.objectives).heading,
        "score_name": score_named(view.objectives).name,
        "axes": [asdict(axis) for axis in view.axes],
        "costs": [figure._asdict() for figure in list_cost_figures(view.objectives)],
        "figures": {axis.name: _figures(view, axis.name) for axis in view.axes},
        "points": [_point(point) for point in (*view.front, *view.baselines)],
        "marks": [
            [sign, meaning] for sign, meaning in MARKS.items() if any(sign in point.mark for point in view.front)
        ],
        "remarks": view.remarks,
        "skipped": view.skipped,
        "settings": view.settings,
        "provenance": view.provenance,
    }


def _figures(view: FrontView, objective: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for split in SPLITS:
        pair = build_pair_view(view, objective, split)
        figures[split] = {**encode_figure(draw_front(pair, view.chosen)), "caption": _caption(pair)}
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
        parts.append(f"The line is the best search {pair.score.name} reached at that cost or less.")
    if pair.tuned:
        parts.append("Stars are what fine-tuning made of members of the front, in the order of cost.")
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
        "tuned": None if point.tuned is None else _point(point.tuned),
    }


def _described(score: MeanScore) -> dict[str, float]:
    return {**asdict(score), "standard_error": score.standard_error}
