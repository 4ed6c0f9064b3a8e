"""What the drawings of a comparison of devices show, as plain data: fronts, decisions of each layer, transfers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from explorer.comparison.devices import DeviceChoice, DeviceRun, Transfer
from explorer.objectives import OBJECTIVES, Objective
from explorer.pareto import ascending_front
from explorer.report.devices.tables import find_weighted_layers, get_uniform_cost
from explorer.report.svg import Grid, Line, Plot
from explorer.study.record import FLOAT, LayerSummary

MAXIMUM_BITS = 8
SHOWN_LOSS = 0.1
"""Fronts are drawn down to this loss of accuracy; what loses more is of no use."""
DRAWN = ("energy", "latency")
"""Costs that devices differ in."""
DARKEST_RATIO = 2.0
"""A choice that costs so many times the device's own is shaded darkest."""


def plot_fronts(runs: Sequence[DeviceRun]) -> tuple[Plot, ...]:
    """Return accuracy on search images against energy and against latency, both relative to the uniform 8-bit network.

    One line for each run: what is undominated in that pair. Devices have colours, their runs dashes.
    """
    devices = list(dict.fromkeys(run.device for run in runs))
    reference = max(entry.search.value for run in runs for entry in run.outcome.baselines)
    floor = 100.0 * (reference - SHOWN_LOSS)
    plots = []
    for cost in (OBJECTIVES[name] for name in DRAWN):
        lines = tuple(
            Line(
                name=_label(run, runs),
                points=_front(run, cost),
                color=devices.index(run.device),
                dash=[other.seed for other in runs if other.device == run.device].index(run.seed),
            )
            for run in runs
        )
        plots.append(
            Plot(
                title=f"{cost.heading} of each device",
                x_title=f"{cost.heading.lower()}, share of uniform 8 bits on the same device",
                y_title="accuracy on search images (%)",
                lines=lines,
                x_range=(0.0, 1.05),
                y_range=(floor, 100.0 * reference + 1.0),
                levels=((FLOAT, 100.0 * _float(runs[0])),),
            )
        )
    return tuple(plots)


def build_decision_grids(chosen: Sequence[DeviceChoice]) -> tuple[Grid, ...]:
    """Return the bits of weights, bits of activations, and filters kept: layers x choices."""
    runs = [choice.run for choice in chosen]
    tables = [find_weighted_layers(choice.point.evaluation.cost) for choice in chosen]
    names = tuple(row.layer for row in tables[0]) if tables else ()
    kinds: tuple[tuple[str, Callable[[LayerSummary], tuple[str, float]]], ...] = (
        ("weight bits", lambda row: (str(row.weight_bits), (row.weight_bits or 0) / MAXIMUM_BITS)),
        ("activation bits", lambda row: (str(row.activation_bits), row.activation_bits / MAXIMUM_BITS)),
        ("filters left", lambda row: (f"{row.filters}/{row.filters_of}", (row.filters or 0) / (row.filters_of or 1))),
    )
    return tuple(
        Grid(
            title=title,
            columns=tuple(_label(run, runs).replace("_", " ").replace(",", "") for run in runs),
            rows=names,
            texts=tuple(tuple(show(table[i])[0] for table in tables) for i in range(len(names))),
            shades=tuple(tuple(show(table[i])[1] for table in tables) for i in range(len(names))),
        )
        for title, show in kinds
    )


def build_transfer_grids(transfers: Sequence[Transfer]) -> tuple[Grid, ...]:
    """Return the energy of each choice (rows) on each device (columns), relative to that device's own, by loss."""
    grids = []
    for loss in dict.fromkeys(entry.choice.loss for entry in transfers):
        of_loss = [entry for entry in transfers if entry.choice.loss == loss]
        rows = list(dict.fromkeys((entry.choice.run.device, entry.choice.run.seed) for entry in of_loss))
        seeds = {seed for _, seed in rows}
        columns = tuple(dict.fromkeys(entry.device for entry in of_loss))
        ratios = {(e.choice.run.device, e.choice.run.seed, e.device): e.energy_ratio for e in of_loss}
        values = [[ratios.get((*row, column), math.nan) for column in columns] for row in rows]
        grids.append(
            Grid(
                title=describe_allowance(loss),
                columns=tuple(column.replace("_", " ") for column in columns),
                rows=tuple(f"{device}, seed {seed}" if len(seeds) > 1 else device for device, seed in rows),
                texts=tuple(tuple("" if math.isnan(v) else f"{v:.2f}" for v in row) for row in values),
                shades=tuple(
                    tuple(None if math.isnan(v) else math.log(max(v, 1.0)) / math.log(DARKEST_RATIO) for v in row)
                    for row in values
                ),
            )
        )
    return tuple(grids)


def describe_allowance(loss: float) -> str:
    """Say how much of the accuracy on search images a choice may lose."""
    points = f"{100.0 * loss:g}"
    return f"at most {points} point{'' if points == '1' else 's'} lost"


def _label(run: DeviceRun, runs: Sequence[DeviceRun]) -> str:
    """Return the device, and the seed where it has several."""
    return f"{run.device}, seed {run.seed}" if len({other.seed for other in runs}) > 1 else run.device


def _float(run: DeviceRun) -> float:
    return run.outcome.baseline(FLOAT).search.value


def _front(run: DeviceRun, cost: Objective) -> tuple[tuple[float, float], ...]:
    """Return (Cost relative to uniform 8 bits, accuracy in %) of the members that no cheaper one equals."""
    whole = cost.value(get_uniform_cost(run), 0.0)
    points = [
        (cost.value(point.evaluation.cost, 0.0) / whole, 100.0 * point.evaluation.score.value)
        for point in run.outcome.front
        if point.evaluation.score is not None
    ]
    costs, accuracies = np.array(points).reshape(-1, 2).T
    return tuple(points[index] for index in ascending_front(costs, -accuracies))
