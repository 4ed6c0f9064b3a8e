"""The list of mutations is of the package as it is; whether each is caught, `make mutations` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mutations.listed import MUTATIONS, Mutation
from tests.mutations.run import REPOSITORY, mutate


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_its_text_is_there_once(mutation: Mutation, tmp_path: Path) -> None:
    file = tmp_path / mutation.file
    file.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / "hwmodels" / mutation.file, file)
    assert mutate(tmp_path, mutation) == ""
    assert mutation.old != mutation.new
    assert file.read_text(encoding="utf-8").count(mutation.new) >= 1


def test_a_text_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    said = mutate(tmp_path, Mutation("none", "a.py", "y = 1", "y = 2"))
    assert said == "expected the text once in a.py, found it 0 times: 'y = 1'"


def test_there_are_twenty_that_differ() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 20
