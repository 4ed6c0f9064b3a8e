"""The tables of a comparison of devices: rows of plain values, one CSV file for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from explorer.comparison.devices import DeviceChoice, DeviceRun, Lever, Transfer, count_cycles_by_bound
from explorer.files import write_csv
from explorer.study.record import UNIFORM, Cost, LayerSummary
from hwmodels import BOUNDS, ENERGY_COMPONENTS

Row = Mapping[str, str | int | float | None]


def list_choices(chosen: Sequence[DeviceChoice]) -> list[Row]:
    """Return one row for each choice: accuracies, costs relative to the uniform 8-bit network, average decisions."""
    rows: list[Row] = []
    for choice in chosen:
        evaluation, held_out, whole = choice.point.evaluation, choice.point.held_out, get_uniform_cost(choice.run)
        cost, search = evaluation.cost, evaluation.score
        assert search is not None  # members of a front are scored
        rows.append(
            {
                **_name_run(choice),
                "point": choice.point.name,
                "accuracy_search": search.value,
                "standard_error_search": search.standard_error,
                "images_search": search.num_images,
                "accuracy_held_out": held_out.value,
                "standard_error_held_out": held_out.standard_error,
                "images_held_out": held_out.num_images,
                "energy_uj": cost.energy_uj,
                "energy_ratio": _ratio(cost.energy_uj, whole.energy_uj),
                "latency_ratio": _ratio(cost.latency_ms, whole.latency_ms),
                "weight_ratio": _ratio(cost.weight_bytes, whole.weight_bytes),
                "macs_ratio": _ratio(cost.macs, whole.macs),
                **average_decisions(cost),
                "origin": evaluation.origin,
                "digest": evaluation.candidate.digest(),
            }
        )
    return rows


def average_decisions(cost: Cost) -> dict[str, float | None]:
    """Return mean bits over the layers' multiply-accumulates, and the share of all layers' filters that is kept."""
    layers = find_weighted_layers(cost)
    return {
        "mean_weight_bits": _mean([(row.weight_bits or 0, row.macs) for row in layers]),
        "mean_activation_bits": _mean([(row.activation_bits, row.macs) for row in layers]),
        "filter_keep_ratio": _ratio(
            sum(row.filters or 0 for row in layers), sum(row.filters_of or 0 for row in layers)
        ),
    }


def list_layers(chosen: Sequence[DeviceChoice]) -> list[Row]:
    """Return one row for each layer with weights of each choice, in the order of computation."""
    return [
        {
            **_name_run(choice),
            "layer": row.layer,
            "weight_bits": row.weight_bits,
            "activation_bits": row.activation_bits,
            "filters": row.filters,
            "filters_of": row.filters_of,
            "energy_uj": row.energy_uj,
            "latency_cycles": row.latency_cycles,
            "bound": row.bound,
        }
        for choice in chosen
        for row in find_weighted_layers(choice.point.evaluation.cost)
    ]


def list_levers(levers: Sequence[Lever]) -> list[Row]:
    """Return a row for each device and change: ratios to uniform 8 bits, energy by component, cycles by bound."""
    rows: list[Row] = []
    for lever in levers:
        parts, cycles = lever.cost.energy_uj_by_component, count_cycles_by_bound(lever.cost)
        rows.append(
            {
                "device": lever.device,
                "change": lever.name,
                "energy_ratio": lever.energy_ratio,
                "latency_ratio": lever.latency_ratio,
                "weight_ratio": lever.weight_ratio,
                **{f"{name}_uj": parts.get(name, 0.0) for name in ENERGY_COMPONENTS},
                **{f"{bound}_cycles": cycles.get(bound, 0) for bound in (*BOUNDS, "fused")},
            }
        )
    return rows


def list_transfers(transfers: Sequence[Transfer]) -> list[Row]:
    """Return one row for each choice and each device that it is priced on."""
    return [
        {
            "chosen_for": entry.choice.run.device,
            "seed": entry.choice.run.seed,
            "loss": entry.choice.loss,
            "run_on": entry.device,
            "energy_ratio": entry.energy_ratio,
            "latency_ratio": entry.latency_ratio,
        }
        for entry in transfers
    ]


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows of equal keys as CSV, whole or not at all: six significant digits, LF, missing values empty.

    Raises:
        OSError: the file cannot be written.
    """
    columns = list(rows[0]) if rows else []
    write_csv(path, columns, ([_short(row[key]) for key in columns] for row in rows))


def _short(value: str | int | float | None) -> str | int | None:
    return f"{value:.6g}" if isinstance(value, float) else value


def find_weighted_layers(cost: Cost) -> tuple[LayerSummary, ...]:
    """Return the layers with weights, in the order of computation."""
    return tuple(row for row in cost.layers if row.weight_bits is not None)


def get_uniform_cost(run: DeviceRun) -> Cost:
    """Return what the uniform 8-bit network costs on the device of a run."""
    return run.outcome.baseline(UNIFORM).cost


def _name_run(choice: DeviceChoice) -> dict[str, str | int | float | None]:
    return {"device": choice.run.device, "seed": choice.run.seed, "loss": choice.loss}


def _ratio(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None


def _mean(values: Sequence[tuple[int, int]]) -> float | None:
    """Return the mean of (value, weight)."""
    return _ratio(sum(value * weight for value, weight in values), sum(weight for _, weight in values))
