"""One mutation in a copy of hwmodels and its tests, and which of these fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.mutations.listed import Mutation

REPOSITORY = Path(__file__).parents[2]
COPIED = ("hwmodels", "tests")
"""Folders; all else is linked to."""
SNAPSHOTS = "tests/golden/test_snapshots.py"
"""What compares the package with what it said before: a change shows there, but not whether it is right."""
CHECKS = ("tests/hwmodels/device", "tests/hwmodels/storage", "tests/golden", "tests/hwmodels/cost")
"""Tests that know better: published figures, hand values, second formulas."""
LEFT_OUT = ("*_stud*.py", "test_vela_settings.py", "test_snapshots.py")
"""Of results that a mutation cannot change, of another compiler, and of what runs by itself."""
CONFTEST = """
from hypothesis import HealthCheck, settings
settings.register_profile(
    "few", max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("few")
"""
"""In the place of the tests' own, which imports torch for longer than these tests take."""
ENOUGH = 3
"""Failing tests to name."""


class Caught(NamedTuple):
    """What fails with a mutation in place."""

    checks: tuple[str, ...]
    """Tests that know better, at most ENOUGH of them."""
    by_snapshots: bool
    problem: str = ""
    """Why nothing could be said: the text is not there, or the tests did not run."""


def catch(mutation: Mutation | None) -> Caught:
    """Return what fails with a mutation in place; None is none."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for source in REPOSITORY.glob("[!.]*"):
            if source.name in COPIED:
                shutil.copytree(source, copy / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (copy / source.name).symlink_to(source)
        (copy / "tests/conftest.py").write_text(CONFTEST, encoding="utf-8")
        if mutation is not None:
            problem = mutate(copy / "hwmodels", mutation)
            if problem:
                return Caught((), False, problem)
        left_out = [f"--ignore-glob={copy / 'tests' / 'golden' / pattern}" for pattern in LEFT_OUT]
        checks, problem = _failures(copy, [*CHECKS, *left_out, f"--maxfail={ENOUGH}"])
        snapshots, other = _failures(copy, [SNAPSHOTS])
        return Caught(checks, bool(snapshots), problem or other)


def mutate(package: Path, mutation: Mutation) -> str:
    """Write one text for another; the answer is what is wrong, if anything."""
    file = package / mutation.file
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if text.count(mutation.old) != 1:
        return f"expected the text once in {mutation.file}, found it {text.count(mutation.old)} times: {mutation.old!r}"
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return ""


def _failures(copy: Path, arguments: list[str]) -> tuple[tuple[str, ...], str]:
    """Return the tests that fail in the copy, and what is wrong if they cannot run."""
    golden = os.environ.get("EXPLORER_GOLDEN", str(REPOSITORY / "../shared/golden"))
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "EXPLORER_GOLDEN": golden,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-m", "not slow", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    ran = done.returncode in (0, 1) or (done.returncode == 2 and failed)  # 2: a file that cannot be imported
    return tuple(failed), "" if ran else (done.stdout + done.stderr)[-500:]
