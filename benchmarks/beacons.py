"""How well tuning a few candidates tells what an epoch of tuning would make of the others: Kendall's tau, and points.

The study is studies/resnet20_cifar10 with NSGA-II, of which the first 80 candidates are taken. Of those that lose at
most 42 points 30 are chosen evenly along their scores, and each is really tuned for one epoch by the study's
[finetuning] on 4,000 training images, and scored before and after on all 5,000 search images.

The order after tuning is then predicted without beacons: by the score before, that on all images or that which the
search has (as few as 128 images of what is beaten), and by the prior alone; and with 4, 6 and 8 beacons, which are
chosen by the search's rule of 20 of the 30, drawn 20 times. Kendall's tau-b and the root mean square error are those of
the candidates that are no beacons, their means over the draws; "all 30" has beacons at what they scored.

The prior of the prediction was set before any of these were tuned. A later version scores some candidates by an image
more or less, and so proposes others from the 34th on.

Results are appended to tuned.jsonl in the folder as they come; interrupted, the same command goes on: about 4 CPU-
minutes of search, 13 of tuning, seconds for the rest. Needs EXPLORER_DATA and EXPLORER_CHECKPOINTS.

python -m benchmarks.beacons
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import explorer
from explorer.evaluate.mean_score import MeanScore
from explorer.settings import BudgetSettings
from explorer.study.after_tuning import Reference, choose_beacons, fit_gains
from explorer.study.record import Evaluation

REPOSITORY = Path(__file__).parent.parent
TRIALS, CANDIDATES, MOST_LOSS = 80, 30, 0.42
COUNTS, DRAWS, DRAWN = (4, 6, 8), 20, 20


def choose(result: explorer.Result, count: int) -> list[Evaluation]:
    """Return evaluations of different candidates, evenly along their scores, from the best on."""
    best = result.outcome.baseline("float").search.value
    scored = {
        item.candidate: (item.score.value, item)
        for item in result.outcome.evaluations
        if item.score is not None and item.score.value >= best - MOST_LOSS
    }
    ordered = sorted(scored.values(), key=lambda scored: -scored[0])
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[place][1] for place in places.tolist()]


def tune(net: explorer.Net, candidate: explorer.Candidate) -> dict[str, Any]:
    """Return the scores on the search images before and after an epoch, in shares, and what that took."""
    images, begun = net.tensors(net.data.search), time.process_time()
    before = explorer.accuracy(explorer.compress(net, candidate), *images)
    tuned = explorer.finetune(net, candidate, epochs=1)
    assert tuned.finetuning is not None
    kept = tuned.finetuning["kept_epoch"]
    after, spent = explorer.accuracy(tuned, *images), time.process_time() - begun
    return {"before": before.value, "after": after.value, "kept_epoch": kept, "cpu_s": round(spent, 1)}


def tune_all(net: explorer.Net, candidates: Sequence[explorer.Candidate], file: Path) -> list[Mapping[str, Any]]:
    """Return the results of candidates, those from the file and those that were missing there."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = dict(json.loads(line) for line in lines)
    for place, candidate in enumerate(candidates, start=1):
        own = candidate.digest()
        if own not in found:
            found[own] = tune(net, candidate)
            with file.open("a") as opened:
                opened.write(json.dumps([own, found[own]]) + "\n")
        print(f"  {place} of {len(candidates)}: {found[own]}", flush=True)
    return [found[candidate.digest()] for candidate in candidates]


def measure_tau(predicted: Sequence[float], real: Sequence[float]) -> float:
    """Return Kendall's tau-b."""
    return float(stats.kendalltau(predicted, real).statistic)


def predict(
    items: Sequence[Evaluation], after: Sequence[MeanScore], reference: Reference, count: int, drawn: Sequence[int]
) -> tuple[float, ...]:
    """Return tau and error of those that are no beacons, tau of all, tau of the former by scores before, and coverage.

    The error is in points, coverage the share of predictions that are within two of their standard errors.
    """
    real = [score.value for score in after]
    objectives = ("accuracy", "energy", "weight_memory")
    chosen = choose_beacons([items[place] for place in drawn], (), count, reference, BudgetSettings(), objectives)
    places = [place for place, item in enumerate(items) if item.candidate in chosen]
    gains = fit_gains([items[place] for place in places], [after[place] for place in places], reference)
    predicted = gains.predict(items)
    others = [place for place in range(len(items)) if place not in places]
    values = [after[place].value if place in places else each.value for place, each in enumerate(predicted)]
    errors = np.array([predicted[place].value - real[place] for place in others])
    sure = np.abs(errors) <= 2 * np.array([predicted[place].sampling_error for place in others])
    before = [item.score.value for item in items if item.score is not None]
    return (
        measure_tau([values[place] for place in others], [real[place] for place in others]),
        100 * float(np.sqrt(np.mean(errors**2))),
        measure_tau(values, real),
        measure_tau([before[place] for place in others], [real[place] for place in others]),
        float(sure.mean()),
    )


def report(items: Sequence[Evaluation], after: Sequence[MeanScore], reference: Reference, title: str) -> None:
    """Print how well the order after tuning is predicted from scores before, without beacons and with some."""
    real, before = [score.value for score in after], [item.score.value for item in items if item.score is not None]
    loss = 100 * float(np.sqrt(np.mean((np.array(before) - np.array(real)) ** 2)))
    print(f"{title}\n  by the score before: tau {measure_tau(before, real):.3f}, {loss:.1f} points off")
    random = np.random.default_rng(0)
    draws = [random.permutation(len(items))[:DRAWN].tolist() for _ in range(DRAWS)]
    for count in (0, *COUNTS):
        rows = np.array([predict(items, after, reference, count, drawn) for drawn in (draws if count else draws[:1])])
        tau, error, whole, untuned, sure = rows.mean(0)
        print(
            f"  {count} beacons: tau {tau:.3f} +- {rows[:, 0].std(ddof=bool(count)) / len(rows) ** 0.5:.3f} of the "
            f"others ({untuned:.3f} of these by the score before), {whole:.3f} of all {len(items)}; {error:.1f} points "
            f"off, {sure:.0%} within two standard errors",
            flush=True,
        )


def main() -> None:
    """Tune, and compare the orders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4_000, help="training images")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "beacons")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--candidates", type=int, default=CANDIDATES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = explorer.load_study(REPOSITORY / "studies" / "resnet20_cifar10")
    study = replace(study, search=replace(study.search, trials=given.trials, sampler="nsga2"))
    result = explorer.run(study, given.folder)
    net = result.open_net()
    seen = replace(net.data, train=net.data.train.take(slice(given.images)))
    net = replace(net, network=replace(net.network, data=seen))
    items = choose(result, given.candidates)
    found = tune_all(net, [item.candidate for item in items], given.folder / "tuned.jsonl")
    count, reference = len(net.data.search), Reference.of(result.outcome.baselines)
    after = [MeanScore(value=each["after"], num_images=count) for each in found]
    whole = [
        replace(item, score=MeanScore(value=each["before"], num_images=count))
        for item, each in zip(items, found, strict=True)
    ]
    report(whole, after, reference, "scores before on all images")
    report(items, after, reference, "scores before as the search has them")


if __name__ == "__main__":
    main()
