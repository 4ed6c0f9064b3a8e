"""Evaluations a second with one process and with two, and what a storage takes of CPU time for each of them.

Processes: random candidates of a study are evaluated by one and by two processes in turn, as in `explorer run --jobs`.
Printed are the rates of each pair with the machine's load before it, the CPU time of an evaluation, and how much of the
time of its cores the processes got: on idle cores 100 %; the ratio says something where it does.

Search: candidates drawn at random are stored, handed out and completed, while processes do nothing for 30 ms each; what
they then wait for longer is for the process that proposes.

Storage: a trial of 48 choices is proposed, claimed, recorded, completed and polled for as in a run, packed into a few
attributes; beside it Optuna's own way, a parameter for each choice. CPU time is that of this process, not the server's.

python -m benchmarks.workers [STUDY] [--candidates 60] [--pairs 5] [--images 0] [--storage URL]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import optuna
import torch

from benchmarks.scale import chain, make_search
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.evaluate.mean_score import MeanScore
from explorer.graph.canonical import canonicalise
from explorer.graph.trace import trace
from explorer.study.jobs import Evaluate, Processes, evaluate
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.run import make_space
from explorer.study.sampling import compute_order, make_entropies, make_scorer
from explorer.study.search import search
from explorer.study.storage import connect, open_store
from explorer.study.store import OPEN
from explorer.study.study_file import load_study
from explorer.study.trials import Proposed, TrialResult
from hwmodels import load

CHOICES, TRIALS = 48, 40
SEARCHED_LAYERS, SEARCHED, EVALUATION_S = 10, 200, 0.03
OBJECTIVES = ("accuracy", "energy")


@dataclass(frozen=True)
class Pace:
    """Evaluations a second, CPU seconds of one, and the share of their cores' time that the processes got."""

    rate: float
    cpu_s: float
    share: float


def measure(work: Evaluate, candidates: list[Candidate], count: int) -> Pace:
    """Evaluate all candidates by `count` processes that have started already."""
    processes = Processes(work, count)
    left, found = list(enumerate(candidates[:count])), 0
    for warm in (True, False):
        left = list(enumerate(candidates[:count] if warm else candidates))
        wanted, found, before, start_s = len(left), 0, cpu_of(processes), time.perf_counter()
        while found < wanted:
            while processes.free and left:
                processes.start(*left.pop(), "")
            found += len(processes.collect(1.0))
    wall_s, cpu_s = time.perf_counter() - start_s, cpu_of(processes) - before
    processes.close()
    return Pace(len(candidates) / wall_s, cpu_s / len(candidates), cpu_s / wall_s / count)


def cpu_of(processes: Processes) -> float:
    """Return the CPU seconds that the processes have taken so far."""
    ticks = 0
    for child in processes.children:
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def compare_jobs(prepared: PreparedStudy, count: int, pairs: int) -> None:
    """Print the rates of one process and of two, pair by pair, and their ratio."""
    space, draw = make_space(prepared), random.Random(0)
    candidates = [
        space.candidate({axis.name: draw.randrange(len(axis.values)) for axis in space.axes}) for _ in range(count)
    ]
    work = partial(evaluate, make_scorer(prepared, compute_order(prepared)), make_entropies(prepared))
    ratios, costs = [], []
    for pair in range(pairs):
        load = os.getloadavg()[0]
        one, two = (measure(work, candidates, jobs) for jobs in (1, 2))
        ratios.append(two.rate / one.rate)
        costs.append(two.cpu_s / one.cpu_s)
        print(
            f"pair {pair + 1}: {one.rate:7.2f} a second with one, {two.rate:7.2f} with two ({ratios[-1]:.2f} times); "
            f"CPU {one.cpu_s * 1e3:.1f} and {two.cpu_s * 1e3:.1f} ms each; got {one.share:.0%} of one core and "
            f"{two.share:.0%} of two; load {load:.1f}",
            flush=True,
        )
    cost = statistics.median(costs)
    print(
        f"median ratio {statistics.median(ratios):.2f}; an evaluation takes {cost:.2f} times the CPU time with two, by "
        f"which two would be {2 / cost:.2f} times as fast"
    )


