"""A search scores candidates on a part of the images, and its front on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explorer.compress.apply import apply
from explorer.evaluate import sampling
from explorer.evaluate.image_scores import unpack_scores
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.sampling import FIRST_WAVE, SampleOrder
from explorer.evaluate.score import score_images
from explorer.settings import SearchSettings, SpaceSettings
from explorer.study.prepare import open_study
from explorer.study.record import FLOAT, Outcome
from explorer.study.run import Effort, run
from explorer.study.storage import read_store
from explorer.study.store import name_scores
from explorer.study.study_file import Study, load_study
from tests.support.tiny import quiet

TRIALS, IMAGES = 40, 400


def study_with(error: float) -> Study:
    """Return the digits study, trained briefly, with few widths and a loose limit of the score."""
    study = load_study("digits")
    assert study.model.training is not None
    return replace(
        study,
        model=replace(study.model, training=replace(study.model.training, epochs=12)),
        space=SpaceSettings(weight_bits=(1, 2, 3, 4, 8), activation_bits=(2, 4, 8)),
        search=SearchSettings(trials=TRIALS, seeds=8, population=8, lag=4, sampling_error=error, sampler="nsga2"),
    )


@pytest.fixture(scope="module", autouse=True)
def few_are_sampled() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "LEAST_SAMPLED", 0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose scores may be off by two points."""
    folder = tmp_path_factory.mktemp("sampled") / "run"
    run(study_with(0.02), folder, quiet)
    return folder


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    return run(study_with(0.02), folder, quiet)


def test_candidates_are_scored_on_parts_and_the_front_on_all(outcome: Outcome) -> None:
    sampled = [item for item in outcome.evaluations if item.score is not None and item.score.population is not None]
    assert len(sampled) > TRIALS / 4
    for item in sampled:
        assert item.score is not None
        assert FIRST_WAVE <= item.score.num_images < IMAGES == item.score.population
    assert outcome.front
    for point in outcome.front:
        assert point.evaluation.score is not None
        assert point.evaluation.score.num_images == point.held_out.num_images == IMAGES


def test_a_member_has_the_score_of_each_image_though_it_was_scored_on_the_rest_alone(
    folder: Path, outcome: Outcome
) -> None:
    study = study_with(0.02)
    prepared, store = open_study(study, folder, quiet), read_store(folder, study)
    inputs, targets = prepared.tensors(prepared.data.search)
    for point in outcome.front:
        candidate = point.evaluation.candidate
        kept = store.image_scores()[name_scores("search", prepared.data.search.digest(), candidate.digest())]
        expected = score_images(apply(prepared.context, candidate), inputs, targets, IMAGES)
        np.testing.assert_array_equal(unpack_scores(kept), expected)


def test_every_score_is_that_of_the_images_that_were_stored_with_it(folder: Path) -> None:
    store = read_store(folder, study_with(0.02))
    kept = store.sample()
    assert kept is not None
    order, ended = SampleOrder.from_json(kept), 0
    assert MeanScore.of(order.reference).value > 0.9
    trials = {trial.number: trial for trial in store.stored()}
    for trial in trials.values():
        if trial.result is None or trial.score is None:
            continue
        scores = unpack_scores(trial.result.images)
        assert order.estimate(scores) == trial.score
        assert trial.result.beaten or trial.score.sampling_error <= 0.02
        if trial.result.beaten:
            assert trial.rival is not None
            rival = trials[trial.rival].score
            assert rival is not None
            assert rival.value > trial.score.value
            ended += trial.score.sampling_error > 0.02
    assert ended > 0


def test_no_network_that_was_ended_early_is_on_the_front(folder: Path, outcome: Outcome) -> None:
    results = {trial.number: trial.result for trial in read_store(folder, study_with(0.02)).stored()}
    for point in outcome.front:
        result = results[point.evaluation.number]
        assert result is not None
        assert not result.beaten


def test_several_processes_find_the_same(outcome: Outcome, tmp_path: Path) -> None:
    again = run(study_with(0.02), tmp_path / "jobs", quiet, effort=Effort(jobs=3))
    assert again.front == outcome.front
    assert again.evaluations == outcome.evaluations


def test_without_a_sampling_error_every_candidate_is_scored_on_all_images(outcome: Outcome, tmp_path: Path) -> None:
    whole = run(study_with(0.0), tmp_path / "whole", quiet)
    scores = [item.score for item in whole.evaluations if item.score is not None]
    assert {(score.num_images, score.population) for score in scores} == {(IMAGES, None)}
    assert whole.baseline(FLOAT) == outcome.baseline(FLOAT)


def test_ties_are_marked_with_a_member_that_costs_no_more(outcome: Outcome) -> None:
    names = {point.name: point for point in outcome.front}
    tied = [point for point in outcome.front if point.tied_with]
    for point in tied:
        other = names[point.tied_with]
        assert not other.tied_with
        assert (other.evaluation.cost.energy_uj or 0.0) <= (point.evaluation.cost.energy_uj or 0.0)
        assert other.evaluation.cost.weight_bytes <= point.evaluation.cost.weight_bytes
    assert 0 < len(tied) < len(outcome.front)
