"""How much of the front each sampler finds with how many evaluations, as hypervolume on search and on held-out images.

ResNet-20 on Bit Fusion, for accuracy, energy and bytes of the coded file, with filters, bits and steps in the space
(113 axes); or the digits study as it is. Samplers are those of a study file, which start from the same 20 seeds;
"optuna" is Optuna's default (TPE, without seeds), "gp" its GPSampler, with seeds. Every candidate is
scored on all search images.

The reference point is 80 % (digits: 90 %, the study's budget) at the energy and the bytes of the network at 8 bits. The
hypervolume is that of the front found so far over that of a network that is always right and costs nothing. On held-out
images the members that a search has chosen by its own images are scored once more.

ResNet-20 is searched on 1,000 and judged on 2,000 of the test images, which its other studies have seen before. Each
candidate is scored once, for whatever sampler proposes it first; interrupted, the same command goes on. ResNet-20 needs
EXPLORER_DATA and EXPLORER_CHECKPOINTS.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.study import StudyDirection

import explorer
from explorer.arrays import Float64Array
from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate, uniform
from explorer.data.images import ImageSet
from explorer.digests import digest
from explorer.errors import NumericalError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import score_images
from explorer.objectives import SCORE, costs_named
from explorer.pareto import undominated
from explorer.progress import silent
from explorer.search.improvement import Attained, spread_corners
from explorer.search.problem import SamplingProblem
from explorer.search.proposals import Proposals
from explorer.search.samplers import make_sampler
from explorer.settings import ObjectiveSettings
from explorer.study.costing import cost_excesses, score_excess
from explorer.study.prepare import open_study
from explorer.study.run import make_search
from explorer.study.storage import open_store
from explorer.study.study_file import Study

REPOSITORY = Path(__file__).parent.parent
STEPS = (0.004, 0.0056, 0.008, 0.011, 0.016, 0.022, 0.031, 0.044, None)
OFFSETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
IMAGES = (1000, 2000)
"""Of ResNet-20: search and held-out."""
REFERENCE = {"resnet20": 0.8, "digits": 0.9}
UNSEEDED = ("optuna",)
AT = (20, 50, 100, 200, 300, 500, 800, 1000)
CORNERS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One evaluation; `score` is None where it is over budget or cannot be computed."""

    candidate: Candidate
    costs: tuple[float, ...]
    score: float | None


def make_study(name: str) -> Study:
    """Return the study that is searched."""
    if name == "digits":
        return explorer.load_study("digits")
    study = explorer.load_study(REPOSITORY / "studies" / "resnet20_cifar10")
    return replace(
        study,
        data=replace(study.data, search=IMAGES[0], held_out=IMAGES[1]),
        space=replace(study.space, steps=STEPS, step_offsets=OFFSETS),
        objectives=ObjectiveSettings(names=("accuracy", "energy", "coded_bytes")),
    )


