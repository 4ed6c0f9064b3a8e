"""The [quantizer] section: defaults, and one line for each wrong key."""

from __future__ import annotations

import pytest

from explorer.errors import StudyFileError
from explorer.settings import QuantizerSettings
from explorer.settings.records import read_record, write_record


def test_defaults_are_what_a_search_can_afford() -> None:
    settings = QuantizerSettings()
    assert (settings.scale_granularity, settings.rounding, settings.activation_ranges) == ("channel", "nearest", "mse")
    assert settings.bias_correction
    assert settings.recalibration_images is None
    assert read_record(QuantizerSettings, write_record(settings), "quantizer") == settings


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scale_granularity", "layer", 'quantizer.scale_granularity: expected "channel" or "tensor"'),
        ("rounding", "adaptiv", "did you mean 'adaptive'?"),
        ("rounding_images", 0, "quantizer.rounding_images: expected an integer in 1..2147483647, received 0"),
        ("activation_percentile", 101, "of at most 100, received 101"),
        ("bias_correction", 1, "expected true or false, received 1"),
        ("recalibration_images", -1, "quantizer.recalibration_images"),
        ("round", "nearest", "quantizer.round: unknown key"),
    ],
)
def test_a_wrong_key_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        read_record(QuantizerSettings, {key: value}, "quantizer")
    assert len(caught.value.problems) == 1
    assert message in caught.value.problems[0]


@pytest.mark.parametrize("key", ["compensation", "front_compensation"])
def test_merging_does_not_go_with_adaptive_rounding(key: str) -> None:
    with pytest.raises(StudyFileError, match=rf"quantizer\.{key}: expected no merging with adaptive rounding"):
        read_record(QuantizerSettings, {"rounding": "adaptive", key: "merge"}, "quantizer")


@pytest.mark.parametrize(
    ("key", "value"), [("rounding", "adaptive"), ("compensation", "propagated"), ("front_compensation", "propagated")]
)
def test_what_changes_scales_leaves_no_powers_of_two(key: str, value: str) -> None:
    with pytest.raises(StudyFileError, match=r"quantizer\.power_of_two: expected false with .*, received true"):
        read_record(QuantizerSettings, {"power_of_two": True, key: value}, "quantizer")
