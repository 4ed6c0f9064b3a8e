"""Attack every reader of files: python -m tests.fuzz [--parser NAME ...] [--count N] [--seed S] [--keep FOLDER].

The same seed gives the same inputs. Without --count, 10,000 for each reader of text and 1,000 for each of binary files.
The exit code is 1 where an input ended in anything but acceptance or a refusal in short lines: a traceback, the death
of the process, a hang, a file written elsewhere, or a gigabyte of memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: what forks has one thread

from tests.fuzz.parsers import BINARY, TEXT, finished_run, parsers
from tests.fuzz.run import timed, told


def main() -> int:
    """Print a table; the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--parser", action="append", choices=(*TEXT, *BINARY))
    arguments.add_argument("--count", type=int)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep", type=Path)
    given = arguments.parse_args()
    keep = given.keep and given.keep.absolute()
    sound = True
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        finished_run(Path(folder))
        makers = parsers(Path(folder))
        for name in given.parser or makers:
            count = given.count or (10_000 if name in TEXT else 1_000)
            counts, seconds = timed(makers[name](), count, given.seed, keep)
            print("\n".join(told(name, counts, seconds)), flush=True)
            sound &= counts.is_sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
