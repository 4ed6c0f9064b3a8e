"""The examples in docstrings: every public class and function has one, and what it shows is what comes out."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import hwmodels

PUBLIC = [name for name in hwmodels.__all__ if callable(getattr(hwmodels, name))]


def run(subject: object, name: str) -> doctest.TestResults:
    """Run the examples in a docstring, and in those of a class's methods, each with names of its own."""
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder(recurse=isinstance(subject, type)).find(subject, name, globs={}):
        runner.run(test)
    return runner.summarize(verbose=False)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example_that_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = run(getattr(hwmodels, name), name)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_example_of_the_package_runs() -> None:
    results = run(hwmodels, "hwmodels")
    assert results.attempted > 0
    assert results.failed == 0


def test_a_wrong_example_is_found() -> None:
    def wrong() -> None:
        """Return nothing.

        >>> 1 + 1
        3
        """

    assert run(wrong, "wrong").failed == 1
