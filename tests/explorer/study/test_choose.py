"""Which network of a front is taken: by name, by requirements, and as recommended, tuned or not."""

from dataclasses import replace

import numpy as np
import pytest

from explorer.compress.candidate import Candidate
from explorer.errors import ChoiceError, ExplorerError
from explorer.evaluate.mean_score import MeanScore
from explorer.study.choose import ChosenNetwork, choose, recommend
from explorer.study.record import FLOAT, Baseline, FrontPoint, Outcome, TunedScores
from explorer.study.requirements import Requirements
from tests.explorer.study.test_front import cost, points


def outcome(*members: FrontPoint, whole: float = 0.9, objectives: tuple[str, ...] = ("accuracy", "energy")) -> Outcome:
    score = MeanScore(value=whole, num_images=10_000)
    return Outcome(
        study={},
        device="bitfusion",
        device_title="Bit Fusion",
        objectives=objectives,
        baselines=(Baseline(name=FLOAT, cost=cost(None), search=score, held_out=score),),
        front=members,
        evaluations=(),
        skipped=(),
        provenance={},
    )


def scored(value: float, images: int = 10_000) -> MeanScore:
    return MeanScore(value=value, num_images=images)


def members(*values: tuple[float, float, int], images: int = 10_000) -> tuple[FrontPoint, ...]:
    """As of `points`, scored on so many images."""
    return tuple(
        replace(point, evaluation=replace(point.evaluation, score=scored(value[0], images)))
        for point, value in zip(points(*values), values, strict=True)
    )


def tuned(point: FrontPoint, value: float, energy: float = 1.0) -> FrontPoint:
    scores = TunedScores(epochs=2, search=scored(value), held_out=scored(value), cost=cost(energy))
    return replace(point, tuned=scores)


def best(found: Outcome) -> ChosenNetwork:
    recommended = recommend(found)
    assert recommended is not None
    return recommended


@pytest.mark.parametrize(
    ("accuracies", "images", "expected", "close"),
    [
        ((0.80, 0.894, 0.91), 10_000, "p02", True),  # the knee that lost 10 points is not it
        ((0.80, 0.892, 0.90), 10_000, "p03", True),  # .8 points and a standard error of .31 are more than one
        ((0.80, 0.894, 0.90), 10_000, "p02", True),  # .6 points are not
        ((0.80, 0.895, 0.90), 100, "p03", True),  # of 100 images a standard error is 3 points, but none are lost
        ((0.80, 0.895, 0.89), 100, "p02", False),
        ((0.60, 0.70, 0.80), 10_000, "p03", False),  # nothing is close: the best
        ((0.905, 0.91, 0.92), 10_000, "p01", True),  # better than the float network
    ],
)
def test_the_cheapest_that_is_close_is_recommended(
    accuracies: tuple[float, ...], images: int, expected: str, close: bool
) -> None:
    values = [(accuracy, float(energy), 10) for energy, accuracy in enumerate(accuracies, start=1)]
    found = best(outcome(*members(*values, images=images)))
    assert (found.point.name, found.is_close, found.tuned) == (expected, close, False)
    assert found.loss == pytest.approx(0.9 - accuracies[int(expected[1:]) - 1])


def test_what_fine_tuning_made_counts() -> None:
    first, second, third = members((0.80, 1.0, 10), (0.87, 2.0, 20), (0.90, 3.0, 30))
    assert best(outcome(first, second, third)).name == "p03"
    found = best(outcome(first, tuned(second, 0.895, 2.0), third))
    assert (found.name, found.point.name, found.tuned) == ("p02, fine-tuned", "p02", True)
    assert best(outcome(tuned(first, 0.86), second, third)).name == "p03"
    assert best(outcome(tuned(first, 0.86), second)).name == "p02"  # nothing is close: the best of both kinds
    # Where it costs the same, fine-tuned or not, the better one; where the tuned one costs more, the plain one.
    assert best(outcome(first, second, tuned(third, 0.905, 3.0))).name == "p03, fine-tuned"
    assert best(outcome(first, second, tuned(third, 0.905, 3.1))).name == "p03"


def test_the_next_cost_decides_where_the_first_is_equal() -> None:
    values = members((0.9, 2.0, 30), (0.9, 2.0, 20))
    assert best(outcome(*values, objectives=("accuracy", "energy", "weight_memory"))).name == "p02"


def test_nothing_is_recommended_of_an_empty_front() -> None:
    assert recommend(outcome()) is None


def pick(members: tuple[FrontPoint, ...], choice: str) -> str:
    return choose(outcome(*members), Requirements(pick=choice)).point.name


def want(found: Outcome, **stated: object) -> str:
    return choose(found, Requirements.read(stated)).name


