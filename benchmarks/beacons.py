"""How well tuning a few candidates tells which of the others will be good once they are tuned: Kendall's tau.

The study is studies/resnet20_cifar10 as it is, of which the first 80 candidates are taken. Of those that lose at most
42 points 30 are chosen evenly along their scores, and each is really tuned for one epoch by the study's [finetuning] on
4,000 training images, and scored before and after on all 5,000 search images.

Results are appended to tuned.jsonl in the folder as they come; interrupted, the same command goes on. Needs
EXPLORER_DATA and EXPLORER_CHECKPOINTS.

python -m benchmarks.beacons
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import explorer

REPOSITORY = Path(__file__).parent.parent
TRIALS, CANDIDATES, MOST_LOSS = 80, 30, 0.42


def choose(result: explorer.Result, count: int) -> list[explorer.Candidate]:
    """Return different candidates of a search, evenly along their scores, from the best on."""
    best = result.outcome.baseline("float").search.value
    scored = {
        item.candidate: item.score.value
        for item in result.outcome.evaluations
        if item.score is not None and item.score.value >= best - MOST_LOSS
    }
    ordered = sorted(scored, key=lambda candidate: -scored[candidate])
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[place] for place in places.tolist()]


def tune(net: explorer.Net, candidate: explorer.Candidate) -> dict[str, Any]:
    """Return the scores on the search images before and after an epoch, in shares, and what that took."""
    images, begun = net.tensors(net.data.search), time.process_time()
    before = explorer.accuracy(explorer.compress(net, candidate), *images)
    tuned = explorer.finetune(net, candidate, epochs=1)
    assert tuned.finetuning is not None
    kept = tuned.finetuning["kept_epoch"]
    after, spent = explorer.accuracy(tuned, *images), time.process_time() - begun
    return {"before": before.value, "after": after.value, "kept_epoch": kept, "cpu_s": round(spent, 1)}


def tune_all(net: explorer.Net, candidates: list[explorer.Candidate], file: Path) -> dict[str, Mapping[str, Any]]:
    """Return the results of candidates by their digest, those from the file and those that were missing there."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = dict(json.loads(line) for line in lines)
    for place, candidate in enumerate(candidates, start=1):
        own = candidate.digest()
        if own not in found:
            found[own] = tune(net, candidate)
            with file.open("a") as opened:
                opened.write(json.dumps([own, found[own]]) + "\n")
        print(f"  {place} of {len(candidates)}: {found[own]}", flush=True)
    return found


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
    study = replace(study, search=replace(study.search, trials=given.trials))
    result = explorer.run(study, given.folder)
    net = result.open_net()
    seen = replace(net.data, train=net.data.train.take(slice(given.images)))
    net = replace(net, network=replace(net.network, data=seen))
    candidates = choose(result, given.candidates)
    tune_all(net, candidates, given.folder / "tuned.jsonl")


if __name__ == "__main__":
    main()
