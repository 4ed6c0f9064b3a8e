"""The [deep_compression] section: what holds for which layer, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from explorer.errors import StudyFileError
from explorer.settings import DeepCompressionSettings
from explorer.settings.records import read_record, write_record


def read(**entries: Any) -> DeepCompressionSettings:
    return read_record(DeepCompressionSettings, entries, "deep_compression")


def test_a_layer_of_its_own_and_all_others() -> None:
    settings = read(kept_linear=0.05, values_linear=8, layers={"fc1": {"kept": 0.5}, "conv1": {"values": 9}})
    assert (settings.kept("fc1", False), settings.values("fc1", False)) == (0.5, 8)
    assert (settings.kept("fc2", False), settings.values("fc2", False)) == (0.05, 8)
    assert (settings.kept("conv1", True), settings.values("conv1", True)) == (0.37, 9)
    assert read(**write_record(settings)) == settings


def test_layers_that_a_network_does_not_have_are_refused() -> None:
    settings = read(layers={"fc9": {"kept": 0.5}, "fc1": {"kept": 0.5}, "fc8": {"values": 3}})
    with pytest.raises(StudyFileError) as caught:
        settings.refuse_unknown(("conv1", "fc1"))
    known = "the network has no such layer; it has conv1, fc1"
    assert caught.value.problems == tuple(f"deep_compression.layers.{name}: {known}" for name in ("fc9", "fc8"))
    settings.refuse_unknown(("fc1", "fc8", "fc9"))


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