def test_picking_by_name() -> None:
    found = points((0.5, 1.0, 10), (0.9, 2.0, 20), (0.96, 16.0, 160))
    digest = found[1].evaluation.candidate.digest()
    names = {"cheapest": "p01", "accurate": "p03", "knee": "p02", "p02": "p02", digest: "p02", digest[:4]: "p02"}
    assert {choice: pick(found, choice) for choice in (*names, "recommended")} == {**names, "recommended": "p02"}
    assert choose(outcome(*found)).name == "p02"


def test_of_equally_accurate_points_the_cheaper_is_picked() -> None:
    assert pick(points((0.9, 1.0, 20), (0.9, 2.0, 10)), "accurate") == "p01"


@pytest.mark.parametrize("choice", ["p03", "best", "", "abc"])
def test_picking_what_is_not_there(choice: str) -> None:
    with pytest.raises(
        ChoiceError,
        match=rf"^--pick: received '{choice}'; choose one of recommended, knee, accurate, cheapest, "
        r"or a point: p01, p02$",
    ):
        pick(points((0.5, 1.0, 10), (0.9, 2.0, 20)), choice)


@pytest.mark.parametrize(
    "wanted", [Requirements(), Requirements(pick="knee"), Requirements(pick="p01"), Requirements(max_loss=1.0)]
)
def test_choosing_from_an_empty_front(wanted: Requirements) -> None:
    with pytest.raises(ChoiceError, match=r"the front is empty: no candidate kept the budgets; relax \[budgets\]"):
        choose(outcome(), wanted)


def test_a_start_of_a_digest_that_is_too_short_is_no_choice() -> None:
    found = points((0.5, 1.0, 10))
    with pytest.raises(ChoiceError, match="--pick: received"):
        pick(found, found[0].evaluation.candidate.digest()[:3])


def test_a_start_of_a_digest_that_two_points_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = points((0.5, 1.0, 10), (0.9, 2.0, 20))
    monkeypatch.setattr(Candidate, "digest", lambda self: f"abcd{self.layers[0].layer[-1]}")
    assert pick(found, "abcd1") == "p02"
    with pytest.raises(ChoiceError, match="with which the digests of p01, p02 begin; give more of it"):
        pick(found, "abcd")


FRONT = ((0.80, 1.0, 30), (0.87, 2.0, 20), (0.886, 3.0, 25), (0.895, 4.0, 40))
"""Their standard errors are 0.4, 0.34, 0.32 and 0.31 points; the float network has 0.9."""


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"max_loss": 1.7}, "p04"),  # p03 loses 1.4 points, and a standard error is .32
        ({"max_loss": 1.8}, "p03"),
        ({"max_loss": 3.4}, "p02"),
        ({"min_score": 0.87}, "p02"),  # no tie: the score is what was measured
        ({"min_score": "87.1 %"}, "p03"),
        ({"max_energy": 3}, "p03"),  # costs alone: the best score
        ({"max_energy": "3000nJ", "max_weights": 20}, "p02"),
        ({"max_weights": "20B"}, "p02"),
        ({"max_weights": np.int64(20), "max_loss": np.float32(50)}, "p02"),
        ({"max_weights": 30, "least": "weight_memory"}, "p02"),
        ({"max_loss": 5, "least": "energy"}, "p02"),
        ({"max_loss": 50}, "p01"),
        ({"max_loss": 50, "least": "weight_memory"}, "p02"),
        ({"max_loss": 50, "max_weights": 25}, "p02"),  # the least energy, which the search names first, of two
        ({"least": "weight_memory"}, "p02"),
    ],
)
def test_requirements_all_hold_and_one_cost_decides(stated: dict[str, object], expected: str) -> None:
    assert want(outcome(*members(*FRONT)), **stated) == expected


def test_a_loss_is_taken_with_the_paired_error_where_it_is_known() -> None:
    third = members(*FRONT)[2]
    assert want(outcome(third), max_loss=1.8) == "p03"
    with pytest.raises(ChoiceError, match=r"the nearest is p03, which loses 1\.4 ±0\.5 points"):
        want(outcome(replace(third, loss_error=0.005)), max_loss=1.8)
    assert want(outcome(replace(third, loss_error=0.001)), max_loss=1.6) == "p03"
    made = tuned(members(*FRONT)[0], 0.886)
    assert made.tuned is not None
    closer = replace(made, tuned=replace(made.tuned, loss_error=0.001))
    assert want(outcome(closer), max_loss=1.6) == "p01, fine-tuned"
    with pytest.raises(ChoiceError, match=r"the nearest is p01, fine-tuned, which loses 1\.4 ±0\.3 points"):
        want(outcome(made), max_loss=1.6)


