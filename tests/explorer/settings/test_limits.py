"""Limits of the command line: each with a unit, in the unit of its budget, and one line for what is wrong."""

import pytest

from explorer.errors import StudyFileError
from explorer.settings.limits import read_limit

NAMES = ("iou", "energy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("energy<=3uJ", ("energy_uj", 3.0)),
        ("energy_uj <= 0.5 nJ", ("energy_uj", 0.5e-3)),
        ("latency<=2e1µs", ("latency_ms", 0.02)),
        ("weight_memory<=64KiB", ("weight_bytes", 65536)),
        ("activation_memory<=1.5kB", ("activation_bytes", 1500)),
        ("weight_memory<=2.01kB", ("weight_bytes", 2010)),
        ("weight_memory<=3.3KiB", ("weight_bytes", 3379)),
        ("latency<=2\N{GREEK SMALL LETTER MU}s", ("latency_ms", 0.002)),
        ("coded_bytes<=900", ("coded_bytes", 900)),
        ("iou>=0.9", ("accuracy", 0.9)),
        ("iou>=90%", ("accuracy", 0.9)),
    ],
)
def test_a_limit_is_in_the_unit_of_its_budget(text: str, expected: tuple[str, float]) -> None:
    key, limit = read_limit(text, NAMES)
    assert key == expected[0]
    assert limit == pytest.approx(expected[1], rel=1e-12)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("energy=3uJ", r"--budget 'energy=3uJ': expected a limit such as"),
        ("power<=3", "expected the name of an objective"),
        ("accuracy>=0.9", "expected the name of an objective"),
        ("energy>=3uJ", "expected <= behind energy, which is to be small"),
        ("iou<=0.9", "expected >= behind iou, which is to be large"),
        ("energy<=3", "expected one of pJ, nJ, uJ"),
        ("energy<=3kB", "expected one of pJ, nJ, uJ"),
        ("energy<=1.2.3uJ", "expected a number behind <="),
        ("weight_memory<=1.5B", "an integer"),
        ("iou>=90", "a number above 0"),
        ("energy<=1e300J", "a number"),
        ("weight_memory<=1e400KiB", "an integer in 1"),
        ("weight_memory<=1e400", "an integer in 1"),
    ],
)
def test_what_is_wrong_is_said(text: str, match: str) -> None:
    with pytest.raises(StudyFileError, match=match):
        read_limit(text, NAMES)
