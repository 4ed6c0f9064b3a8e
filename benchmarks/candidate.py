"""What one candidate of the default study costs in CPU time: its price on the device, its network, its accuracy.

Prints the three times and their ratio to pricing alone, which is what a candidate over budget costs.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate
from explorer.evaluate.pricing import Pricing
from explorer.evaluate.score import score_images
from explorer.search.space import make_search_space
from explorer.study.prepare import open_study
from explorer.study.study_file import load_study

CANDIDATES = 30


def cpu_seconds(work: Callable[[Candidate], object], candidates: list[Candidate]) -> float:
    """Return CPU seconds for one candidate, mean over all, after one that does not count."""
    work(candidates[0])
    start = time.process_time()
    for candidate in candidates:
        work(candidate)
    return (time.process_time() - start) / len(candidates)


def main() -> None:
    """Prepare the default study in a temporary folder and time random candidates."""
    torch.set_num_threads(1)
    study = load_study("digits")
    with tempfile.TemporaryDirectory() as folder:
        prepared = open_study(study, Path(folder), lambda stage, done, total: None)
    space = make_search_space(prepared.context.graph, study.space)
    draw = random.Random(0)
    candidates = [
        space.candidate({axis.name: draw.randrange(len(axis.values)) for axis in space.axes}) for _ in range(CANDIDATES)
    ]
    images, labels = prepared.tensors(prepared.data.search)
    models = {candidate.digest(): apply(prepared.context, candidate) for candidate in candidates}
    times = {
        "price": cpu_seconds(Pricing(prepared.context.graph, prepared.accelerator).price, candidates),
        "build": cpu_seconds(lambda c: apply(prepared.context, c), candidates),
        "score": cpu_seconds(lambda c: score_images(models[c.digest()], images, labels, 400), candidates),
    }
    for name, seconds in times.items():
        print(f"{name:6} {seconds * 1e3:8.2f} ms CPU, {seconds / times['price']:6.1f} times pricing")


if __name__ == "__main__":
    main()
