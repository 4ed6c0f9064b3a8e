"""The conclusion of a search: front, baselines, and each network scored once on held-out images."""

import json
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.engine import Runner
from explorer.evaluate.score import Score, score_images
from explorer.report.front.views import build_front_view
from explorer.search.stop import MEAN_GAINS
from explorer.settings import BudgetSettings
from explorer.study import final_scores, front, outcome
from explorer.study.built import BuiltNetworks
from explorer.study.outcome import score_front, with_end
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.record import Outcome
from explorer.study.run import make_search, run
from explorer.study.search import Search
from explorer.study.storage import open_store
from explorer.study.store import Store
from explorer.study.study_file import Study, load_study
from tests.support.outcomes import make_outcome
from tests.support.scoring import count_correct

TINY = Path(__file__).parents[2] / "tiny_study"


def quiet(stage: str, done: int, total: int) -> None:
    """Show nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with its study in "tiny" beside it."""
    home = tmp_path_factory.mktemp("outcome")
    shutil.copytree(TINY, home / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](home / "tiny" / "images.npz")
    run(study_of(home / "run"), home / "run", quiet)
    return home / "run"


def study_of(folder: Path) -> Study:
    """The study of the run."""
    study = load_study(folder.parent / "tiny")
    return replace(
        study,
        search=replace(study.search, trials=25, seeds=0),  # seeds would all keep the budget
        budgets=BudgetSettings(weight_bytes=350),
    )


@pytest.fixture
def parts(folder: Path) -> tuple[PreparedStudy, Search, Store]:
    """What is concluded from."""
    study = study_of(folder)
    prepared = open_study(study, folder, quiet)
    store = open_store(folder, "journal", study.name, study.objectives.names, prepared.identity())
    return prepared, make_search(prepared, store, quiet), store


@pytest.fixture
def concluded(parts: tuple[PreparedStudy, Search, Store]) -> Outcome:
    """What came out."""
    return score_front(*parts, quiet)


def test_what_the_device_takes_as_nothing_is_kept(
    parts: tuple[PreparedStudy, Search, Store], concluded: Outcome
) -> None:
    unpriced = parts[0].accelerator.unpriced
    assert concluded.provenance["assumed 0"] == ", ".join(unpriced)
    assert "power.static_w" in unpriced


def test_the_front_is_that_of_the_evaluations(concluded: Outcome) -> None:
    members = front.front(concluded.evaluations, concluded.objectives)
    assert [point.evaluation.candidate for point in concluded.front] == [member.candidate for member in members]
    assert [point.name for point in concluded.front] == [f"p{n + 1:02d}" for n in range(len(members))]
    energies = [point.evaluation.cost.energy_uj for point in concluded.front]
    assert energies == sorted(energies, key=lambda energy: energy or 0.0)
    assert len(members) >= 2


def test_only_the_front_is_told_layer_by_layer(concluded: Outcome) -> None:
    assert all(item.cost.layers == () for item in concluded.evaluations)
    for point in concluded.front:
        cost = point.evaluation.cost
        assert [row.layer for row in cost.layers] == ["0", "1", "2", "3", "4", "5", "7"]
        assert [row.layer for row in cost.layers if row.filters is not None] == ["0", "3", "7"]
        assert cost.fits
        assert sum(row.energy_uj for row in cost.layers) == pytest.approx(cost.energy_uj)
        assert sum(cost.energy_uj_by_component.values()) == pytest.approx(cost.energy_uj)
        assert sum(row.weight_bytes for row in cost.layers) == cost.weight_bytes
        assert sum(row.macs for row in cost.layers) == cost.macs


def test_what_is_over_budget_is_kept_without_an_accuracy(concluded: Outcome) -> None:
    over = [item for item in concluded.evaluations if not item.feasible]
    assert over
    for item in over:
        assert item.score is None
        assert item.cost.weight_bytes > 350
        ((budget, excess),) = item.violations
        assert budget == "weight_bytes"
        assert excess == pytest.approx(item.cost.weight_bytes / 350 - 1)
    scored = sum(1 for item in concluded.evaluations if item.score is not None)
    assert scored == len(concluded.evaluations) - len(over)
    assert concluded.provenance["trials"].startswith(f"25, of which {len(over)} were over budget and never built, ")


def test_accuracies_are_those_of_the_built_networks(
    parts: tuple[PreparedStudy, Search, Store], concluded: Outcome
) -> None:
    prepared = parts[0]
    for split, accuracy in (("search", "search"), ("held_out", "held_out")):
        images = getattr(prepared.data, split)
        float_right = count_correct(prepared.context.model, *prepared.tensors(images), 256)
        eight = apply(prepared.context, uniform(prepared.context.graph))
        eight_right = count_correct(eight, *prepared.tensors(images), 256)
        for baseline, right in zip(concluded.baselines, (float_right, eight_right), strict=True):
            assert getattr(baseline, accuracy).value == right / len(images)
            assert getattr(baseline, accuracy).num_images == len(images)
    point = concluded.front[-1]
    built = apply(prepared.context, point.evaluation.candidate)
    right = count_correct(built, *prepared.tensors(prepared.data.held_out), 256)
    assert point.held_out.value == right / 100


