"""What taking a run to each device that comes with explorer costs, and whether its costs are those of a search there.

    python -m benchmarks.retarget                 # searches the digits first, 300 candidates for Bit Fusion
    python -m benchmarks.retarget runs/digits     # a run that is there

For each device: CPU seconds of `explorer retarget RUN --device DEVICE`, imports and all, in a process of its own;
candidates whose cost is not exactly the one that a search on that device gives it, with the network and its weights;
members of the front, how many of them were on that of the run, and how many have a held-out score.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import explorer
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.study.folder import read_study
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.retarget import make_study, retarget
from explorer.study.run import make_price
from explorer.study.stored_run import StoredRun, read_run
from hwmodels import load, names

TRIALS = 300


def count_other_costs(run: StoredRun, prepared: PreparedStudy, device: str) -> tuple[int, int]:
    """Return candidates that cost something else by the network itself, and all that are compared."""
    accelerator = load(device)
    entropies = WeightEntropies.of(prepared.context.for_search(), accelerator)
    price_candidate = make_price(replace(prepared, accelerator=accelerator), entropies, prepared.coded)
    found = retarget(run, make_study(run.study, device, {})).outcome.evaluations
    return sum(price_candidate(item.candidate) != item.cost for item in found), len(found)


def time_command(folder: Path, device: str) -> float:
    """Return CPU seconds of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = "import sys; from explorer.cli import main; main(sys.argv[1:])"
    arguments = [sys.executable, "-c", program, "retarget", str(folder), "--device", device]
    subprocess.run(arguments, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(folder: Path) -> None:
    """Print a line for each device."""
    run = read_run(folder)
    prepared = open_study(read_study(folder), folder)
    print(f"{len(run.trials)} candidates of {run.study.name}, searched for {run.study.device.profile}")
    print(f"{'device':20} {'CPU s':>6} {'other costs':>12} {'front':>6} {'entered':>8} {'held out':>9}")
    for device in names():
        seconds = time_command(folder, device)
        other, priced = count_other_costs(run, prepared, device)
        found = retarget(run, make_study(run.study, device, {}))
        known = sum(point.held_out.num_images > 0 for point in found.outcome.front)
        entered = len(found.entered or ())
        compared, size = f"{other} of {priced}", len(found.outcome.front)
        print(f"{device:20} {seconds:6.2f} {compared:>12} {size:6} {entered:8} {known:9}", flush=True)


def main() -> None:
    """Compare on a run that is named, or on a new one."""
    if len(sys.argv) > 1:
        compare(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as home:
        study = explorer.load_study("digits")
        search = replace(study.search, trials=TRIALS, sampler="nsga2", least_gain=0.0)
        explorer.run(replace(study, search=search), Path(home) / "run")
        compare(Path(home) / "run")


if __name__ == "__main__":
    main()
