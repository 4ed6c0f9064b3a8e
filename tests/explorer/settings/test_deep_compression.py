"""The [deep_compression] section: what holds for which layer, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from explorer.errors import StudyFileError
from explorer.records import read_record, write_record
from explorer.settings import DeepCompressionSettings


def read(**entries: Any) -> DeepCompressionSettings:
    return read_record(DeepCompressionSettings, entries, "deep_compression")


def test_a_layer_of_its_own_and_all_others() -> None:
    settings = read(kept_linear=0.05, values_linear=8, layers={"fc1": {"kept": 0.5}, "conv1": {"values": 9}})
    assert (settings.kept("fc1", False), settings.values("fc1", False)) == (0.5, 8)
    assert (settings.kept("fc2", False), settings.values("fc2", False)) == (0.05, 8)
    assert (settings.kept("conv1", True), settings.values("conv1", True)) == (0.37, 9)
    assert read(**write_record(settings)) == settings


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"kept_linear": 0}, "deep_compression.kept_linear: expected a number above 0 and of at most 1, received 0"),
        ({"values_linear": 1}, "deep_compression.values_linear: expected an integer in 2..256, received 1"),
        ({"rounds": 0}, "deep_compression.rounds: expected an integer in 1..100, received 0"),
        ({"weight_bits": 9}, "deep_compression.weight_bits: expected an integer in 2..8, received 9"),
        ({"layers": {"a": {"keep": 1}}}, "deep_compression.layers.a.keep: unknown key; did you mean 'kept'?"),
    ],
)
def test_a_wrong_key_is_refused(entries: dict[str, Any], problem: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        read(**entries)
    assert caught.value.problems == (problem,)
