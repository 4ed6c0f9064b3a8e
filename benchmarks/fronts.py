"""What compensation and steps in the space are worth: two fronts of 60 candidates each, at every byte count of either.

Each study (digits; the published ResNet-20) is searched by NSGA-II twice for accuracy and bytes of the coded file, with
the same images, seed and number of candidates: as it is, with a width for each layer, and with compensation, adaptive
rounding and steps in its space beside the widths. Bytes are those of `network.bin` for both fronts, weights at their
entropy, with biases, scales and tables, so that narrow widths are credited with their entropy, too. The packed bytes of
the widths, as a device counts them, stand beside.

For each byte count of a member of either front: the best score on held-out images of each front at no more bytes.
ResNet-20 is searched on 1,000 and judged on 5,000 of the test images, which its other studies have seen before.
Interrupted, the same command goes on. ResNet-20 needs EXPLORER_DATA and EXPLORER_CHECKPOINTS.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import explorer
from explorer.settings import ObjectiveSettings
from explorer.study.record import FrontPoint
from explorer.study.study_file import Study

REPOSITORY = Path(__file__).parent.parent
TRIALS = 60
STEPS: Mapping[str, tuple[float, ...]] = {
    "digits": (0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.11, 0.16),
    "resnet20_cifar10": (0.004, 0.0056, 0.008, 0.011, 0.016, 0.022, 0.031, 0.044),
}
OFFSETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
SEARCH_IMAGES = {"resnet20_cifar10": 1000}
"""Images that score candidates, where not as many as in the study's file."""


def make_studies(name: str) -> dict[str, Study]:
    """Return the study without and with compensation and steps."""
    study = explorer.load_study(REPOSITORY / "studies" / name)
    plain = replace(
        study,
        data=replace(study.data, search=SEARCH_IMAGES.get(name, study.data.search)),
        objectives=ObjectiveSettings(names=("accuracy", "coded_bytes")),
        search=replace(study.search, trials=TRIALS, sampler="nsga2", least_gain=0.0),
    )
    space = replace(plain.space, steps=(*STEPS[name], None), step_offsets=OFFSETS)
    quantizer = replace(plain.quantizer, rounding="adaptive", compensation="static", front_compensation="propagated")
    return {"plain": plain, "compensated": replace(plain, space=space, quantizer=quantizer)}


def best(front: Sequence[FrontPoint], most_bytes: int) -> FrontPoint | None:
    """Return the member of at most so many bytes that is best on held-out images; None where none is so small."""
    fitting = [point for point in front if coded_bytes(point) <= most_bytes]
    return max(fitting, key=lambda point: point.held_out.value, default=None)


def coded_bytes(point: FrontPoint) -> int:
    """Return the bytes of the coded file."""
    assert point.evaluation.cost.coded_bytes is not None
    return point.evaluation.cost.coded_bytes


def describe(point: FrontPoint | None) -> str:
    """Return score, bytes and packed bytes of a member."""
    if point is None:
        return f"{'none':>38}"
    packed = point.evaluation.cost.weight_bytes
    return f"{point.held_out.value:8.2%} {point.name:>4} {coded_bytes(point):8,} {packed:8,} packed"


def compare(plain: Sequence[FrontPoint], compensated: Sequence[FrontPoint]) -> None:
    """Print both fronts at every byte count of either, and at how many which is above."""
    counts = {"above": 0, "equal": 0, "below": 0}
    print(f"{'at most':>9}  {'plain':38}  {'with compensation and steps':38}")
    for most in sorted({coded_bytes(point) for point in (*plain, *compensated)}):
        before, after = best(plain, most), best(compensated, most)
        difference = (after.held_out.value if after else 0.0) - (before.held_out.value if before else 0.0)
        counts["above" if difference > 0 else "below" if difference < 0 else "equal"] += 1
        print(f"{most:9,}  {describe(before)}  {describe(after)}  {difference:+8.2%}")
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


def say_searched(what: str, done: int, total: int) -> None:
    """Print how far a search is, now and then."""
    if what == "search" and done % 10 == 0:
        print(f"  {done} of {total} candidates", flush=True)


def main() -> None:
    """Run the chosen studies and compare their fronts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=list(STEPS), metavar="STUDY", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "fronts", help="for the results")
    arguments = parser.parse_args()
    if unknown := set(arguments.studies) - set(STEPS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; the studies are {', '.join(STEPS)}")
    torch.set_num_threads(1)
    for name in arguments.studies:
        fronts = {}
        for which, study in make_studies(name).items():
            begun = time.process_time()
            fronts[which] = explorer.run(study, arguments.folder / name / which, say_searched).outcome.front
            took = time.process_time() - begun
            print(f"{name}, {which}: {len(fronts[which])} members of {TRIALS} candidates, {took:.0f} CPU-s", flush=True)
        compare(fronts["plain"], fronts["compensated"])


if __name__ == "__main__":
    main()
