"""The front as a pandas frame, a CSV file and a terminal table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from explorer.errors import ChoiceError
from explorer.evaluate.mean_score import MeanScore
from explorer.files import csv_cell, write_csv
from explorer.objectives import SCORE, costs_named, every_cost, score_named
from explorer.report.front.choices import list_choice_columns
from explorer.report.front.views import (
    MACS,
    Figure,
    PointView,
    list_baseline_points,
    list_cost_figures,
    list_front_points,
)
from explorer.settings.rules import suggestion
from explorer.study.choose import ChosenNetwork, recommend
from explorer.study.front import knee, still_undominated
from explorer.study.record import Outcome

if TYPE_CHECKING:
    import pandas as pd

COSTS = tuple(cost.name for cost in every_cost())
SIGNIFICANT = "%.9g"
MEASURED = "+"
"""Behind the name of a network that was really tuned."""
LONGEST_HEADING = 7
"""Characters of a column's heading in the terminal."""


def list_columns(score: str = SCORE.name, objectives: Sequence[str] = ()) -> dict[str, str]:
    """Return the columns of the front's frame and their types, without those of what is chosen for layers and groups.

    `score` is what the score is called; those that end in `_tuned` are of the network after fine-tuning, where there
    is one; `<cost>_ratio` is relative to the uniform 8-bit baseline. `undominated_held_out` tells whether the point
    would still be on the front if the held-out images had the say, `tied_with` names a point that costs no more, where
    they do not show this one to be better, and `knee` and `recommended` tell whether it is that, the latter as it was
    searched; `recommended_tuned` whether what fine-tuning made of it is. Where requirements were stated both are of the
    network that was chosen by them.
    """
    figures = list_cost_figures(objectives)
    return {
        "name": "str",
        f"{score}_search": "float64",
        "standard_error_search": "float64",
        "images_search": "int64",
        f"{score}_held_out": "float64",
        "standard_error_held_out": "float64",
        "images_held_out": "int64",
        "undominated_held_out": "bool",
        "tied_with": "str",
        "knee": "bool",
        "recommended": "bool",
        **{figure.key: "Int64" if figure.whole else "float64" for figure in figures},
        **{f"{figure.key}_ratio": "float64" for figure in figures if figure.has_ratio},
        "origin": "str",
        "digest": "str",
        f"{score}_search_tuned": "float64",
        f"{score}_held_out_tuned": "float64",
        "standard_error_held_out_tuned": "float64",
        **{f"{axis.key}_tuned": "Int64" if axis.whole else "float64" for axis in costs_named(objectives)},
        "recommended_tuned": "bool",
    }


def build_front_frame(outcome: Outcome, chosen: ChosenNetwork | None = None) -> pd.DataFrame:
    """Return one row for each member of the front: columns of `list_columns`, then of `list_choice_columns`.

    Scores and their standard errors are shares in [0, 1]; missing numbers are NA. No baselines: the ratios stand for
    them. `recommended` is what is `chosen`, without that what `recommend` says.
    """
    import pandas as pd  # noqa: PLC0415  (a third of a second, which a run does without)

    types, rows = _list_rows(outcome, chosen)
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _list_rows(outcome: Outcome, chosen: ChosenNetwork | None) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the columns' types by name, and a row for each member of the front; what is missing may lack."""
    score, best = score_named(outcome.objectives).name, chosen or recommend(outcome)
    stays = still_undominated(outcome.front, outcome.objectives)
    middle = knee(outcome.front, outcome.objectives) if outcome.front else None
    types, choices = list_choice_columns(outcome)
    rows = []
    for view, still, point, choice in zip(list_front_points(outcome), stays, outcome.front, choices, strict=True):
        is_best = best is not None and best.point is point
        marks = {"undominated_held_out": still, "tied_with": point.tied_with, "knee": point is middle}
        marks["recommended"] = is_best and best is not None and not best.tuned
        marks["recommended_tuned"] = is_best and best is not None and best.tuned
        rows.append(_row(view, score) | marks | choice)
    return list_columns(score, outcome.objectives) | types, rows


