"""All evaluations of a search, column by column, and what each chooses: little to store of thousands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from explorer.arrays import Int64Array
from explorer.compress.candidate import Candidate
from explorer.objectives import costs, every_cost
from explorer.study.record import Evaluation, Outcome

FIRST = ord("0")
"""The sign that stands for the first of an axis's values; the next one stands for the next."""
DIGITS = 7
"""Significant ones of a number that is drawn and listed (assumed)."""
FIELDS = {
    "weight_bits": "weight bits",
    "step": "weight step",
    "activation_bits": "input bits",
    "weight_density": "weights kept",
    "pattern": "pattern",
    "codebook_size": "codebook",
    "codebook_granularity": "codebook of",
}
"""Of a `LayerChoice` what a page calls it, in the order shown."""
FILTERS, CRITERION = "filters kept", "filters by"
TITLES = (tuple(FIELDS.values()), (FILTERS,), (CRITERION,))
"""Of what is decided for a layer, a group of filters, and the network."""
_read_fields = attrgetter(*FIELDS)
REMOVED = "removed"
"""Stands for what a candidate chooses for a layer that it lacks."""


class ChoiceAxis(NamedTuple):
    """One decision of a search, with the values that its evaluations took, in ascending order.

    Texts and None come last: None is "no codebook", and REMOVED that there is no such layer.
    """

    of: str
    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceTable:
    """What each of N candidates chooses: the index of a value of every axis.

    `rows` are N x axes. Axes on which all agree are `constant`, and have no column.
    """

    axes: tuple[ChoiceAxis, ...]
    constant: tuple[ChoiceAxis, ...]
    rows: Int64Array


def tabulate_choices(candidates: Sequence[Candidate]) -> ChoiceTable:
    """Return what candidates choose, layer by layer, then the shares of filters, then whose order these follow."""
    found: dict[tuple[int, str], tuple[dict[tuple[Any, ...], int], list[int]]] = {}
    for place, candidate in enumerate(candidates):
        for key, chosen in _decisions(candidate):
            if key not in found:  # 0 stands for a candidate that has no such thing
                found[key] = {}, [0] * len(candidates)
            known, column = found[key]
            column[place] = known.setdefault(chosen, len(known) + 1)
    axes, constant, rows = [], [], []
    for (kind, of), (known, column) in sorted(found.items(), key=lambda item: item[0][0]):
        places = np.array(column)
        lacking = [(REMOVED,) * len(TITLES[kind])] * (0 in column)
        for field, values in zip(TITLES[kind], zip(*lacking, *known, strict=True), strict=True):
            axis = ChoiceAxis(of, field, tuple(sorted(set(values), key=_rank)))
            if len(axis.values) == 1:
                constant.append(axis)
                continue
            axes.append(axis)
            rows.append(np.array([axis.values.index(value) for value in values])[places - (not lacking)])
    table = np.stack(rows, axis=1) if rows else np.zeros((len(candidates), 0), dtype=np.int64)
    return ChoiceTable(axes=tuple(axes), constant=tuple(constant), rows=table)


def _decisions(candidate: Candidate) -> Iterator[tuple[tuple[int, str], tuple[Any, ...]]]:
    """Yield what is decided on, by its place in TITLES and its name, and the value of each of its fields."""
    yield from (((0, choice.layer), _read_fields(choice)) for choice in candidate.layers)
    yield from (((1, group), (ratio,)) for group, ratio in candidate.filter_keep_ratio)
    yield (2, "network"), (candidate.filters_by,)


def _rank(value: Any) -> tuple[int, float, str]:
    return (1, 0.0, str(value)) if value is None or isinstance(value, str) else (0, float(value), "")


def list_evaluations(outcome: Outcome, table: ChoiceTable) -> dict[str, Any]:
    """Return the evaluations of an outcome as columns, with what a table says that they choose.

    A candidate is a text with one sign for each axis; origins and broken limits are places in lists of their texts.
    """
    found = outcome.evaluations
    keys = [cost.key for cost in costs(outcome.objectives)]
    origins, limits = _Texts(), _Texts()
    scores = [item.score for item in found]
    return {
        "number": [item.number for item in found],
        "score": [None if score is None else shorten(score.value) for score in scores],
        "error": [None if score is None else shorten(score.standard_error) for score in scores],
        "images": [None if score is None else score.num_images for score in scores],
        "costs": {key: [shorten(getattr(item.cost, key)) for item in found] for key in keys},
        "origin": [origins.place(item.origin) for item in found],
        "limits": [limits.place(_tell_limits(item)) for item in found],
        "chosen": _write_signs(table.rows),
        "origins": list(origins.known),
        "broken": list(limits.known),
        "axes": [list(axis) for axis in table.axes],
        "constant": [list(axis) for axis in table.constant],
    }


def _write_signs(rows: Int64Array) -> list[str]:
    """Return each row (N x axes) as a text with a sign for each axis."""
    return [row.tobytes().decode("utf-32-le") for row in (rows + FIRST).astype("<u4")]


class _Texts:
    """Texts by the place at which each was first met."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self.known.setdefault(text, len(self.known))


def _tell_limits(item: Evaluation) -> str:
    if item.failure:
        return f"cannot be computed: {item.failure}"
    relative = {cost.key for cost in every_cost()}
    return "; ".join(
        f"{key} exceeded by {100.0 * excess:.3g} %"
        if key in relative
        else f"{key} missed by {100.0 * excess:.3g} points"
        for key, excess in item.violations
    )


def shorten(value: float | None) -> float | None:
    """Return a number with the digits that are shown of it."""
    return value if value is None or isinstance(value, int) else float(f"{value:.{DIGITS}g}")
