"""Which decisions change where activations stay on chip between layers.

python -m studies.cost_models.decisions [RUNS]

Prices the same networks twice on each device: with all activations passing memory, as on every device of earlier
versions, and with those staying that its buffers have room for. The networks are those that the searches of
studies/hardware scored: of the finished runs in the folder RUNS, or else those of before, in results/candidates.csv.
Writes results/operands.csv, fronts.csv and choices.csv, and the README's tables to standard output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import hwmodels
from explorer.arrays import Float64Array
from explorer.compress.candidate import uniform
from explorer.errors import ExplorerError
from explorer.evaluate.pricing import Pricing
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.pareto import ascending_front, undominated
from explorer.report.devices.tables import Row, average_decisions, write_rows
from explorer.study.costing import candidate_cost
from hwmodels import NETWORKS, Accelerator
from studies.cost_models.candidates import ScoredCandidate, list_candidates, read_candidates

RESULTS, CANDIDATES = Path(__file__).parent / "results", "candidates.csv"
PASSING, STAYING = "passing", "staying"
KEEPING = ("gemmini_default", "bit_serial_16x16")
"""Devices whose profiles keep activations, and whose memories hold narrow operands packed."""
AS_IF = "bitfusion"
"""A device that keeps none, taken as if its buffer of inputs could be filled with results."""
NETWORK, IMAGE = "resnet8", (3, 32, 32)
"""What was searched."""
SMALL_NETWORKS = {
    "mlperf_tiny_resnet8": "ResNet-8",
    "mlperf_tiny_ds_cnn": "DS-CNN",
    "mlperf_tiny_mobilenet": "visual wake words",
}
MIXES = ((8, 8), (4, 8), (8, 4))
"""Widths of weights and activations."""
ZIGZAG_UJ = {PASSING: (23.3, 20.0, 16.0), STAYING: (9.8, 6.5, 9.3)}
"""ZigZag 3.9.1 at MIXES, the seven convolutions of ResNet-8 on a Gemmini-like array, without `exploit_data_locality`
and with it."""
LOSSES = (0.01, 0.03)
"""Shares of the search images by which a choice may be worse than the uniform 8-bit network."""
ROUNDING = 1e-9
BITS = ("mean_weight_bits", "mean_activation_bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """Scored networks on one device, in one order: accuracies, and energies in uJ and latencies in ms by mode."""

    name: str
    device: Accelerator
    scored: Sequence[ScoredCandidate]
    accuracies: Float64Array
    energies: Mapping[str, Float64Array]
    latencies: Mapping[str, Float64Array]


def list_devices() -> dict[str, dict[str, Accelerator]]:
    """Return each device by mode."""
    found = {name: {PASSING: _keeping(name), STAYING: hwmodels.load(name)} for name in KEEPING}
    return {**found, f"{AS_IF} as if": {PASSING: hwmodels.load(AS_IF), STAYING: _keeping(AS_IF, "inputs")}}


def list_operands(devices: Mapping[str, Mapping[str, Accelerator]]) -> list[Row]:
    """Return energies of devices and networks at MIXES in both modes, and the operand to narrow; ZigZag's first."""
    rows = [_operands("ZigZag", "ResNet-8", ZIGZAG_UJ)]
    for name, modes in devices.items():
        for network, title in SMALL_NETWORKS.items():
            mixes = [NETWORKS[network]().at(*widths) for widths in MIXES]
            energies = {
                mode: [hwmodels.evaluate(jobs, device, tensors).energy_pj * 1e-6 for jobs, tensors in mixes]
                for mode, device in modes.items()
            }
            rows.append(_operands(name, title, energies))
    return rows


def build_graph() -> ModelGraph:
    """Return the graph of the network that was searched, whose weights do not matter for what it costs here."""
    example = torch.zeros(2, *IMAGE)
    return trace(canonicalise(REFERENCE_NETWORKS[NETWORK](classes=10).eval(), example), example)


