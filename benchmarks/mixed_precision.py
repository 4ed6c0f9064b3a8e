"""A front of ResNet-8 by `explorer run`, members of it tuned, beside a published joint search of pruning and widths.

studies/resnet8_cifar10 is searched once. For each published point, by bytes of weights and by cycles of GAP9's NE16,
the member that is best on search images (training images, as everything is chosen on) at no more is tuned, as `explorer
finetune RUN --pick` does, and all members are scored on all 10,000 CIFAR-10 test images.

Bytes are those of all weights at the width of their layer, without biases and scales; cycles are those of NE16 by its
published model, without transfers: 160,825 for the whole network at 8 bits, where the published figure has 155,000.
Published are PLiNIO's authors (arXiv 2407.01054; read off figures, within 2 %), trained on 50,000 images; these see
18,500. Needs EXPLORER_DATA, EXPLORER_CHECKPOINTS and EXPLORER_GOLDEN (a folder with mixprec_resnet8.csv). Interrupted,
the same command goes on, trainings after their last full epoch.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import explorer
from explorer.evaluate import hardware
from explorer.study.record import FrontPoint
from hwmodels import load

REPOSITORY = Path(__file__).parent.parent
STUDY = REPOSITORY / "studies" / "resnet8_cifar10"
DEVICE = load("gap9_ne16")
PER_FILTER_BYTES = 8
"""Of the bias and the scale of a filter, which the device keeps beside its weights."""

Count = Callable[[explorer.Net, explorer.Candidate], int]


def count_bytes(net: explorer.Net, candidate: explorer.Candidate) -> int:
    """Return the bytes of all weights at their widths."""
    cost = explorer.price(net, candidate, DEVICE)
    return cost.weight_bytes - PER_FILTER_BYTES * sum(layer.filters or 0 for layer in cost.layers)


def count_cycles(net: explorer.Net, candidate: explorer.Candidate) -> int:
    """Return the cycles of the engine in all layers with weights."""
    return sum(layer.compute_cycles for layer in hardware.cost(net.graph, candidate, DEVICE).layers if layer.macs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The right answers in percent that are wanted at no more than `most`, and the epochs trained for it.

    12 epochs are measured, the others assumed.
    """

    most: int
    wanted: float
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One cost: how it is counted, its published column in units of so many, and what is wanted."""

    count: Count
    column: str
    unit: float
    targets: tuple[Target, ...]


RACES: Mapping[str, Race] = {
    "bytes": Race(
        count=count_bytes,
        column="weight_kilobytes",
        unit=1000.0,
        targets=(
            Target(most=59_000, wanted=87.0, epochs=2),
            Target(most=40_000, wanted=86.9, epochs=2),
            Target(most=26_500, wanted=86.3, epochs=3),
            Target(most=15_300, wanted=84.5, epochs=12),
            Target(most=5_900, wanted=76.0, epochs=12),
        ),
    ),
    "cycles": Race(
        count=count_cycles,
        column="ne16_cycles",
        unit=1.0,
        targets=(
            Target(most=150_000, wanted=86.2, epochs=2),
            Target(most=117_000, wanted=84.1, epochs=3),
            Target(most=90_000, wanted=82.6, epochs=6),
            Target(most=83_000, wanted=81.3, epochs=6),
            Target(most=39_000, wanted=73.6, epochs=10),
        ),
    ),
}


def read_published(race: Race) -> list[tuple[float, float]]:
    """Return (bytes or cycles, percent right) of all published points."""
    path = Path(os.environ["EXPLORER_GOLDEN"]) / "mixprec_resnet8.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if row[race.column]]
    return [(race.unit * float(row[race.column]), 100.0 * float(row["accuracy"])) for row in rows]


def choose(front: Sequence[FrontPoint], counts: Mapping[str, int], most: float) -> FrontPoint | None:
    """Return the member of at most so many that is best on search images, tuned or not; None where none is so small."""
    fitting = [point for point in front if counts[point.name] <= most]
    return max(fitting, key=lambda point: max(searched(point)), default=None)


def searched(point: FrontPoint) -> tuple[float, ...]:
    """Return the share of the search images right, before and after tuning."""
    found = [point.evaluation.score, None if point.tuned is None else point.tuned.search]
    return tuple(score.value for score in found if score is not None)


def tune(result: explorer.Result, counts: Mapping[str, Mapping[str, int]]) -> explorer.Result:
    """Return the front with a member for each target tuned, the longest trainings last."""
    epochs: dict[str, int] = {}
    for name, race in RACES.items():
        for target in race.targets:
            point = choose(result.outcome.front, counts[name], target.most)
            if point is not None:
                epochs[point.name] = max(target.epochs, epochs.get(point.name, 0))
    for name in sorted(epochs, key=lambda each: epochs[each]):
        result = result.finetune([name], epochs[name], notify=say)
    return result


def show(front: Sequence[FrontPoint], counts: Mapping[str, int], race: Race) -> None:
    """Print what of the front lies beside each published point."""
    wanted = {float(target.most): target.wanted for target in race.targets}
    for cost, right in sorted(read_published(race), reverse=True):
        point = choose(front, counts, cost)
        aim = f", wanted {wanted[cost]:.1f} %" if cost in wanted else ""
        line = f"at most {cost:9,.0f}: published {right:.1f} %{aim}; "
        if point is None:
            print(f"{line}no member")
            continue
        line += f"{point.name} of {counts[point.name]:,}: {point.held_out.value:.2%} untrained"
        if point.tuned is not None:
            kept = "" if searched(point)[1] >= searched(point)[0] else ", worse on search images"
            line += f", {point.tuned.held_out.value:.2%} after {point.tuned.epochs} epochs{kept}"
        print(line, flush=True)


def say(what: str, done: int, total: int) -> None:
    """Print how far it is, now and then."""
    if done == total or done % 500 == 0:
        print(f"  {what}: {done} of {total}", flush=True)


def main() -> None:
    """Search, tune and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "resnet8_cifar10", help="for the results")
    parser.add_argument("--untuned", action="store_true", help="compare the front with what is tuned already")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    result = explorer.run(STUDY, arguments.folder, say)
    net, front = result.open_net(), result.outcome.front
    counts = {
        name: {point.name: race.count(net, point.evaluation.candidate) for point in front}
        for name, race in RACES.items()
    }
    for point in front:
        both = ", ".join(f"{counts[name][point.name]:,} {name}" for name in RACES)
        print(f"  {point.name}: {both}, {point.held_out.value:.2%} untrained")
    if not arguments.untuned:
        result = tune(result, counts)
    for name, race in RACES.items():
        print(f"\nby {name}:")
        show(result.outcome.front, counts[name], race)
    print(f"{time.process_time() - begun:.0f} CPU-s of this call")


if __name__ == "__main__":
    main()