@pytest.mark.parametrize(("limit", "kept"), [(0.0, True), (-0.4, True), (-0.6, False)])
def test_who_loses_nothing_is_within_a_limit_with_any_error(limit: float, kept: bool) -> None:
    found = outcome(replace(members((0.905, 1.0, 10))[0], loss_error=0.02))
    if kept:
        assert want(found, max_loss=limit) == "p01"
    else:
        with pytest.raises(ChoiceError, match=r"the nearest is p01, which loses -0\.5 ±2\.0 points"):
            want(found, max_loss=limit)


def test_tuned_networks_are_chosen_or_left_out() -> None:
    found = outcome(tuned(members(*FRONT)[0], 0.9), *members(*FRONT)[1:])
    assert want(found, max_loss=1.0) == "p01, fine-tuned"
    assert choose(found, Requirements(max_loss=1.0), tuned=False).name == "p04"
    assert choose(found, Requirements(pick="p01")).name == "p01"
    assert choose(found, Requirements(pick="p01"), tuned=True).name == "p01, fine-tuned"
    with pytest.raises(ChoiceError, match="no member of the front was fine-tuned; explorer finetune does that"):
        choose(outcome(*members(*FRONT)), Requirements(max_loss=1.0), tuned=True)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"max_loss": 0}, r"has a loss of at most 0 points, .*; the nearest is p04, which loses 0\.5 ±0\.3 points$"),
        ({"max_energy": "9mJ", "max_weights": 19}, r"at most 9,000 µJ and weight memory of at most 19"),
        ({"max_energy": 0.9}, r"at most 0\.9 µJ; the nearest is p01, which takes 1 µJ, 11\.1 % over$"),
        (
            {"max_loss": 1, "max_weights": 35},
            r"loss of at most 1 point, .* and weight memory of at most 35 bytes; the nearest is p03, which loses 1\.4",
        ),
        ({"min_score": 0.99, "max_weights": 19}, r"p02, which scores 87\.0 % and takes 20 bytes, 5\.3 % over$"),
        (
            {"least": "coded_bytes"},
            r"has a known coded file \(its objectives do not name it\), which is to be the least$",
        ),
        ({"max_coded_file": 10}, r"no network on the front has a known coded file \(its objectives do not name it\)"),
    ],
)
def test_where_none_is_as_required_the_nearest_is_named(stated: dict[str, object], message: str) -> None:
    with pytest.raises(ChoiceError, match=message) as caught:
        want(outcome(*members(*FRONT)), **stated)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"pick": "knee", "max_loss": 1}, "expected pick alone or requirements alone, received pick and max_loss"),
        ({"max_enrgy": 1}, "did you mean 'max_energy'"),
        ({"max_loss": "much"}, 'max_loss: expected points below the float network, such as 1.0, received "much"'),
        ({"max_loss": float("nan")}, "max_loss: expected points"),
        ({"max_loss": 101}, "max_loss: expected points"),
        ({"max_loss": True}, "max_loss: expected points"),
        ({"min_score": 1.5}, "min_score '1.5': expected a number above 0"),
        ({"min_score": -1}, "min_score '-1': expected a number with its unit"),
        ({"max_energy": "3"}, "max_energy '3': expected one of pJ, nJ, uJ"),
        ({"max_energy": "3ms"}, "max_energy '3ms': expected one of pJ, nJ, uJ"),
        ({"max_energy": "1.2.3uJ"}, "max_energy '1.2.3uJ': expected a number"),
        ({"max_energy": 0}, "expected a number"),
        ({"max_weights": 1.5}, "an integer"),
        ({"max_latency": (1,)}, "max_latency: expected a number or a text with its unit"),
        ({"least": "enrgy"}, "least: expected a cost, .*did you mean 'energy'"),
    ],
)
def test_a_wrong_requirement_is_one_clear_line(stated: dict[str, object], message: str) -> None:
    with pytest.raises(ExplorerError, match=message) as caught:
        Requirements.read(stated)
    assert "\n" not in str(caught.value)


def test_requirements_of_the_command_line_are_called_as_its_options() -> None:
    with pytest.raises(ExplorerError, match=r"^--max-energy '3': expected"):
        Requirements.read({"max_energy": "3"}, as_option=True)


def test_without_a_scored_float_network_nothing_is_known_of_losses() -> None:
    found = outcome(*members(*FRONT))
    unknown = replace(found.baselines[0], search=MeanScore(value=0.0, num_images=0))
    found = replace(found, baselines=(unknown,))
    assert best(found).name == "p04"
    assert best(found).reason == "the best score, since the float network was not scored"
    with pytest.raises(
        ChoiceError,
        match=r"no network on the front has a known loss \(the float network was not scored\), and so none a loss",
    ):
        want(found, max_loss=1.0)