def price_all(
    graph: ModelGraph, name: str, modes: Mapping[str, Accelerator], scored: Sequence[ScoredCandidate]
) -> Priced:
    """Price the networks on a device in both modes."""
    energies, latencies = {}, {}
    for mode, device in modes.items():
        pricing = Pricing(graph, device)
        prices = [pricing.price(item.candidate) for item in scored]
        energies[mode] = np.array([1e-6 * price.energy_pj for price in prices])
        latencies[mode] = np.array([price.latency_ms for price in prices])
    return Priced(
        name=name,
        device=modes[STAYING],
        scored=scored,
        accuracies=np.array([item.accuracy for item in scored]),
        energies=energies,
        latencies=latencies,
    )


def describe_front(graph: ModelGraph, priced: Priced) -> Row:
    """Return how the order of the energies changes, and with it the front of accuracy and energy.

    `timed` is the front on which latency counts as well.
    """
    fronts = {
        mode: set(ascending_front(energies, 1.0 - priced.accuracies).tolist())
        for mode, energies in priced.energies.items()
    }
    timed = [
        undominated(np.stack([1.0 - priced.accuracies, energies, priced.latencies[mode]], axis=1), of_equal="first")
        for mode, energies in priced.energies.items()
    ]
    row: dict[str, str | int | float | None] = {
        "device": priced.name,
        "networks": len(priced.scored),
        "spearman": float(stats.spearmanr(*priced.energies.values()).statistic),
        "share_reordered": share_reordered(*priced.energies.values()),
        "front_both": len(set.intersection(*fronts.values())),
        **{f"timed_{mode}": int(members.sum()) for mode, members in zip(fronts, timed, strict=True)},
        "timed_both": int(np.logical_and(*timed).sum()),
    }
    for mode, members in fronts.items():
        averages = [_average(graph, priced, index) for index in sorted(members)]
        row[f"front_{mode}"] = len(members)
        row |= {f"{key}_{mode}": float(np.mean([each[key] for each in averages])) for key in BITS}
    return row


def share_reordered(first: Float64Array, second: Float64Array) -> float:
    """Return the share of all pairs that are in another order in the second array than in the first."""
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]
    return float((signs[0] * signs[1] < 0).sum() / (len(first) * (len(first) - 1)))


def list_choices(graph: ModelGraph, priced: Priced) -> list[Row]:
    """Return the cheapest network of each mode for each loss, with its energy in both modes.

    `staying_ratio` is its energy with activations staying, relative to the least of all that lose no more.
    """
    eight, staying = uniform(graph), priced.energies[STAYING]
    whole = next(item.accuracy for item in priced.scored if item.candidate == eight)
    rows: list[Row] = []
    for loss in LOSSES:
        good = np.flatnonzero(priced.accuracies >= whole - loss - ROUNDING)
        for mode, energies in priced.energies.items():
            index = int(good[energies[good].argmin()])
            rows.append(
                {
                    "device": priced.name,
                    "loss": loss,
                    "chosen": mode,
                    "accuracy": float(priced.accuracies[index]),
                    **_average(graph, priced, index),
                    **{f"{name}_uj": float(values[index]) for name, values in priced.energies.items()},
                    "staying_ratio": float(staying[index] / staying[good].min()),
                }
            )
    return rows


def decide(candidates: Path) -> dict[str, list[Row]]:
    """Return the rows of all tables by name."""
    graph, devices = build_graph(), list_devices()
    scored = read_candidates(candidates, graph)
    priced = [price_all(graph, name, modes, scored) for name, modes in devices.items()]
    return {
        "operands": list_operands(devices),
        "fronts": [describe_front(graph, each) for each in priced],
        "choices": [row for each in priced for row in list_choices(graph, each)],
    }


