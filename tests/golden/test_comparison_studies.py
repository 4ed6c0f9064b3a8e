"""The results of studies/pruning, weight_sharing and mixed_precision are in their READMEs, and say what these say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from studies import tables

STUDIES = Path(__file__).parents[2] / "studies"
Verdicts = dict[tuple[str, str], str]


def rows(study: str, name: str) -> list[dict[str, str]]:
    with (STUDIES / study / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def verdicts(study: str, state: str, scope: str = "layer") -> Verdicts:
    """By criterion and level whether DeepLIFT wins, ties or loses."""
    found = rows(study, "differences")
    return {
        (row["criterion"], row["level"]): row["verdict"]
        for row in found
        if row["focus"] == "deeplift" and (row["state"], row["scope"]) == (state, scope)
    }


@pytest.mark.parametrize("study", tables.STUDIES)
def test_the_readme_has_the_tables_of_the_results(study: str) -> None:
    text = (STUDIES / study / "README.md").read_text(encoding="utf-8")
    assert tables.with_tables(text, STUDIES / study / "results") == text


def test_a_readme_without_a_place_for_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no heading '## Tables'"):
        tables.with_tables("# A study\n", tmp_path / "results")


def test_relevance_of_filters_beats_their_size_and_chance() -> None:
    """Filters of ResNet-20, batch norms recalibrated: above two standard errors at 25 and 40 % removed."""
    found = verdicts("pruning/results/resnet20_cifar10", "recalibrated")
    for criterion in ("l1", "l2", "bn_gamma", "taylor", "fisher", "random"):
        assert [found[criterion, level] for level in ("0.25", "0.4")] == ["wins", "wins"], criterion
    tuned = verdicts("pruning/results/resnet20_cifar10", "fine_tuned")
    assert [tuned["l1", level] for level in ("0.25", "0.4")] == ["ties", "wins"]
    assert [tuned["random", level] for level in ("0.25", "0.4")] == ["wins", "wins"]


def test_relevance_does_not_lead_once_layers_are_solved_for_anew() -> None:
    """Half of the multiply-accumulates left: ResNet-20 before and after tuning, ResNet-56 before it."""
    for state in ("recalibrated", "fine_tuned"):
        found = verdicts("pruning/results/resnet20_cifar10_propagated", state)
        assert found["reconstruction", "0.29"] == "loses", state
        assert found["l2", "0.29"] == "ties", state
        assert found["taylor", "0.29"] == found["random", "0.29"] == "wins", state
    deeper = verdicts("pruning/results/resnet56_cifar10_propagated", "recalibrated")
    assert deeper["reconstruction", "0.29"] == "loses"
    assert {deeper[criterion, "0.29"] for criterion in ("l2", "taylor", "random")} == {"ties"}


def test_magnitude_of_single_weights_beats_their_relevance() -> None:
    found = verdicts("pruning/results/resnet20_cifar10_weights", "recalibrated", "global")
    assert [found["magnitude", level] for level in ("0.7", "0.8", "0.9")] == ["loses"] * 3
    # Chance is chance: it destroys what both keep.
    assert [found["random", level] for level in ("0.5", "0.7")] == ["wins", "wins"]


def test_relevance_helps_where_few_values_are_shared() -> None:
    found = verdicts("weight_sharing/results/resnet20_cifar10", "recalibrated")
    assert found["plain", "4"] == found["saliency", "4"] == found["random", "4"] == "wins"
    assert {found["plain", level] for level in ("8", "16", "32")} == {"ties"}


def test_the_relevance_knapsack_is_not_behind_and_proportional_bits_fail() -> None:
    study = "mixed_precision/results/resnet20_cifar10"
    found = verdicts(study, "recalibrated")
    for criterion in ("hessian_trace", "sqnr", "uniform"):
        assert "loses" not in {found[criterion, level] for level in ("2.5", "3", "4")}, criterion
    accuracy = {(row["criterion"], row["level"]): float(row["accuracy"]) for row in rows(study, "points")}
    for level in ("2.5", "3", "4"):
        assert found["proportional", level] == "wins"
        assert accuracy["proportional", level] < accuracy["uniform", level] - 0.05
