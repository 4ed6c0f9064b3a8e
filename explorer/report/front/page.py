"""One HTML file that shows an outcome, opens without a network and answers to clicks, thumbs and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from explorer.evaluate.mean_score import MeanScore
from explorer.export.formats import FORMATS
from explorer.objectives import score_named
from explorer.report.front.evaluations import list_evaluations, tabulate_choices
from explorer.report.front.extras import (
    list_history,
    list_importance,
    list_information,
    list_referees,
    list_roofs,
)
from explorer.report.front.marks import MARKS
from explorer.report.front.views import REFERENCE, PointView, build_front_view, list_cost_figures
from explorer.report.shell import read_shipped, render_page, write_page
from explorer.study.choose import ChosenNetwork
from explorer.study.record import FLOAT, LayerSummary, Outcome

LAYER_FIELDS = [field.name for field in fields(LayerSummary)]
SCRIPTS = (
    *("elements", "state", "charts", "figure", "table", "point", "layers"),
    *("views", "parallel", "space", "importance", "information", "roofline", "start"),
)
"""The parts of the page's program, in the order in which they are put together."""


def write_report(outcome: Outcome, path: Path, chosen: ChosenNetwork | None = None) -> None:
    """Write the standalone report, whole or not at all; it opens on the `chosen` network, or the recommended one.

    Beside the outcome it shows what the folder that it is written to holds of a run: losses, relevance and figures of a
    compiler. Equal outcomes and folders give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    write_page(render_report(collect_page_data(outcome, chosen, path.parent)), path)


def render_report(data: Mapping[str, Any]) -> str:
    """Return the page of what `collect_page_data` returned."""
    parts = "\n".join(read_shipped("front/script", f"{name}.js") for name in SCRIPTS)
    return render_page(
        f"{data['title']}: {data['device_title']}",
        style=read_shipped("", "page.css") + read_shipped("front", "page.css"),
        body=read_shipped("front", "page.html"),
        data=data,
        program=f'(async () => {{\n"use strict";\n{parts}}})();',
        plotly=False,
    )


def collect_page_data(
    outcome: Outcome, chosen: ChosenNetwork | None = None, folder: Path | None = None
) -> dict[str, Any]:
    """Return all that the page's program reads, as plain data; `folder` is that of a run, for what else it holds."""
    view, table = build_front_view(outcome, chosen), tabulate_choices([item.candidate for item in outcome.evaluations])
    score = score_named(view.objectives)
    return {
        "title": view.title,
        "device": view.device,
        "device_title": view.device_title,
        "objectives": view.objectives,
        "reference": REFERENCE,
        "float": FLOAT,
        "chosen": None if view.chosen is None else _chosen(view.chosen),
        "knee": view.knee,
        "score": score.heading,
        "score_name": score.name,
        "axes": [asdict(axis) for axis in view.axes],
        "costs": [figure._asdict() for figure in list_cost_figures(view.objectives)],
        "budgets": view.budgets,
        "points": [_point(point) for point in (*view.front, *view.baselines)],
        "evaluations": list_evaluations(outcome, table),
        "history": list_history(outcome),
        "importance": list_importance(outcome, table),
        "information": list_information(outcome, folder),
        "roofs": list_roofs(outcome),
        "referees": list_referees(outcome, folder),
        "formats": _list_formats(outcome),
        "marks": [
            [sign, meaning] for sign, meaning in MARKS.items() if any(sign in point.mark for point in view.front)
        ],
        "remarks": view.remarks,
        "skipped": view.skipped,
        "settings": view.settings,
        "provenance": view.provenance,
    }


def _chosen(network: ChosenNetwork) -> dict[str, Any]:
    name, told = network.point.name, network.describe()
    return {"name": name, "tuned": network.tuned, "called": network.called, "told": told}


def _list_formats(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the formats of an export, the default first, with the reason where the network cannot be exported so."""
    refused = dict(outcome.refused_exports)
    return [
        {"name": name, "summary": exporter.summary, "refused": refused.get(name)} for name, exporter in FORMATS.items()
    ]


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
        "cost": asdict(replace(point.cost, layers=())) | {"layers": [*map(_layer, point.cost.layers)]},
        "tuned": None if point.tuned is None else _point(point.tuned),
    }


def _layer(row: LayerSummary) -> dict[str, Any]:
    """Return what `asdict` does, which takes ten times as long for the thousands of them."""
    return {name: getattr(row, name) for name in LAYER_FIELDS}


def _described(score: MeanScore) -> dict[str, float]:
    return {**asdict(score), "standard_error": score.standard_error}
