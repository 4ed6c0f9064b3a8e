"""The [comparison] section: defaults of each case, and what is refused."""

import pytest

from explorer.errors import StudyFileError
from explorer.settings import ComparisonSettings
from explorer.settings.comparison import CASES
from explorer.study.names import check_names, compared_criteria


@pytest.mark.parametrize("case", CASES)
def test_defaults_of_a_case(case: str) -> None:
    settings = ComparisonSettings(case=case)
    assert set(CASES[case].rules) <= set(compared_criteria(settings))
    assert "captum_deeplift" not in compared_criteria(settings)
    assert "fine_tuned" not in settings.in_states
    assert settings.at_levels


def test_states_come_in_their_own_order() -> None:
    settings = ComparisonSettings(states=("recalibrated", "uncorrected"))
    assert settings.in_states == ("uncorrected", "recalibrated")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"levels": (1.0,)}, r"comparison.levels: expected shares removed"),
        (
            {"case": "sharing", "levels": (4.5,)},
            r"comparison.levels: expected whole numbers of shared values in 2..256",
        ),
        ({"case": "bits", "levels": (1.5,)}, r"comparison.levels: expected average widths in 2..8"),
        ({"criteria": ("deeplift", "tailor")}, r"case 'filters' knows no 'tailor'; did you mean 'taylor'\?"),
        ({"criteria": ("deeplift", "uniform")}, r"case 'filters' knows no 'uniform'"),
        ({"criteria": ("l1",)}, r"comparison.focus: expected one of comparison.criteria \(l1\)"),
        ({"states": ("fine_tuned",)}, r"comparison.training: missing"),
        ({"case": "bits", "states": ("uncorrected",)}, r"comparison.states: expected recalibrated"),
        ({"case": "sharing", "scopes": ("global",)}, r"comparison.scopes: expected layer"),
        ({"tuned_levels": (0.33,)}, r"comparison.tuned_levels: expected only values of comparison.levels"),
        ({"criteria": ("deeplift",), "tuned_criteria": ("l1",)}, r"comparison.tuned_criteria: expected one of"),
    ],
)
def test_what_is_refused(values: dict[str, object], problem: str) -> None:
    with pytest.raises(StudyFileError, match=problem):
        check_names(ComparisonSettings(**values))  # type: ignore[arg-type]