def readme_tables(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the lines of the README's tables, from rows as they are or as they are read from their files."""
    lines = []
    for name, columns in COLUMNS.items():
        cells = [[form(row[key]) for key, form in columns.values()] for row in tables[name]]
        lines += ["", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(row)} |" for row in cells]
    return lines[1:]


def _keeping(name: str, buffer_name: str = "") -> Accelerator:
    """Return a device with activations staying in the named buffer alone, or nowhere."""
    device = hwmodels.load(name)
    buffers = [replace(each, keeps=("maps",) if each.name == buffer_name else ()) for each in device.buffers]
    return replace(device, buffers=tuple(buffers))


def _operands(device: str, network: str, energies: Mapping[str, Sequence[float]]) -> Row:
    row: dict[str, str | int | float | None] = {"device": device, "network": network}
    for mode, values in energies.items():
        row |= {f"w{weights}a{inputs}_{mode}_uj": uj for (weights, inputs), uj in zip(MIXES, values, strict=True)}
        row[f"narrow_{mode}"] = "weights" if values[1] < values[2] else "activations"
    return row


def _average(graph: ModelGraph, priced: Priced, index: int) -> dict[str, float | None]:
    return average_decisions(candidate_cost(graph, priced.scored[index].candidate, priced.device))


def _decimals(count: int) -> Callable[[object], str]:
    return lambda value: f"{float(str(value)):,.{count}f}"


def _percent(value: object) -> str:
    return f"{100 * float(str(value)):.0f} %"


Column = tuple[str, Callable[[object], str]]
COLUMNS: dict[str, dict[str, Column]] = {
    "operands": {
        "device": ("device", str),
        "network": ("network", str),
        **{f"W{w}A{a} passing": (f"w{w}a{a}_{PASSING}_uj", _decimals(1)) for w, a in MIXES},
        "narrow": (f"narrow_{PASSING}", str),
        **{f"W{w}A{a} staying": (f"w{w}a{a}_{STAYING}_uj", _decimals(1)) for w, a in MIXES},
        "narrow then": (f"narrow_{STAYING}", str),
    },
    "fronts": {
        "device": ("device", str),
        "Spearman": ("spearman", _decimals(2)),
        "pairs reordered": ("share_reordered", _percent),
        "front, passing": ("front_passing", str),
        "front, staying": ("front_staying", str),
        "in both": ("front_both", str),
        "with latency, passing": ("timed_passing", str),
        "with latency, staying": ("timed_staying", str),
        "in both of these": ("timed_both", str),
        "weight bits, passing": ("mean_weight_bits_passing", _decimals(1)),
        "weight bits, staying": ("mean_weight_bits_staying", _decimals(1)),
        "activation bits, passing": ("mean_activation_bits_passing", _decimals(1)),
        "activation bits, staying": ("mean_activation_bits_staying", _decimals(1)),
    },
    "choices": {
        "device": ("device", str),
        "loss": ("loss", lambda value: f"{100 * float(str(value)):g}"),
        "chosen with activations": ("chosen", str),
        "weight bits": ("mean_weight_bits", _decimals(1)),
        "activation bits": ("mean_activation_bits", _decimals(1)),
        "filters": ("filter_keep_ratio", _percent),
        "uJ, passing": ("passing_uj", _decimals(1)),
        "uJ, staying": ("staying_uj", _decimals(1)),
        "to the best, staying": ("staying_ratio", _percent),
    },
}
"""Heading -> column of the rows, and how its values are written, for each table."""


def main() -> None:
    """Read the command line; what is wrong with a run is one line, and exit code 2."""
    parser = argparse.ArgumentParser(description="Say which decisions change where activations stay on chip.")
    parser.add_argument("runs", metavar="RUNS", nargs="?", type=Path, help="folder, each folder in which is a run")
    parser.add_argument("--to", type=Path, default=RESULTS, help="folder to write to (default: %(default)s)")
    arguments = parser.parse_args()
    candidates = RESULTS / CANDIDATES
    try:
        if arguments.runs is not None:
            folders = sorted(path for path in arguments.runs.glob("*") if path.is_dir())
            arguments.to.mkdir(parents=True, exist_ok=True)
            candidates = arguments.to / CANDIDATES
            write_rows(list_candidates(folders), candidates)
        tables = decide(candidates)
    except ExplorerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for name, rows in tables.items():
        write_rows(rows, arguments.to / f"{name}.csv")
    print("\n".join(readme_tables(tables)))


if __name__ == "__main__":
    main()
