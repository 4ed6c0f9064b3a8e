"""A comparison as CSV files and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from explorer.comparison.statistics import Difference, Group, MeanEstimate
from explorer.files import write_csv
from explorer.report.comparison.views import ComparisonView, count_verdicts

POINT_COLUMNS = (
    *("criterion", "scope", "state", "level", "seeds", "images", "accuracy", "standard_error"),
    *("standard_error_images", "standard_error_seeds", "parameters", "weight_bytes", "coded_bytes", "macs"),
    *("compression_ratio", "macs_ratio"),
)
DIFFERENCE_COLUMNS = (
    *("focus", "criterion", "scope", "state", "level", "seeds", "images", "difference", "standard_error"),
    *("standard_error_images", "standard_error_seeds", "half_width_95", "verdict"),
)


def write_tables(view: ComparisonView, folder: Path) -> tuple[Path, ...]:
    """Write points.csv and differences.csv, and return where they are.

    Accuracies and differences are shares, in [-1, 1]. Ratios are the float network's size over that of the point
    (Blalock et al., 2020), its weights in float32, Huffman coded where they are.
    """
    points, compared = folder / "points.csv", folder / "differences.csv"
    write_csv(points, POINT_COLUMNS, list_points(view))
    write_csv(compared, DIFFERENCE_COLUMNS, (_difference_row(entry) for entry in view.differences))
    return points, compared


def list_points(view: ComparisonView) -> Iterable[Sequence[object]]:
    """Return the float network, and every criterion at every level, scope and state."""
    size = view.whole.size
    given = Group(
        criterion="float",
        scope="",
        level=0.0,
        state="",
        accuracy=view.float_accuracy,
        parameters=size.parameters,
        weight_bytes=size.weight_bytes,
        coded_bytes=None,
        macs=size.macs,
    )
    for group in (given, *view.groups):
        stored = group.weight_bytes if group.coded_bytes is None else min(group.coded_bytes, group.weight_bytes)
        yield (
            *(group.criterion, group.scope, group.state, f"{group.level:g}"),
            *_estimate(group.accuracy),
            *(_count(group.parameters), _count(group.weight_bytes), _count(group.coded_bytes), _count(group.macs)),
            *(f"{size.weight_bytes / stored:.4g}", f"{size.macs / group.macs:.4g}"),
        )


def build_verdict_table(view: ComparisonView) -> Table:
    """Return, for the terminal, accuracy of the focus and of the best other criterion, and how often it wins."""
    table = Table(title=Text(f"{view.title}: {view.focus} against the others"), box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("State", "Scope", "Level", f"{view.focus} %", "best other %", "wins", "ties", "loses"):
        table.add_column(heading, justify="left" if heading in ("State", "Scope") else "right", no_wrap=True)
    for (state, scope, level), counts in count_verdicts(view.differences).items():
        here = [group for group in view.groups if (group.state, group.scope, group.level) == (state, scope, level)]
        own = next(group for group in here if group.criterion == view.focus)
        best = max((group for group in here if group.criterion != view.focus), key=lambda g: g.accuracy.value)
        cells = (
            *(state, scope, f"{level:g}", _percent(own.accuracy), f"{_percent(best.accuracy)} {best.criterion}"),
            *(str(counts[verdict]) for verdict in ("wins", "ties", "loses")),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _difference_row(entry: Difference) -> Sequence[object]:
    return (
        *(entry.focus, entry.criterion, entry.scope, entry.state, f"{entry.level:g}"),
        *_estimate(entry.difference),
        f"{entry.difference.half_width:.5f}",
        entry.verdict,
    )


def _estimate(value: MeanEstimate) -> tuple[object, ...]:
    errors = (value.standard_error, value.over_images, value.over_seeds)
    return (value.seeds, value.num_images, f"{value.value:.5f}", *(f"{error:.5f}" for error in errors))


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _percent(value: MeanEstimate) -> str:
    return f"{100.0 * value.value:.2f} ±{100.0 * value.standard_error:.2f}"