def test_the_baselines(concluded: Outcome) -> None:
    reference, eight = concluded.baselines
    assert (reference.name, eight.name) == ("float", "uniform 8-bit")
    assert (reference.cost.energy_uj, reference.cost.latency_ms) == (None, None)
    assert "no floating-point units" in reference.cost.notes[0]
    assert reference.cost.weight_bytes == 4 * (4 * 9 + 4 + 4 * 6 * 9 + 6 + 24 * 2 + 2)
    assert eight.cost.energy_uj is not None
    assert reference.cost.weight_bytes > eight.cost.weight_bytes


def test_nothing_is_scored_twice(
    parts: tuple[PreparedStudy, Search, Store], concluded: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def counting(model: Any, images: Any, labels: torch.Tensor, batch_size: int, score: Score, **named: bool) -> Any:
        counted.append(len(labels))
        return score_images(model, images, labels, batch_size, score, **named)

    monkeypatch.setattr(final_scores, "score_images", counting)
    assert score_front(*parts, quiet) == concluded
    assert counted == []
    prepared, task, store = parts
    other = replace(prepared.data, held_out=prepared.data.held_out.take(slice(60)))
    changed = score_front(replace(prepared, data=other), task, store, quiet)
    assert counted == [60] * (2 + len(concluded.front))  # other images: the remembered scores are not theirs
    assert [point.held_out.num_images for point in changed.front] == [60] * len(concluded.front)
    assert [point.evaluation for point in changed.front] == [point.evaluation for point in concluded.front]


def test_a_member_is_built_once_for_both_sets_of_images(
    parts: tuple[PreparedStudy, Search, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, task, store = parts
    context = prepared.context
    quantizer = replace(context.quantizer, compensation="static", front_compensation="propagated")
    other = replace(prepared, context=replace(context, quantizer=quantizer))
    built: list[str] = []

    def counting(context: CompressionContext, candidate: Candidate) -> Any:
        built.append(candidate.digest())
        return apply(context, candidate)

    monkeypatch.setattr(outcome, "apply", counting)
    concluded = score_front(other, task, store, quiet)
    members = [point.evaluation.candidate.digest() for point in concluded.front]
    assert sorted(digest for digest in built if digest in members) == sorted(members)


def test_what_is_kept_is_not_built_again(
    parts: tuple[PreparedStudy, Search, Store], concluded: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, task, store = parts
    context, kept = prepared.context, BuiltNetworks()
    for point in concluded.front:
        candidate = point.evaluation.candidate
        kept.keep(context, candidate, Runner(apply(context, candidate), 50))
    built: list[Candidate] = []

    def counting(context: CompressionContext, candidate: Candidate) -> Any:
        built.append(candidate)
        return apply(context, candidate)

    monkeypatch.setattr(outcome, "apply", counting)
    other = replace(prepared.data, held_out=prepared.data.held_out.take(slice(80)))  # the scores of all are remembered
    again = [score_front(replace(prepared, data=other), task, store, quiet, None, each).front for each in (kept, None)]
    assert again[0] == again[1]
    assert built == [uniform(context.graph)]


def test_where_it_came_from(concluded: Outcome, parts: tuple[PreparedStudy, Search, Store]) -> None:
    provenance = concluded.provenance
    assert provenance["weights digest"] == parts[0].weights_digest
    assert provenance["study digest"] == parts[0].study.digest()
    assert provenance["seed"] == "0"
    assert "300 train, 100 search, 100 held out" in provenance["images"]
    assert provenance["relevance"].startswith("deeplift, 16 images, completeness ")
    assert {"torch", "captum", "optuna", "numpy", "python", "explorer"} <= provenance.keys()
    assert concluded.study == parts[0].study.to_json()


def test_progress_of_the_conclusion(parts: tuple[PreparedStudy, Search, Store]) -> None:
    told: list[tuple[str, int, int]] = []
    concluded = score_front(*parts, lambda *step: told.append(step))
    count = len(concluded.front)
    assert told == [("held-out images", done, count) for done in range(count + 1)]


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_uniform_network_that_cannot_be_computed_is_stated_and_the_front_is_there(
    how: str, parts: tuple[PreparedStudy, Search, Store], concluded: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, task, store = parts
    eight = uniform(prepared.context.graph)

    def failing(context: CompressionContext, candidate: Candidate) -> torch.nn.Module:
        model = apply(context, candidate)
        if candidate == eight and how == "raises":
            raise np.linalg.LinAlgError("Singular\nmatrix")
        if candidate == eight:
            model.register_forward_hook(lambda _, __, logits: logits * torch.nan)
        return model

    monkeypatch.setattr(outcome, "apply", failing)
    other = replace(prepared.data, held_out=prepared.data.held_out.take(slice(90)))  # the scores of all are remembered
    found = score_front(replace(prepared, data=other), task, store, quiet)
    reason = {"raises": "Singular matrix", "nan": "its outputs are not finite for 90 of 90 images"}[how]
    assert [baseline.failure for baseline in found.baselines] == ["", reason]
    assert [point.evaluation for point in found.front] == [point.evaluation for point in concluded.front]
    view = build_front_view(Outcome.from_json(json.loads(json.dumps(found.to_json()))))
    assert [point.name for point in view.baselines] == ["float"]
    assert f"uniform 8-bit cannot be computed: {reason}" in view.remarks
    assert [point.ratios for point in view.front] == [point.ratios for point in build_front_view(concluded).front]


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_member_that_cannot_be_built_as_the_front_is_is_left_out_and_named(
    how: str, parts: tuple[PreparedStudy, Search, Store], concluded: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, task, store = parts
    settings = replace(prepared.context.quantizer, compensation="static", front_compensation="propagated")
    lost = concluded.front[1].evaluation

    def failing(context: CompressionContext, candidate: Candidate) -> torch.nn.Module:
        model = apply(context, candidate)
        if candidate == lost.candidate and how == "raises":
            raise np.linalg.LinAlgError("Singular\nmatrix")
        if candidate == lost.candidate:
            model.register_forward_hook(lambda _, __, logits: logits * torch.nan)
        return model

    monkeypatch.setattr(outcome, "apply", failing)
    data = replace(
        prepared.data, **{name: getattr(prepared.data, name).take(slice(90)) for name in ("search", "held_out")}
    )
    found = score_front(
        replace(prepared, data=data, context=replace(prepared.context, quantizer=settings)), task, store, quiet
    )
    left = [point.evaluation.candidate for point in concluded.front if point.evaluation.number != lost.number]
    assert [point.evaluation.candidate for point in found.front] == left
    assert [point.name for point in found.front] == [f"p{n + 1:02d}" for n in range(len(left))]
    reason = {"raises": "Singular matrix", "nan": "its outputs are not finite for 90 of 90 images"}[how]
    view = build_front_view(Outcome.from_json(json.loads(json.dumps(found.to_json()))))
    assert f"left out: not on the front as it is built: evaluation {lost.number}, {reason}" in view.remarks


@pytest.mark.parametrize("limit", [None, 0.3])
def test_a_member_that_is_beaten_or_over_a_limit_as_it_is_built_is_left_out_and_named(
    limit: float | None, parts: tuple[PreparedStudy, Search, Store], concluded: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, task, store = parts
    settings = replace(prepared.context.quantizer, compensation="static", front_compensation="propagated")
    lost = concluded.front[-1].evaluation

    def misled(context: CompressionContext, candidate: Candidate) -> torch.nn.Module:
        model = apply(context, candidate)
        if candidate == lost.candidate:
            model.register_forward_hook(lambda _, __, logits: -logits)
        return model

    monkeypatch.setattr(outcome, "apply", misled)
    data = replace(
        prepared.data, **{name: getattr(prepared.data, name).take(slice(80)) for name in ("search", "held_out")}
    )
    other = replace(prepared, data=data, context=replace(prepared.context, quantizer=settings))
    found = score_front(other, replace(task, budgets=BudgetSettings(accuracy=limit)), store, quiet)
    assert lost.number not in [point.evaluation.number for point in found.front]
    members = [point.evaluation for point in found.front]
    assert list(front.front(members, task.objectives)) == members
    assert [point.name for point in found.front] == [f"p{n + 1:02d}" for n in range(len(members))]
    reason = "over the limit of accuracy" if limit else "which another is better than or equal to"
    assert re.search(rf"evaluations? (\d+, )*{lost.number}, (\d+, )*{reason}", found.provenance["left out"])


def test_a_reason_that_many_were_left_out_for_is_said_once() -> None:
    lost = [(23, "over the limit of accuracy"), (4, "not finite"), (47, "over the limit of accuracy")]
    assert outcome._describe_lost(lost) == "evaluations 23, 47, over the limit of accuracy; evaluation 4, not finite"


@pytest.mark.parametrize(
    ("trials", "proposed", "least", "ended"),
    [(800, 60, 0.01, True), (60, 60, 0.01, False), (800, 61, 0.01, False), (800, 60, 0.0, False)],
)
def test_why_a_search_ended_is_said_where_that_was_before_its_last_trial(
    trials: int, proposed: int, least: float, ended: bool
) -> None:
    """Not where its number of trials ended it, nor where --minutes did and some are open."""
    study, concluded = load_study(TINY), make_outcome()
    study = replace(study, search=replace(study.search, trials=trials, least_gain=least))
    assert len(concluded.evaluations) == 60 > MEAN_GAINS
    gains = [SimpleNamespace(expected_gain=0.001)] * proposed
    store: Any = SimpleNamespace(count=lambda states: len(gains), latest=lambda most: gains[-most:])
    told = with_end(concluded, store, study).provenance.get("search ended", "")
    assert told.startswith("after 60 of 800 candidates: a further one was expected to add less than 1.00%") is ended
    assert bool(told) is ended
