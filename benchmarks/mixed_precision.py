"""A front of ResNet-8 by `explorer run`, members of it tuned, beside a published joint search of pruning and widths.

studies/resnet8_cifar10 is searched once for bytes of weights, once for these by likeness to the float network, and once
for cycles of GAP9's NE16. For published points the member that is best on search images (training images, as everything
is chosen on) at no more is tuned, as `explorer finetune RUN --pick` does. Test images are all 10,000 of CIFAR-10: all
members are scored on them, or where likeness chooses those alone that it has chosen.

Bytes are those of all weights at the width of their layer, without biases and scales; cycles are those of NE16 by its
published model, without transfers: 160,825 for the whole network at 8 bits, where the published figure has 155,000.
Published are PLiNIO's authors (arXiv 2407.01054; read off figures, within 2 %), trained on 50,000 images; these see
18,500. Needs EXPLORER_DATA, EXPLORER_CHECKPOINTS and EXPLORER_GOLDEN (a folder with mixprec_resnet8.csv). Interrupted,
the same command goes on, trainings after their last full epoch; with --most it trains for one target alone.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import explorer
from explorer.data.load import load_data
from explorer.evaluate import hardware
from explorer.settings import BudgetSettings, ObjectiveSettings, ScoreSettings
from explorer.study.record import FrontPoint
from hwmodels import load

REPOSITORY = Path(__file__).parent.parent
STUDY = REPOSITORY / "studies" / "resnet8_cifar10"
DEVICE = load("gap9_ne16")
PER_FILTER_BYTES = 8
"""Of the bias and the scale of a filter, which the device keeps beside its weights."""

Count = Callable[[explorer.Net, explorer.Candidate], int]
Judge = Callable[[FrontPoint, bool], explorer.MeanScore]
"""Returns the share of the test images that a member has right, tuned or not."""


def count_bytes(net: explorer.Net, candidate: explorer.Candidate) -> int:
    """Return the bytes of all weights at their widths."""
    cost = explorer.price(net, candidate, DEVICE)
    return cost.weight_bytes - PER_FILTER_BYTES * sum(layer.filters or 0 for layer in cost.layers)


def count_cycles(net: explorer.Net, candidate: explorer.Candidate) -> int:
    """Return the cycles of the engine in all layers with weights."""
    graph = net.context.shortened(candidate.removed_blocks).graph
    return sum(layer.compute_cycles for layer in hardware.cost(graph, candidate, DEVICE).layers if layer.macs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The right answers in percent that are wanted at no more than `most`, and how the member chosen is trained for it.

    By [finetuning] of the study; without epochs it is not trained.
    """

    most: int
    wanted: float
    epochs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One search: how its cost is counted and called, the published column in units of so many, and what is wanted."""

    count: Count
    counted: str
    column: str
    unit: float
    targets: tuple[Target, ...]
    change: Callable[[explorer.Study], explorer.Study] = lambda study: study
    """Of the study, for this race."""


def search_alike(study: explorer.Study) -> explorer.Study:
    """Return the study by likeness to the float network, which accuracy does not tell apart from members so near it."""
    return replace(
        study,
        score=ScoreSettings(name="likeness"),
        objectives=ObjectiveSettings(names=("likeness", "weight_memory")),
        budgets=BudgetSettings(accuracy=0.88),
    )


def search_cycles(study: explorer.Study) -> explorer.Study:
    """Return the study for members of less than 165,000 cycles with transfers, with or without the first block.

    Without 1 bit, of which a layer takes the engine as long as of 2.
    """
    return replace(
        study,
        objectives=ObjectiveSettings(names=("accuracy", "latency")),
        budgets=BudgetSettings(accuracy=0.1, latency_ms=0.45),
        space=replace(study.space, weight_bits=(2, 3, 4, 5, 6, 8), removed_blocks=(0, 1)),
        search=replace(study.search, trials=64),
    )


RACES: Mapping[str, Race] = {
    "bytes": Race(
        count=count_bytes,
        counted="bytes",
        column="weight_kilobytes",
        unit=1000.0,
        targets=(
            Target(most=59_000, wanted=87.0),
            Target(most=40_000, wanted=86.9),
            Target(most=26_500, wanted=86.3, epochs=16),
            Target(most=15_300, wanted=84.5, epochs=36),
            Target(most=5_900, wanted=76.0, epochs=40),
            Target(most=2_900, wanted=62.0, epochs=40),
        ),
    ),
    "likeness": Race(
        count=count_bytes,
        counted="bytes",
        column="weight_kilobytes",
        unit=1000.0,
        change=search_alike,
        targets=(
            Target(most=59_000, wanted=87.0),
            Target(most=40_000, wanted=86.9),
            Target(most=26_500, wanted=86.3),
        ),
    ),
    "cycles": Race(
        count=count_cycles,
        counted="cycles",
        column="ne16_cycles",
        unit=1.0,
        change=search_cycles,
        targets=(
            Target(most=150_000, wanted=86.2),
            Target(most=117_000, wanted=84.1),
            Target(most=90_000, wanted=82.6),
            Target(most=83_000, wanted=81.3, epochs=20),
            Target(most=39_000, wanted=73.6, epochs=40),
        ),
    ),
}


def read_published(race: Race) -> list[tuple[float, float]]:
    """Return (bytes or cycles, percent right) of all published points."""
    path = Path(os.environ["EXPLORER_GOLDEN"]) / "mixprec_resnet8.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if row[race.column]]
    return [(race.unit * float(row[race.column]), 100.0 * float(row["accuracy"])) for row in rows]


def choose(
    front: Sequence[FrontPoint], counts: Mapping[str, int], most: float, *, tuned: bool = True
) -> FrontPoint | None:
    """Return the member of at most so many that is best on search images; None where none is so small.

    Each counts as it is best, tuned or not, or else as it was before tuning.
    """
    fitting = [point for point in front if counts[point.name] <= most]
    return max(fitting, key=lambda point: max(searched(point)[: 1 + tuned]), default=None)


def searched(point: FrontPoint) -> tuple[float, ...]:
    """Return the share of the search images right, before and after tuning."""
    found = [point.evaluation.score, None if point.tuned is None else point.tuned.search]
    return tuple(score.value for score in found if score is not None)


def tune(result: explorer.Result, counts: Mapping[str, int], race: Race, most: int | None = None) -> explorer.Result:
    """Return the front with a member for each target tuned, or for that of `most` alone, the shortest trainings first.

    A member that is the one of several targets is trained for that of the most epochs.
    """
    found: dict[str, Target] = {}
    for target in race.targets:
        if most not in (None, target.most):
            continue
        point = choose(result.outcome.front, counts, target.most, tuned=False)
        if point is not None and target.epochs:
            found[point.name] = max(target, found.get(point.name, target), key=lambda each: each.epochs)
    for name, target in sorted(found.items(), key=lambda each: each[1].epochs):
        result = result.finetune([name], target.epochs, notify=say)
    return result


def show(front: Sequence[FrontPoint], counts: Mapping[str, int], race: Race, judge: Judge) -> None:
    """Print what of the front lies beside each published point."""
    wanted = {float(target.most): target.wanted for target in race.targets}
    for cost, right in sorted(read_published(race), reverse=True):
        point = choose(front, counts, cost)
        aim = f", wanted {wanted[cost]:.1f} %" if cost in wanted else ""
        line = f"at most {cost:9,.0f}: published {right:.1f} %{aim}; "
        if point is None:
            print(f"{line}no member")
            continue
        line += f"{point.name} of {counts[point.name]:,}: {judge(point, False).value:.2%} untrained"
        if point.tuned is not None:
            kept = "" if searched(point)[1] >= searched(point)[0] else ", worse on search images"
            line += f", {judge(point, True).value:.2%} after {point.tuned.epochs} epochs{kept}"
        print(line, flush=True)


def count_right(result: explorer.Result) -> Judge:
    """Return what tells how many of the test images a member has right: by labels, where likeness chose it."""
    if result.score_name == explorer.accuracy.__name__:
        return lambda point, tuned: point.tuned.held_out if tuned and point.tuned else point.held_out
    study = explorer.load_study(STUDY)
    labelled = load_data(study.data, study.model.input_shape, study.folder).held_out
    return lambda point, tuned: explorer.accuracy(result.model(point.name, tuned=tuned), labelled)


def say(what: str, done: int, total: int) -> None:
    """Print how far it is, now and then."""
    if done == total or done % 500 == 0:
        print(f"  {what}: {done} of {total}", flush=True)


def main() -> None:
    """Search, tune and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("races", nargs="*", default=[*RACES], metavar="RACE", help=f"of {', '.join(RACES)}")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "resnet8_cifar10", help="for the results")
    parser.add_argument("--untuned", action="store_true", help="compare the front with what is tuned already")
    parser.add_argument("--most", type=int, metavar="COUNT", help="train for the target of at most so many alone")
    arguments = parser.parse_args()
    if unknown := set(arguments.races) - set(RACES):
        parser.error(f"unknown {', '.join(sorted(unknown))}; the races are {', '.join(RACES)}")
    known = [target.most for name in arguments.races for target in RACES[name].targets if target.epochs]
    if arguments.most is not None and arguments.most not in known:
        parser.error(f"--most: expected one of {', '.join(map(str, known))}, received {arguments.most}")
    torch.set_num_threads(1)
    begun = time.process_time()
    for name in arguments.races:
        race = RACES[name]
        result = explorer.run(race.change(explorer.load_study(STUDY)), arguments.folder / name, say)
        net, front = result.open_net(), result.outcome.front
        counts = {point.name: race.count(net, point.evaluation.candidate) for point in front}
        for point in front:
            print(
                f"  {point.name}: {counts[point.name]:,} {race.counted}, {result.score_name} {point.held_out.value:.2%}"
            )
        if not arguments.untuned:
            result = tune(result, counts, race, arguments.most)
        print(f"\nby {name}:")
        show(result.outcome.front, counts, race, count_right(result))
    print(f"{time.process_time() - begun:.0f} CPU-s of this call")


if __name__ == "__main__":
    main()
