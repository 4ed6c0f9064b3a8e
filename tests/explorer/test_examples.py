"""The examples in docstrings: every public class and function has one, and what it shows is what comes out."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import torch

import explorer
from explorer import api

REPOSITORY = Path(__file__).parents[2]


def run(subject: object, name: str) -> doctest.TestResults:
    """Run the examples in a docstring, and in those of a class's methods, each with names of its own."""
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder(recurse=isinstance(subject, type)).find(subject, name, globs={}):
        runner.run(test)
    return runner.summarize(verbose=False)


@pytest.mark.parametrize("name", explorer.__all__)
def test_every_public_name_has_an_example_that_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # where the studies are
    with torch.random.fork_rng():
        torch.manual_seed(0)
        results = run(getattr(api, name), name)
    assert results.attempted > 0
    assert results.failed == 0
