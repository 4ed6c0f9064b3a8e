"""Freed memory stays with the process where glibc can be told so, and nothing happens elsewhere."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import explorer
from explorer.allocator import (
    LARGEST_FREE,
    LARGEST_KEPT,
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    keep_freed_memory,
    keep_imports,
)
from explorer.study.network import open_network

MODEL = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))"
IMAGES = "torch.rand(20, 1, 4, 4), torch.arange(20) % 2"
REUSE = """
import resource, torch, explorer
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
START
torch.ones(2**24)
print(before, faults())
"""
"""How often pages come from the kernel for tensors of 64 MB, before and after something."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[tuple[int, int]]:
    """Return what mallopt is asked for, which takes values up to a limit, without settings in the environment."""
    limit = getattr(request, "param", 2**31)
    for name in [*filter(lambda name: name.startswith("MALLOC_"), os.environ), "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name, raising=False)
    calls: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        calls.append((name, value))
        return int(value <= limit)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    return calls


EXPECTED = [(M_MMAP_THRESHOLD, LARGEST_KEPT[0]), (M_TRIM_THRESHOLD, LARGEST_FREE)]


def test_both_thresholds_fit_an_int_and_are_asked_for(asked: list[tuple[int, int]]) -> None:
    assert keep_freed_memory()
    assert asked == EXPECTED
    assert all(0 < value < 2**31 for _, value in asked)


@pytest.mark.parametrize("asked", [2**25], indirect=True)
def test_a_refused_size_is_followed_by_one_that_older_versions_take(asked: list[tuple[int, int]]) -> None:
    keep_freed_memory()
    assert [value for name, value in asked if name == M_MMAP_THRESHOLD] == [2**30, 2**25]
    assert asked[-1] == (M_TRIM_THRESHOLD, LARGEST_FREE)


@pytest.mark.parametrize("asked", [0], indirect=True)
def test_where_no_size_is_taken_the_other_threshold_stays(asked: list[tuple[int, int]]) -> None:
    assert not keep_freed_memory()
    assert {name for name, _ in asked} == {M_MMAP_THRESHOLD}


@pytest.mark.parametrize("call", ["open", "score"])
def test_it_is_asked_for_where_work_starts(asked: list[tuple[int, int]], call: str) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    assert asked == []
    getattr(explorer, call)(model, torch.rand(20, 1, 4, 4), torch.arange(20) % 2)
    assert asked == EXPECTED


def test_a_study_asks_for_it(asked: list[tuple[int, int]]) -> None:
    open_network(explorer.load_study("digits"))
    assert asked == EXPECTED


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "0"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1")]
)
def test_settings_of_the_environment_win(
    asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert not keep_freed_memory()
    assert asked == []


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_without_mallopt_nothing_happens(
    asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    class Library:
        def __init__(self, name: object) -> None:
            if error is not AttributeError:
                raise error

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert not keep_freed_memory()
    assert asked == []


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs a C library with mallopt, as glibc")
@pytest.mark.parametrize("start", [f"explorer.open({MODEL}, {IMAGES})", f"explorer.accuracy({MODEL}, {IMAGES})"])
def test_large_tensors_get_the_memory_of_those_before(start: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run(
        [sys.executable, "-c", REUSE.replace("START", start)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, result.stdout.split())
    assert before >= 5 * 2**26 / 2**21, "pages of at most 2 MB should have come for every tensor"
    assert after < before / 5


def test_imports_are_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    try:
        with keep_imports():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_what_may_be_garbage_is_collected() -> None:
    with keep_imports():  # torch is here already
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