def write_front_csv(outcome: Outcome, path: Path, chosen: ChosenNetwork | None = None) -> None:
    """Write what `format_csv` gives to a CSV file, whole or not at all, without pandas.

    Equal fronts give equal bytes: there are no times and no paths in it.

    Raises:
        OSError: the file cannot be written.
    """
    types, rows = _list_rows(outcome, chosen)
    cells = [[_write_cell(row.get(name), kind) for name, kind in types.items()] for row in rows]
    write_csv(path, [str(csv_cell(name)) for name in types], cells)


def _write_cell(value: Any, kind: str) -> object:
    """Return a value of a column as it is written; None where it is missing."""
    if value is None or value != value:  # noqa: PLR0124  (NaN is missing)
        return None
    return SIGNIFICANT % value if kind == "float64" else int(value) if kind.lower() == "int64" else value


def format_csv(frame: pd.DataFrame) -> str:
    """Return a frame of `build_front_frame` as CSV: LF, nine significant digits, texts as `csv_cell`, missing empty."""
    texts = [str(name) for name in frame if frame[name].dtype == "str"]
    frame = frame.assign(**{name: frame[name].map(csv_cell) for name in texts}).rename(columns=csv_cell)
    return str(frame.to_csv(index=False, float_format=SIGNIFICANT, lineterminator="\n"))


