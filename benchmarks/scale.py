"""How the time of each step of a search grows with the number of its candidates, and what memory it takes.

    python -m benchmarks.scale                    # 300 layers; 1,250, 2,500 and 5,000 candidates
    python -m benchmarks.scale --candidates 5000 20000 --sampler nsga2

A plain chain of convolutions with a classifier; what is chosen are the widths of weights and activations of each layer,
and the filters of each channel group. A score costs nothing here: what is measured is what a search adds, to ask for
candidates, to price and to store them, to go on with a few by the default sampler after an interruption, to open the
storage, to take the front, to write and to read outcome.json, to write the report, and to take the run to another
device. Seconds are CPU time of one thread, gigabytes the most that the process had up to the end of the step. The
exponent of a step is the slope of its time over the number of candidates, both logarithmic: at 1 the last one takes as
long as the first.

On a busy machine, 300 layers and 20,000 candidates, of an earlier version: to ask NSGA-II, to price and to store takes
22.4 ms each of the first 2,000 and 22.8 of the last (456 s, 1.67 GB; 2.22 GB to go on), to open the storage 6 s,
to price all again 105, to write outcome.json 21, to read it 35 with 4.26 GB, the report 14, to read the run for another
device 75 and to take it there 166 s, with 4.59 GB. Of this version, from 500 to 2,000: an exponent of .98 to ask
(40 s), 1.01 for the front (.01 s) and less for all else; before it asks for the first, a search that goes on takes
6.9 ms for each candidate more that it finds.

300 layers, 20,000 candidates, default sampler, on two cores that two and at times three processes kept busy: 127 ms
each to ask, to price and to store (2,545 s, 1.94 GB): 104 of the first 2,000, 113 to 144 of others, 130 of the last,
115 of the last 16 of 32 more behind them; how much of that is growth was not told from the company. By an earlier run
on the same code, in less company, 94.6 of the first 2,000 and 103.7 of the last up to 14,000. To go on takes 97 s and
2.27 GB before the first two rounds are there, to open the storage 6 s, to price all again 46, the front .09,
outcome.json 21 to write and 32 to read, with 4.17 GB, the report 24, to read the run for another device 67 and to take
it there 84 s, with 4.60 GB. The journal has 181 MB, outcome.json 662, report.html 5. Since then the sampler
carries over what its model misses: 125 ms each of 2,500, from 500 to 1,000 131 and of the last 500 130, beside one to
two other processes, .71 GB.

10 layers: 18.7 ms each at 2,000 and 22.2 at 5,000 (100 s, .44 GB; 1.14 from 1,250: the first 500 have a smaller model
to fit, the rest was not told from the machine's noise; the front of 5,000 .02 s); by an earlier version 20.4 at 2,000
and 20.8 at 16,000 (1.01 from 5,000 to 20,000, .84 GB).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from explorer.arrays import Int64Array
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.array_pricing import ArrayPricing
from explorer.evaluate.image_scores import pack_scores
from explorer.evaluate.known_entropies import KnownEntropies
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.pricing import Pricing
from explorer.evaluate.sampled import SampledScore
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.report.front.files import write_pages
from explorer.search.bayes import ROUND
from explorer.search.problem import Estimates, PointCosts
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings import BudgetSettings, SearchSettings, SpaceSettings
from explorer.study import front
from explorer.study.costing import candidate_cost, float_cost, summed_cost
from explorer.study.evaluated import evaluations
from explorer.study.folder import read_outcome, write_outcome, write_study
from explorer.study.graphs import keep_graphs
from explorer.study.record import FLOAT, UNIFORM, Baseline, Evaluation, FrontPoint, Outcome
from explorer.study.retarget import make_study, retarget
from explorer.study.search import Search, search
from explorer.study.storage import open_store
from explorer.study.store import Store
from explorer.study.stored_run import read_run
from explorer.study.study_file import Study, load_study
from hwmodels import Accelerator, load

SPACE = SpaceSettings(weight_bits=(2, 3, 4, 6, 8), activation_bits=(4, 6, 8), filter_keep_ratio=(0.5, 0.75, 1.0))
OBJECTIVES = ("accuracy", "energy", "weight_memory")
IMAGES = 5000
RIGHT = (np.random.default_rng(0).random(IMAGES) < 0.9).astype(float)
"""Scores of images, as the storage keeps them of each candidate."""
DEVICE, OTHER = "bitfusion", "gemmini_default"
MORE = 2 * ROUND
"""Candidates with which a search goes on that was ended."""
SHOWN = 40
"""Members of the front that are priced layer by layer, and reported: a longer front takes longer in proportion."""
_Result = TypeVar("_Result")


def chain(layers: int) -> nn.Module:
    """Return 3 x 3 convolutions with 8 channels and a classifier."""
    convolutions = [nn.Conv2d(3 if index == 0 else 8, 8, 3, padding=1) for index in range(layers - 1)]
    activated = [module for convolution in convolutions for module in (convolution, nn.ReLU())]
    return nn.Sequential(*activated, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def score(candidate: Candidate) -> MeanScore:
    """Return a score that falls with the bits that are taken from each layer, and a little by chance."""
    lost = sum(2.0**-choice.weight_bits + 2.0**-choice.activation_bits for choice in candidate.layers)
    lost += 0.2 * sum(1.0 - ratio for _, ratio in candidate.filter_keep_ratio)
    chance = random.Random(candidate.digest()).gauss(0.0, 0.005)
    right = round(IMAGES * min(1.0, max(0.0, 0.95 - 0.5 * lost / len(candidate.layers) + chance)))
    return MeanScore(value=right / IMAGES, num_images=IMAGES)


def make_search(graph: ModelGraph, accelerator: Accelerator, sampler: str, trials: int) -> Search:
    """Return a search without seeds whose scores cost nothing."""
    pricing, space = Pricing(graph, accelerator), make_search_space(graph, SPACE)
    return Search(
        space=space,
        settings=SearchSettings(trials=trials, population=50, seeds=0, sampler=sampler),
        seed=0,
        seeds=(),
        objectives=OBJECTIVES,
        price_candidate=lambda candidate: summed_cost(graph, pricing.price(candidate)),
        score_candidate=lambda candidate, rival: SampledScore(mean=score(candidate), scores=RIGHT),
        list_entropies=lambda candidate: (4.0,) * len(graph.layers),
        budgets=BudgetSettings(),
        estimates=make_estimates(graph, space, accelerator),
    )


def make_estimates(graph: ModelGraph, space: SearchSpace, accelerator: Accelerator) -> Estimates:
    """Return the costs of points, and the losses that `score` takes."""
    pricing = ArrayPricing(graph, space, accelerator)

    def price_points(points: Int64Array) -> PointCosts:
        found = pricing.price(points)
        return PointCosts(np.column_stack((found.energy_uj, found.weight_bytes)), np.ones(len(points), dtype=np.bool_))

    table = Sensitivity(
        weights={
            layer: {choice: 2.0**-choice.weight_bits for choice in space.weight_choices(layer)}
            for layer in space.layers
        },
        activations={layer: {bits: 2.0**-bits for bits in SPACE.activation_bits} for layer in space.layers},
        filters={
            group.name: {ratio: 0.2 * (1.0 - ratio) for ratio in SPACE.filter_keep_ratio} for group in graph.prunable
        },
    )
    return Estimates(price_points=price_points, list_losses=lambda: table)


def measure(layers: int, trials: int, sampler: str, before: dict[str, float], last: int) -> dict[str, float]:
    """Return CPU seconds of each step; print them as it ends, and what they grow by from those of `last` trials."""
    print(f"{trials:,} candidates of {layers} layers", flush=True)
    network, images = chain(layers), torch.rand(4, 3, 4, 4)
    graph, accelerator = trace(canonicalise(network, images), images), load(DEVICE)
    study = replace(
        load_study("digits"),
        space=SPACE,
        budgets=BudgetSettings(),
        search=SearchSettings(trials=trials, seeds=0, sampler=sampler),
    )
    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[[], _Result]) -> _Result:
        start = time.process_time()
        result = work()
        spent = seconds[name] = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        slope = math.log(spent / before[name]) / math.log(trials / last) if before else math.nan
        grown = "" if math.isnan(slope) else f", exponent {slope:.2f}"
        print(f"  {name:22} {spent:9.2f} s {1e3 * spent / trials:9.3f} ms each {memory:6.2f} GB{grown}", flush=True)
        return result

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write_study(folder, study)
        keep_graphs(folder, [graph], KnownEntropies.of(lambda _: graph, [(uniform(graph), (7.0,) * layers)]))
        step("ask, price and store", lambda: run(graph, accelerator, sampler, trials, folder, study))
        more = trials + MORE
        step(f"go on with {MORE} more", lambda: run(graph, accelerator, "bayes", more, folder, study))
        store = step("open the storage", lambda: opened(folder, study))
        task = make_search(graph, accelerator, sampler, trials)
        found = step("price all again", lambda: evaluations(task, store))
        members = step("front", lambda: front.front(found, OBJECTIVES))[:SHOWN]
        step("remember scores", lambda: remember(store, trials // 10))
        outcome = make_outcome(graph, accelerator, study, found, members)
        step("write outcome.json", lambda: write_outcome(folder, outcome))
        step("read outcome.json", lambda: read_outcome(folder))
        step("report", lambda: write_pages(outcome, folder))
        stored = step("retarget: read", lambda: read_run(folder))
        step("retarget", lambda: retarget(stored, make_study(study, OTHER, {})))
        sizes = {path.name: path.stat().st_size / 1e6 for path in folder.iterdir()}
    files = ", ".join(f"{name} {sizes[name]:.0f} MB" for name in ("search.journal", "outcome.json", "report.html"))
    print(f"  front {len(members)} of {len(found)}; {files}", flush=True)
    return seconds


def opened(folder: Path, study: Study) -> Store:
    """Open the storage of the search, as an explorer run does that goes on."""
    return open_store(folder, "journal", study.name, OBJECTIVES, {"study": study.digest()})


def run(graph: ModelGraph, accelerator: Accelerator, sampler: str, trials: int, folder: Path, study: Study) -> None:
    """Search, and say after each tenth how long one candidate takes there."""
    marks: list[tuple[int, float]] = []

    def progress(done: int, total: int) -> None:
        first, start = marks[-1] if marks else (done, time.process_time())
        if not marks:
            marks.append((done, start))
        elif done > first and (done - first >= max(ROUND, (total - marks[0][0]) // 10) or done == total):
            marks.append((done, time.process_time()))
            print(f"  {done:,} of {total:,}: {1e3 * (marks[-1][1] - start) / (done - first):.1f} ms each", flush=True)

    search(make_search(graph, accelerator, sampler, trials), opened(folder, study), progress)


def remember(store: Store, count: int) -> None:
    """Keep scores as of members of a front."""
    for number in range(count):
        store.remember_score(f"held_out/0/{number}", pack_scores(RIGHT))


def make_outcome(
    graph: ModelGraph,
    accelerator: Accelerator,
    study: Study,
    found: tuple[Evaluation, ...],
    members: Sequence[Evaluation],
) -> Outcome:
    """Return the outcome of the search, whose held-out scores are those of the search."""
    costs = {FLOAT: float_cost(graph, accelerator), UNIFORM: candidate_cost(graph, uniform(graph), accelerator)}
    eight = score(uniform(graph))
    return Outcome(
        study=study.to_json(),
        device=accelerator.name,
        device_title=accelerator.title,
        objectives=OBJECTIVES,
        baselines=tuple(Baseline(name=name, cost=cost, search=eight, held_out=eight) for name, cost in costs.items()),
        front=tuple(
            FrontPoint(
                name=f"p{place:02d}",
                evaluation=replace(item, cost=candidate_cost(graph, item.candidate, accelerator)),
                held_out=item.score or eight,
            )
            for place, item in enumerate(members, start=1)
        ),
        evaluations=found,
        skipped=(),
        provenance={},
    )


def main() -> None:
    """Measure all sizes, each in a process of its own, and print exponents between them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=300)
    parser.add_argument("--candidates", type=int, nargs="+", default=[1250, 2500, 5000])
    parser.add_argument("--sampler", default="bayes")
    wanted = parser.parse_args()
    before: dict[str, float] = {}
    last = 0
    for trials in wanted.candidates:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            before = pool.apply(measure, (wanted.layers, trials, wanted.sampler, before, last))
        last = trials


if __name__ == "__main__":
    main()