class Bench:
    """A study with all scores that are known of it, in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.study = make_study(name)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        prepared = open_study(self.study, folder)
        store = open_store(folder, "journal", self.study.name, self.study.objectives.names, prepared.identity())
        self.task = make_search(prepared, store, silent)
        self.prepared = prepared
        self.scores_file = folder / "scores.jsonl"
        lines = self.scores_file.read_text().splitlines() if self.scores_file.exists() else []
        self.scores = dict(json.loads(line) for line in lines)
        self.costs = costs_named(self.study.objectives.names)
        whole = self.price(uniform(prepared.context.graph))[0]
        self.reference = (REFERENCE[name], *whole)

    def price(self, candidate: Candidate) -> tuple[tuple[float, ...], tuple[tuple[str, float], ...]]:
        """Return the costs of a candidate by the objectives, and by how much it exceeds each budget."""
        cost = self.task.price_candidate(candidate)
        return tuple(one.value(cost, 0.0) for one in self.costs), cost_excesses(cost, self.study.budgets)

    def score(self, candidate: Candidate, images: str) -> MeanScore | None:
        """Return the score of a candidate; None where it cannot be computed."""
        key = f"{images}/{candidate.digest()}"
        if key not in self.scores:
            try:
                self.scores[key] = asdict(self._score(candidate, getattr(self.prepared.data, images)))
            except (NumericalError, np.linalg.LinAlgError):
                self.scores[key] = None
            with self.scores_file.open("a") as file:
                file.write(json.dumps([key, self.scores[key]]) + "\n")
        kept = self.scores[key]
        return None if kept is None else MeanScore(**kept)

    def _score(self, candidate: Candidate, images: ImageSet) -> MeanScore:
        """Return the score on all images, so that it does not depend on what was evaluated before."""
        prepared = self.prepared
        model = apply(prepared.context.for_search(), candidate)
        batch = self.study.compute.batch_size
        return MeanScore.of(score_images(model, *prepared.scored(images), batch, prepared.score, finite=True))

    def hypervolume(self, found: Sequence[Found], images: str) -> float:
        """Return the share of the volume up to the reference that the front of what was found dominates."""
        limit = self.study.budgets.limit(SCORE) or 0.0
        kept = [one for one in found if one.score is not None and one.score >= limit]
        if not kept:
            return 0.0
        values = np.array([(-one.score, *one.costs) for one in kept if one.score is not None])
        front = [kept[index] for index in np.flatnonzero(undominated(values, of_equal="first"))]
        scores = [one.score if images == "search" else _value(self.score(one.candidate, images)) for one in front]
        return measure_hypervolume(np.array(scores), np.array([one.costs for one in front]), self.reference)


def _value(score: MeanScore | None) -> float:
    return 0.0 if score is None else score.value


def measure_hypervolume(scores: Float64Array, costs: Float64Array, reference: Sequence[float]) -> float:
    """Return the share of the volume between the reference and the best possible that some points dominate."""
    least, high = reference[0], np.array(reference[1:])
    front = Attained(spread_corners(np.zeros(len(high)), high, CORNERS), least, 1)
    front.add(costs, scores[None])
    return float((front.best.mean() - least) / (1.0 - least))


def search(bench: Bench, name: str, seed: int, trials: int) -> tuple[list[Found], float]:
    """Return what a sampler finds, one candidate after another, and its CPU seconds for each candidate."""
    task = replace(bench.task, seed=seed)
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * len(bench.costs)]
    proposals = Proposals(task.space, directions, partial(_make_sampler, name, task.sampling()))
    seeds = () if name in UNSEEDED else task.seeds
    names = [axis.name for axis in task.space.axes]
    found: list[Found] = []
    spent = 0.0
    for number in range(trials):
        start = time.process_time()
        if number < len(seeds):
            given = task.space.point(seeds[number].candidate)
            point = proposals.add(tuple(given[axis] for axis in names))
        else:
            point = proposals.ask()[0]
        spent += time.process_time() - start
        candidate = task.space.candidate(dict(zip(names, point, strict=True)))
        costs, excesses = bench.price(candidate)
        mean = bench.score(candidate, "search") if all(excess <= 0 for _, excess in excesses) else None
        value, error = (0.0, None) if mean is None else (mean.value, mean.standard_error)
        limits = dict((*excesses, *score_excess(value, bench.study.budgets, task.objectives)))
        proposals.tell((value, *costs), limits, error)
        found.append(Found(candidate=candidate, costs=costs, score=None if mean is None else mean.value))
        if (number + 1) % 50 == 0:
            print(f"{name} {seed}: {number + 1} candidates, {bench.hypervolume(found, 'search'):.4f}", flush=True)
    return found, spent / trials


def _make_sampler(name: str, problem: SamplingProblem, number: int) -> BaseSampler:
    seed = int(digest(f"{problem.seed}/{number}")[:8], 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "optuna":
            return TPESampler(seed=seed)
        return GPSampler(seed=seed) if name == "gp" else make_sampler(name, problem, number)


def main() -> None:
    """Search by each sampler from each seed, and print a row of hypervolumes for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=tuple(REFERENCE), default="digits")
    parser.add_argument("--samplers", nargs="+", default=["bayes", "nsga2", "tpe", "random", "optuna"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--held-out", nargs="+", type=int, default=None, help="at which numbers; at all by default")
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bench = Bench(given.study, given.folder or REPOSITORY / "runs" / f"search_{given.study}")
    at = [number for number in AT if number <= given.trials]
    print(f"reference {bench.reference}; hypervolume on search / held-out images after {at} evaluations")
    for name in given.samplers:
        for seed in given.seeds:
            found, seconds = search(bench, name, seed, given.trials)
            judged = at if given.held_out is None else given.held_out
            row = [
                f"{bench.hypervolume(found[:number], 'search'):.4f}"
                + (f" / {bench.hypervolume(found[:number], 'held_out'):.4f}" if number in judged else "")
                for number in at
            ]
            print(f"{name:8} seed {seed}: {'  '.join(row)}  ({seconds * 1e3:.0f} ms CPU to propose each)", flush=True)


if __name__ == "__main__":
    main()