def format_json(frame: pd.DataFrame) -> str:
    """Return a frame of `build_front_frame` as a JSON list of objects: nine significant digits, missing null."""
    import pandas as pd  # noqa: PLC0415

    def plain(value: Any) -> Any:
        if pd.isna(value):
            return None
        return float(SIGNIFICANT % value) if isinstance(value, float) else value

    records = [{name: plain(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records")]
    return json.dumps(records, indent=1)


def sort_front(frame: pd.DataFrame, column: str, score: str) -> pd.DataFrame:
    """Return the rows of `build_front_frame` the best first by a column: scores and marks descending, else ascending.

    Raises:
        ChoiceError: There is no such column.
    """
    if column not in frame:
        raise ChoiceError(f"--sort: there is no column {column!r}; {suggestion(column, frame.columns, 'columns')}")
    scores = [f"{score}_{images}{tuned}" for images in ("search", "held_out") for tuned in ("", "_tuned")]
    return frame.sort_values(column, ascending=column not in scores and frame[column].dtype != "bool", kind="stable")


def build_front_table(outcome: Outcome, chosen: ChosenNetwork | None = None) -> Table:
    """Return the baselines and the front, for a small network in 80 columns; missing numbers are "n/a".

    A sign behind a name is one of `views.MARKS`; of these the first marks the chosen network.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("\nNetwork", no_wrap=True)
    first, *others = (f"{_shortened(figure.heading)}\n{figure.unit}" for figure in _shown(outcome))
    score = score_named(outcome.objectives).name
    for heading in (f"Search\n{score} %", f"Held-out\n{score} %", first, "of\n8-bit", *others):
        table.add_column(heading, justify="right", no_wrap=True)
    baselines = list_baseline_points(outcome)
    for index, point in enumerate((*baselines, *list_front_points(outcome, chosen))):
        last_baseline = index == len(baselines) - 1
        table.add_row(
            *_cells(point, _shown(outcome)), end_section=last_baseline, style="dim" if index < len(baselines) else ""
        )
    return table


def build_tuned_table(outcome: Outcome, chosen: ChosenNetwork | None = None) -> Table:
    """Return the members of the front that were fine-tuned, with scores and the first cost before and after."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("\nFine-tuned", no_wrap=True)
    cost, score = costs_named(outcome.objectives)[0], score_named(outcome.objectives).name
    for heading in (
        f"Search\n{score} %",
        "\nafter",
        f"Held-out\n{score} %",
        "\nafter",
        f"{_shortened(cost.heading)}\n{cost.unit}",
        "\nafter",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    form = _count if cost.whole else _number
    for point in list_front_points(outcome, chosen):
        if point.tuned is not None:
            scores = (point.search, point.tuned.search, point.held_out, point.tuned.held_out)
            costs = (getattr(each.cost, cost.key) for each in (point, point.tuned))
            cells = (point.name + point.tuned.mark, *map(_percent, scores), *map(form, costs))
            table.add_row(*(Text(cell) for cell in cells))
    return table


def build_after_tuning_table(outcome: Outcome) -> Table:
    """Return a front after tuning, scores before and after; the outcome has it as its front.

    A "+" behind a name says that the score was measured; the others are predicted.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("\nNetwork", no_wrap=True)
    first, *others = (f"{_shortened(figure.heading)}\n{figure.unit}" for figure in _shown(outcome))
    score = score_named(outcome.objectives).name
    for heading in (f"Search\n{score} %", "\ntuned", first, "of\n8-bit", *others):
        table.add_column(heading, justify="right", no_wrap=True)
    for point, member in zip(list_front_points(outcome), outcome.front, strict=True):
        assert member.untuned is not None
        name, tuned, _, *costs = _cells(replace(point, mark="" if member.predicted else MEASURED), _shown(outcome))
        table.add_row(name, Text(_percent(member.untuned)), tuned, *costs)
    return table


def _shown(outcome: Outcome) -> tuple[Figure, ...]:
    """Return what 80 columns have room for: MACs are left out."""
    return tuple(figure for figure in list_cost_figures(outcome.objectives) if figure is not MACS)


def _shortened(heading: str) -> str:
    return heading if len(heading) <= LONGEST_HEADING else f"{heading[: LONGEST_HEADING - 2]}."


def _row(point: PointView, score: str) -> dict[str, object]:
    return {
        "name": point.name,
        f"{score}_search": point.search.value,
        "standard_error_search": point.search.standard_error,
        "images_search": point.search.num_images,
        f"{score}_held_out": point.held_out.value if point.held_out.num_images else None,
        "standard_error_held_out": point.held_out.standard_error if point.held_out.num_images else None,
        "images_held_out": point.held_out.num_images,
        **{figure.key: getattr(point.cost, figure.key) for figure in list_cost_figures(COSTS)},
        **{f"{key}_ratio": ratio for key, ratio in point.ratios.items()},
        "origin": point.origin,
        "digest": point.digest,
        **_tuned_cells(point.tuned, score),
    }


def _tuned_cells(tuned: PointView | None, score: str) -> dict[str, object]:
    if tuned is None:
        return {}
    return {
        f"{score}_search_tuned": tuned.search.value,
        f"{score}_held_out_tuned": tuned.held_out.value,
        "standard_error_held_out_tuned": tuned.held_out.standard_error,
        **{f"{figure.key}_tuned": getattr(tuned.cost, figure.key) for figure in list_cost_figures(COSTS)},
    }


def _cells(point: PointView, shown: tuple[Figure, ...]) -> list[Text]:
    """Return the texts of one row; `Text`, so that brackets in a name are no markup."""
    first, *others = ((_count if figure.whole else _number)(getattr(point.cost, figure.key)) for figure in shown)
    ratio = point.ratios[shown[0].key]
    share = "n/a" if ratio is None else f"{100.0 * ratio:.0f} %"
    cells = (point.name + point.mark, _percent(point.search), _percent(point.held_out), first, share, *others)
    return [Text(cell) for cell in cells]


def _percent(score: MeanScore) -> str:
    return "n/a" if not score.num_images else f"{100.0 * score.value:.1f} ±{100.0 * score.standard_error:.1f}"


def _number(value: float | None) -> str:
    """Return three to four significant digits, in exponent form only below 0.0001."""
    if value is None:
        return "n/a"
    if value < 0.1:
        return f"{value:.3g}"
    decimals = next((places for places, limit in ((4, 1.0), (3, 10.0), (2, 100.0), (1, 1000.0)) if value < limit), 0)
    return f"{value:,.{decimals}f}"


def _count(value: int | None) -> str:
    return "n/a" if value is None else f"{value:,}"
