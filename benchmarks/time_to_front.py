"""CPU time from the command to a front above both networks of Sony's Model Compression Toolkit, ResNet-20 on CIFAR-10.

The command is `explorer run benchmarks/time_to_front.toml` in a fresh process and an empty folder: start and imports,
reading the images, tracing, relevance, the search, its front scored on 500 held-out images, and the report. CPU time
is that of the process, user and system, on one thread.

MCT 2.6.1 is not installed here: what it gave for the same checkpoint with activations of 8 bits, on all 10,000 test
images and without training, and the seconds that it took, were measured elsewhere on this kind of machine and are
stated. Its bytes are those of weights at their widths. Ours are the flash of an Ethos-U55 by the device model, weights
at their entropy and 10 bytes for the bias and scale of a filter; beside them stand those of a whole coded file, which
are no estimate.

A member is above both where it takes no more bytes than one of them and is better. The command chooses by 1,000 images
of the search. Here, after its time was taken, the members of its front are scored once on all 9,000 other test images,
those that the command has held out among them.

Needs EXPLORER_DATA and EXPLORER_CHECKPOINTS; says so and ends where they are not set.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import explorer
from explorer.data.load import load_data
from explorer.evaluate.coded_size import count_coded_bytes

STUDY = Path(__file__).with_suffix(".toml")
OTHERS = ((133_552, 0.9119), (100_144, 0.7973))
"""Bytes and accuracy of MCT's networks: averages of 4 and 3 bits of its widths 2, 4 and 8."""
OTHERS_S = 17.0 + 7.0
"""What MCT took for the two."""
WANTED = 10
"""Members above both."""
TEST_IMAGES = 10_000


def run(folder: Path) -> tuple[float, float]:
    """Run the command and return its CPU seconds and those on the clock."""
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", "from explorer.cli import main; main()", "run", str(STUDY), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu_s, time.monotonic() - start_s


def is_above(num_bytes: int, accuracy: float) -> bool:
    """Return whether a network takes no more bytes than one of MCT's and is better."""
    return any(num_bytes <= most and accuracy > other for most, other in OTHERS)


def report(folder: Path) -> None:
    """Score the front on all test images that the search did not see, and print it."""
    result = explorer.load(folder)
    settings = explorer.load_study(STUDY).data
    num_search = settings.search or 0
    unseen = load_data(replace(settings, held_out=TEST_IMAGES - num_search)).held_out
    above = {"search": 0, "other": 0, "all": 0}
    print(f"{'':6}{'bytes':>9}{'file':>9}{'search':>9}{f'{len(unseen):,} others':>16}{'all':>9}   above both by these")
    for point in result.front:
        model = point.build()
        found = explorer.accuracy(model, unseen.images, unseen.targets)
        whole = (point.score.value * num_search + found.value * len(unseen)) / TEST_IMAGES
        shares = {"search": point.score.value, "other": found.value, "all": whole}
        holds = [name for name, share in shares.items() if is_above(point.cost.weight_bytes, share)]
        for name in holds:
            above[name] += 1
        print(
            f"{point.name:6}{point.cost.weight_bytes:>9,}{count_coded_bytes(model):>9,}{point.score.value:>9.2%}"
            f"{found.value:>16.2%}{whole:>9.2%}   {', '.join(holds)}",
            flush=True,
        )
    told = ", ".join(f"{count} by {name} images" for name, count in above.items())
    print(
        f"above MCT's {' and '.join(f'{most:,} bytes {share:.2%}' for most, share in OTHERS)}: {told} (wanted {WANTED})"
    )


def main() -> None:
    """Print the CPU time of the command, and the front of its first run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="times the command is run")
    arguments = parser.parse_args()
    if not {"EXPLORER_DATA", "EXPLORER_CHECKPOINTS"} <= os.environ.keys():
        print("time_to_front: set EXPLORER_DATA and EXPLORER_CHECKPOINTS")
        return
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for number in range(arguments.runs):
            load = os.getloadavg()[0]
            cpu_s, wall_s = run(Path(folder) / str(number))
            taken.append(cpu_s)
            print(f"run {number + 1}: {cpu_s:.1f} CPU-s, {wall_s:.1f} s on the clock; load {load:.1f}", flush=True)
        print(f"least {min(taken):.1f} CPU-s; MCT's two networks {OTHERS_S:.0f} s (stated)")
        report(Path(folder) / "0")


if __name__ == "__main__":
    main()
