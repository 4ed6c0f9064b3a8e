"""Change one number or formula of hwmodels after the other, and see that a test fails: python -m tests.mutations

With `--only TEXT`, those whose name has the text; with `--jobs N`, N at a time. The exit code is 1 where one survives,
or where its text is no longer there. One that only the snapshots catch counts as caught, and is marked: another test
should know better.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.mutations.listed import MUTATIONS
from tests.mutations.run import Caught, catch


def main() -> int:
    """Print a table; the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--jobs", type=int, default=2)
    given = arguments.parse_args()
    unchanged = catch(None)
    if any(unchanged):
        print(f"without a mutation, these fail already: {unchanged}")
        return 1
    chosen = [mutation for mutation in MUTATIONS if given.only in mutation.name]
    survivors = 0
    print("| mutation | caught by, snapshots aside | by the snapshots | caught |\n|---|---|---|---|")
    with ThreadPoolExecutor(given.jobs) as pool:
        for mutation, caught in zip(chosen, pool.map(catch, chosen), strict=True):
            print(_line(mutation.name, caught), flush=True)
            survivors += not (caught.checks or caught.by_snapshots) or bool(caught.problem)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


def _line(name: str, caught: Caught) -> str:
    """Return a row of the table."""
    if caught.problem:
        return f"| {name} | {caught.problem} | | no |"
    by = "; ".join(each.removeprefix("tests/").replace(".py::", " ") for each in caught.checks) or "none"
    found = "yes" if caught.checks else "by the snapshots alone" if caught.by_snapshots else "no"
    return f"| {name} | {by} | {'yes' if caught.by_snapshots else 'no'} | {found} |"


if __name__ == "__main__":
    sys.exit(main())
