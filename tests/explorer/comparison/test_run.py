"""Every case on the digits network: what each criterion chooses is what it says, points are kept, and runs go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer.comparison import cases, run
from explorer.comparison.bits import choose_widths, compute_budget, fit_uniform
from explorer.comparison.cases import choose as choose_in
from explorer.comparison.points import FLOAT, POINTS, ComparisonCell, ScoredCell
from explorer.comparison.record import Comparison
from explorer.comparison.run import compare, list_cells
from explorer.comparison.sample import make_relevance, seeded_sample
from explorer.errors import RelevanceError, SearchError, StudyFileError
from explorer.evaluate.score import score_images
from explorer.graph.modules import layer_module
from explorer.settings import ComparisonSettings, SpaceSettings
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.study_file import Study
from explorer.training.train import train_model

TRAINING = {"epochs": 1, "batch_size": 32}


def quiet(stage: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison")


def study(**settings: Any) -> Study:
    """The digits in small, trained for two epochs."""
    return Study.from_json(
        {
            "study": {"name": "compared"},
            "model": {"reference": "lenet5_digits", "training": {"epochs": 2, "batch_size": 32}},
            "data": {
                "source": "digits",
                "train": 300,
                "search": 100,
                "held_out": 20,
                "calibration": 32,
                "relevance": 8,
            },
            "device": {"profile": "bitfusion"},
            "objectives": {"names": ["accuracy", "weight_memory"]},
            "compute": {"device": "cpu"},
            "comparison": settings,
        }
    )


@pytest.fixture(scope="module")
def prepared(folder: Path) -> PreparedStudy:
    return open_study(study(), folder, quiet)


@pytest.fixture
def choose(prepared: PreparedStudy, folder: Path) -> Callable[..., Any]:
    """The choice of a criterion in a case."""

    def at(case: str, criterion: str, level: float, scope: str = "layer", seed: int = 0) -> Any:
        cell = ComparisonCell(criterion=criterion, scope=scope, level=level, state="uncorrected", seed=seed)
        return choose_in(case, prepared, cell, make_relevance(prepared, folder, quiet))

    return at


def weights(model: torch.nn.Module, prepared: PreparedStudy) -> dict[str, np.ndarray]:
    """The weight of every layer."""
    names = prepared.context.graph.weight_owners
    return {name: layer_module(model, name).weight.detach().numpy() for name in names}


@pytest.mark.parametrize("scope", ["layer", "global", "global_normalised"])
def test_filters(scope: str, prepared: PreparedStudy, choose: Callable[..., Any]) -> None:
    choice = choose("filters", "l1", 0.5, scope)
    model = choice.build(False)
    size = choice.size(model)
    graph = prepared.context.graph
    assert size.weight_bytes == 4 * sum(w.size for w in weights(model, prepared).values())
    assert size.parameters == sum(p.numel() for p in model.parameters()) < graph.weights
    assert size.macs < graph.macs
    filters = sum(layer.out_channels for layer in graph.layers if layer.output_classes)
    left = sum(len(values) for values in weights(model, prepared).values())
    assert 0.45 * filters < left < 0.75 * filters
    if scope == "layer":
        first = graph.prunable[0]
        assert len(weights(model, prepared)[first.producers[0]]) == round(first.size / 2)
        norms = np.abs(weights(prepared.context.model, prepared)[first.producers[0]]).sum((1, 2, 3))
        kept = np.sort(np.argsort(-norms)[: round(first.size / 2)])
        whole_filters = weights(prepared.context.model, prepared)[first.producers[0]][kept]
        assert np.array_equal(weights(model, prepared)[first.producers[0]], whole_filters)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_weights_of_least_magnitude_go(scope: str, prepared: PreparedStudy, choose: Callable[..., Any]) -> None:
    choice = choose("weights", "magnitude", 0.8, scope)
    assert choice.selection == choose("weights", "l1", 0.8, scope).selection
    assert choice.selection != choose("weights", "deeplift", 0.8, scope).selection
    model = choice.build(False)
    before, after = weights(prepared.context.model, prepared), weights(model, prepared)
    gone = np.concatenate([np.abs(before[name][after[name] == 0]) for name in before])
    left = np.concatenate([np.abs(before[name][after[name] != 0]) for name in before])
    assert len(gone) / (len(gone) + len(left)) == pytest.approx(0.8, abs=0.02)
    if scope == "global":
        assert gone.max() <= left.min()
    for name in before:
        assert np.array_equal(after[name][after[name] != 0], before[name][after[name] != 0])
    size = choice.size(model)
    assert size.parameters == prepared_parameters(prepared) - len(gone)
    assert 4 * len(left) < size.weight_bytes < 4 * (len(gone) + len(left))
    assert size.macs < prepared.context.graph.macs


def test_weights_that_go_by_chance_are_of_any_size(prepared: PreparedStudy, choose: Callable[..., Any]) -> None:
    model = choose("weights", "random", 0.5).build(False)
    before, after = weights(prepared.context.model, prepared), weights(model, prepared)
    sizes = {name: np.abs(values) / np.abs(values).mean() for name, values in before.items()}
    gone, left = (
        np.concatenate([sizes[name][(after[name] == 0) == removed] for name in before]) for removed in (True, False)
    )
    error = np.hypot(gone.std() / np.sqrt(len(gone)), left.std() / np.sqrt(len(left)))
    assert abs(gone.mean() - left.mean()) < 4 * error  # were they |draw * w|, it would be 0.5 less


def prepared_parameters(prepared: PreparedStudy) -> int:
    return sum(parameter.numel() for parameter in prepared.context.model.parameters())


@pytest.mark.parametrize("criterion", ["plain", "deeplift", "saliency"])
def test_shared_weights(criterion: str, prepared: PreparedStudy, choose: Callable[..., Any]) -> None:
    choice = choose("sharing", criterion, 4)
    model = choice.build(False)
    before, after = weights(prepared.context.model, prepared), weights(model, prepared)
    assert all(len(np.unique(values)) <= 4 for values in after.values())
    size = choice.size(model)
    count, layers = sum(values.size for values in before.values()), len(before)
    assert size.weight_bytes == sum(-(-(2 * v.size + 4 * 32) // 8) for v in before.values())
    assert size.coded_bytes < count / 4 + layers * (4 * 5 + 1)
    plain = weights(choose("sharing", "plain", 4).build(False), prepared)
    loss = {
        kind: sum(((v[n] - before[n]) ** 2).sum() for n in before) for kind, v in (("own", after), ("plain", plain))
    }
    assert loss["own"] >= loss["plain"] * (1 - 1e-6)


@pytest.mark.parametrize("criterion", ["deeplift", "sqnr", "uniform", "proportional", "measured_kl"])
def test_widths_keep_the_budget(criterion: str, prepared: PreparedStudy, folder: Path) -> None:
    cell = ComparisonCell(criterion=criterion, scope="layer", level=2.5, state="recalibrated", seed=0)
    candidate = choose_widths(prepared, cell, make_relevance(prepared, folder, quiet))
    choice = choose_in("bits", prepared, cell, make_relevance(prepared, folder, quiet))
    assert choice.size(prepared.context.model).weight_bytes <= compute_budget(prepared, 2.5)
    assert {entry.activation_bits for entry in candidate.layers} == {8}
    assert choice.selection == candidate.digest()


def test_a_mix_of_two_widths_widens_the_first_layers(prepared: PreparedStudy) -> None:
    assert {entry.weight_bits for entry in fit_uniform(prepared, 3).layers} == {3}
    mixed = [entry.weight_bits for entry in fit_uniform(prepared, 2.5).layers]
    assert mixed == sorted(mixed, reverse=True)
    assert set(mixed) == {2, 3}


def test_averages_that_the_space_does_not_have_are_refused(prepared: PreparedStudy, tmp_path: Path) -> None:
    assert {entry.weight_bits for entry in fit_uniform(prepared, 8).layers} == {8}
    few = study(case="bits", criteria=["deeplift", "uniform"], levels=[2.5, 4, 8])
    few = replace(few, space=SpaceSettings(weight_bits=(4, 6)))
    with pytest.raises(StudyFileError, match=r"comparison.levels: .*4..6 bits.*received \[2.5, 8"):
        compare(few, tmp_path / "few", quiet)


@pytest.mark.parametrize("level", [2.0, 3.0])
def test_widths_have_the_entropy_asked_for(choose: Callable[..., Any], prepared: PreparedStudy, level: float) -> None:
    found = choose("steps", "widths", level)
    model = found.build(True)
    count = sum(layer.weights for layer in prepared.context.graph.layers)
    assert 0.9 * level <= 8 * found.size(model).weight_bytes / count <= level + 0.01
    scales = [layer_module(model, name).get_buffer("weight_scale") for name in prepared.context.graph.layer_names]
    assert all(float(scale.min()) < float(scale.max()) for scale in scales)
    assert found.selection != choose("steps", "deeplift", level).selection


def test_a_layer_without_any_saliency_keeps_one_weight() -> None:
    cell = ComparisonCell(criterion="l1", scope="global", level=0.9, state="uncorrected", seed=0)
    masks = cases._masks({"a": np.zeros((2, 5)), "b": np.arange(1.0, 11.0)}, cell)
    assert [int(mask.sum()) for mask in masks.values()] == [1, 2]


def test_seeds_draw_other_images(prepared: PreparedStudy) -> None:
    first, second = seeded_sample(prepared, 0), seeded_sample(prepared, 1)
    assert len(first) == len(second) == 8
    assert not torch.equal(first.inputs[0], second.inputs[0])
    assert (first.seed, second.seed) == (0, 1)


SMALL: dict[str, Any] = {"criteria": ["deeplift", "l1", "random"], "levels": [0.25, 0.5], "seeds": [0, 1]}


@cache
def whole(to: Path) -> Comparison:
    """A comparison that was never interrupted."""
    settings = {**SMALL, "states": ["uncorrected", "fine_tuned"], "tuned_levels": [0.5], "training": TRAINING}
    return compare(study(**settings), to, quiet)


def test_a_point_for_every_cell(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = whole(tmp_path_factory.mktemp("whole"))
    assert tuple(point.cell for point in found.points) == list_cells(found.settings)
    assert len(found.points) == 2 * 3 * 2 + 2 * 3
    assert found.whole.cell == FLOAT
    assert found.whole.right_images().mean() > 0.5
    by_cell = {point.cell: point for point in found.points}
    for level in (0.25, 0.5):  # magnitude knows no chance, random nothing else
        for name, same in (("l1", True), ("random", False)):
            first, second = (
                by_cell[ComparisonCell(criterion=name, scope="layer", level=level, state="uncorrected", seed=seed)]
                for seed in (0, 1)
            )
            assert (first.right == second.right) == same
    tuned = [point for point in found.points if point.cell.state == "fine_tuned"]
    plain = [by_cell[replace(point.cell, state="uncorrected")] for point in tuned]
    gain = [a.right_images().mean() - b.right_images().mean() for a, b in zip(tuned, plain, strict=True)]
    assert np.mean(gain) > 0.05
    assert {(a.selection, a.size) for a in tuned} == {(b.selection, b.size) for b in plain}


def test_goes_on_after_an_interruption(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(tmp_path_factory.mktemp("other"))
    scored: list[int] = []
    real = score_images

    def stopping(*arguments: Any) -> Any:
        if len(scored) == 5:
            raise KeyboardInterrupt
        scored.append(1)
        return real(*arguments)

    monkeypatch.setattr(run, "score_images", stopping)
    with pytest.raises(KeyboardInterrupt):
        whole.__wrapped__(tmp_path)
    lines = (tmp_path / POINTS).read_bytes()
    assert len(lines.splitlines()) == 6
    (tmp_path / POINTS).write_bytes(lines + b'{"cell": {"criterion": "l1", "sc')  # killed while it wrote
    monkeypatch.setattr(run, "score_images", real)
    assert whole.__wrapped__(tmp_path) == expected
    again = (tmp_path / POINTS).read_bytes()
    assert again.startswith(lines)
    monkeypatch.setattr(run, "score_images", stopping)  # and the next one scores nothing
    scored.extend([1] * 5)
    assert whole.__wrapped__(tmp_path) == expected
    assert (tmp_path / POINTS).read_bytes() == again


def test_an_interruption_while_a_tuned_network_is_scored_loses_no_epoch(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(tmp_path_factory.mktemp("other"))
    epochs: list[int] = []

    def counted(model: Any, images: Any, targets: Any, recipe: Any) -> None:
        before = recipe.unfinished.exists()
        train_model(model, images, targets, recipe, lambda *_: epochs.append(before))

    def interrupt(*arguments: Any) -> Any:
        if epochs:
            raise KeyboardInterrupt
        return score_images(*arguments)

    monkeypatch.setattr(run, "train_model", counted)
    with monkeypatch.context() as patch:
        patch.setattr(run, "score_images", interrupt)
        with pytest.raises(KeyboardInterrupt):
            whole.__wrapped__(tmp_path)
    taken, left = len(epochs), list(tmp_path.glob("tuning-*.unfinished"))
    assert len(left) == 1
    epochs.clear()
    assert whole.__wrapped__(tmp_path) == expected
    assert epochs.count(True) == 1 < taken  # told where it stands, and no batch taken
    assert not list(tmp_path.glob("*.unfinished"))


def test_more_seeds_and_levels_add_to_what_is_there(tmp_path: Path) -> None:
    few = compare(study(**{**SMALL, "seeds": [0], "levels": [0.5]}), tmp_path, quiet)
    more = compare(study(**SMALL), tmp_path, quiet)
    assert set(few.points) < set(more.points)


def test_other_images_are_refused(tmp_path: Path) -> None:
    asked = study(criteria=["deeplift"], levels=[0.5])
    compare(asked, tmp_path, quiet)
    other = replace(asked, data=replace(asked.data, search=99))
    with pytest.raises(SearchError, match=r"holds the results of another study \(data.search was 100, is 99"):
        compare(other, tmp_path, quiet)
    (tmp_path / POINTS).write_text('{"identity": {}}\n{"cell": 1}\n')
    with pytest.raises(SearchError, match="not the points of a comparison"):
        compare(asked, tmp_path, quiet)


def test_other_settings_are_refused_before_the_training(tmp_path: Path) -> None:
    asked = study(criteria=["deeplift"], levels=[0.5])
    compare(asked, tmp_path, quiet)
    weights = sorted(tmp_path.glob("weights-*"))
    assert asked.model.training is not None
    longer = replace(asked, model=replace(asked.model, training=replace(asked.model.training, epochs=3)))
    with pytest.raises(SearchError, match=r"holds the results of another study \(model.training was"):
        compare(longer, tmp_path, quiet)
    assert sorted(tmp_path.glob("weights-*")) == weights


def test_a_criterion_that_fails_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def failing(*_: Any) -> Any:
        asked.append(1)
        raise RelevanceError("relevance: no rule")

    monkeypatch.setattr("explorer.relevance.lrp.lrp", failing)
    settings = ComparisonSettings(levels=(0.25, 0.5), states=("uncorrected",), seeds=(0, 1))
    monkeypatch.setattr("explorer.comparison.run.compared_criteria", lambda settings: ("deeplift", "lrp"))
    found = compare(replace(study(), comparison=settings), tmp_path, quiet)
    assert found.skipped == (("lrp", "relevance: no rule"),)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"focus": "sqnr"}, "comparison.focus: 'sqnr' says nothing of filters"),
        ({"tuned_criteria": ["sqnr", "l1"]}, "comparison.tuned_criteria: 'sqnr' says nothing of filters"),
    ],
)
def test_a_focus_that_says_nothing_of_the_case_is_refused(
    settings: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyFileError, match=problem):
        compare(study(**settings), tmp_path / "new", quiet)
    assert not (tmp_path / "new").exists()


def test_a_criterion_that_says_nothing_of_the_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"comparison.criteria: 'sqnr' says nothing of filters; deeplift"):
        compare(study(criteria=["deeplift", "sqnr"]), tmp_path / "new", quiet)
    assert not (tmp_path / "new").exists()


def test_all_criteria_that_say_something_where_none_is_named() -> None:
    found = {cell.criterion for cell in list_cells(ComparisonSettings(case="weights"))}
    assert {"deeplift", "magnitude", "random"} <= found
    assert not {"bn_gamma", "captum_deeplift"} & found


def test_points_are_lines_of_json(tmp_path: Path) -> None:
    compare(study(criteria=["deeplift"], levels=[0.5]), tmp_path, quiet)
    first, *lines = (tmp_path / POINTS).read_text().splitlines()
    assert json.loads(first)["identity"]["comparison.case"] == '"filters"'
    assert [ScoredCell.from_json(json.loads(line)).cell.criterion for line in lines] == [
        "float",
        "deeplift",
        "deeplift",
    ]