def compare_waits() -> None:
    """Print how long processes wait for the one that proposes, of a search whose evaluations only take time."""
    network, images = chain(SEARCHED_LAYERS), torch.rand(4, 3, 4, 4)
    graph, accelerator = trace(canonicalise(network, images), images), load("bitfusion")
    task = make_search(graph, accelerator, "random", SEARCHED)

    def evaluate_slowly(candidate: Candidate, rival: str) -> TrialResult:
        time.sleep(EVALUATION_S)
        return evaluate(task.score_candidate, task.list_entropies, candidate, rival)

    for count in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder), "journal", "bench", task.objectives, {})
            processes = Processes(evaluate_slowly, count)
            start_s = time.perf_counter()
            search(task, store, lambda done, total: None, processes)
            each_s = (time.perf_counter() - start_s) * count / SEARCHED
            processes.close()
        waits = f"{(each_s - EVALUATION_S) * 1e3:.1f} ms beside {EVALUATION_S * 1e3:.0f} ms of evaluation"
        print(f"search with {count} processes: each waits {waits} for each candidate", flush=True)


def compare_storages(url: str | None) -> None:
    """Print the CPU time of a trial, packed and with a parameter for each choice."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        for each in ("journal", *([url] if url else [])):
            packed_s = time_packed(Path(folder), each)
            plain_s = time_plain(each, folder)
            shown = each.partition(":")[0]
            print(
                f"{shown}: {packed_s * 1e3:.1f} ms CPU for a trial of {CHOICES} choices, "
                f"{plain_s * 1e3:.1f} with a parameter for each"
            )


def time_packed(folder: Path, url: str) -> float:
    """Return CPU seconds of a trial as a run stores it."""
    store = open_store(folder, url, f"bench-{uuid4().hex}", OBJECTIVES, {})
    layers = tuple(LayerChoice(layer=f"layer{number}", weight_bits=4) for number in range(CHOICES // 2))
    candidate = Candidate(layers=layers, filter_keep_ratio=())
    result = TrialResult(score=MeanScore(value=0.9, num_images=100), entropies=(1.5,) * len(layers))
    start_s = time.process_time()
    for number in range(TRIALS):
        store.propose(number, Proposed((1,) * CHOICES, candidate, "nsga2"))
        store.trials(OPEN)
        store.claim(number)
        store.record(number, candidate, result)
        store.trials(OPEN)
        store.complete(number, (0.9, 1.0))
    return (time.process_time() - start_s) / TRIALS


def time_plain(url: str, folder: str) -> float:
    """Return CPU seconds of a trial as Optuna stores it."""
    backend = optuna.storages.journal.JournalFileBackend(f"{folder}/plain")
    storage = optuna.storages.JournalStorage(backend) if url == "journal" else connect(url)
    study = optuna.create_study(
        storage=storage,
        study_name=f"bench-{uuid4().hex}",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    start_s = time.process_time()
    for _ in range(TRIALS):
        trial = study.ask()
        for choice in range(CHOICES):
            trial.suggest_int(f"choice{choice}", 0, 6)
        study.tell(trial, (0.9, 1.0))
    return (time.process_time() - start_s) / TRIALS


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path, default="digits")
    parser.add_argument("--candidates", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=0, help="score on so many images instead of the study's")
    parser.add_argument("--storage", help="a database URL, measured beside the journal")
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(given.study)
    if given.images:
        study = replace(study, data=replace(study.data, search=given.images))
    with tempfile.TemporaryDirectory() as folder:
        prepared = open_study(study, Path(folder))
        compare_jobs(prepared, given.candidates, given.pairs)
    compare_waits()
    compare_storages(given.storage)


if __name__ == "__main__":
    main()
