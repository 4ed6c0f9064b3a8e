"""Criteria compared on a study's network: compressed as each says, otherwise alike, and scored on the same images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, fx

from explorer.comparison.bits import refuse_unreachable
from explorer.comparison.cases import Selection, choose, measure_float_size
from explorer.comparison.points import (
    FLOAT,
    Bools,
    ComparisonCell,
    ScoredCell,
    Size,
    append_point,
    open_points,
    pack,
    read_identity,
)
from explorer.comparison.record import Comparison
from explorer.comparison.sample import ComputeRelevance, make_relevance
from explorer.data.images import ImageSet
from explorer.digests import digest
from explorer.errors import RelevanceError, StudyFileError
from explorer.evaluate.score import score_images
from explorer.progress import Notify
from explorer.relevance.criteria import CRITERIA
from explorer.settings import ComparisonSettings, ScoreSettings, TrainingSettings
from explorer.settings.records import write_record
from explorer.study.folder import locked, refuse_changes
from explorer.study.names import compared_criteria
from explorer.study.network import threads_for
from explorer.study.prepare import STEP_UNITS, PreparedStudy, open_study
from explorer.study.study_file import Study
from explorer.training.epochs import Recipe
from explorer.training.train import train_model

Scored = dict[ComparisonCell, ScoredCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ComparisonTask:
    prepared: PreparedStudy
    settings: ComparisonSettings
    folder: Path
    images: tuple[Tensor, ...]
    labels: Tensor
    notify: Notify
    compute_relevance: ComputeRelevance


def compare(study: Study, folder: Path, notify: Notify) -> Comparison:
    """Score every network that [comparison] asks for in `folder`, or go on with it there.

    Points are kept one by one: after an interruption the same call goes on, and more criteria, levels, seeds or states
    add to what is there. Networks that come out equal are scored once. The folder is locked meanwhile.

    Raises:
        ExplorerError: For what is wrong with the user's input.
    """
    settings = study.comparison
    check_subjects(settings)
    with locked(folder):
        refuse_other_settings(folder, study)
        if study.score != ScoreSettings():
            raise StudyFileError(
                ("score: a comparison is of which images are right; remove the section, or run the study instead",)
            )
        prepared = open_study(study, folder, notify)
        if settings.of_case.widths_of_space:
            refuse_unreachable(prepared)
        scored = open_points(folder, _identity(prepared))
        images, labels = prepared.tensors(prepared.data.search)
        with threads_for(prepared.context.graph):
            task = _ComparisonTask(
                prepared=prepared,
                settings=settings,
                folder=folder,
                images=images,
                labels=labels,
                notify=notify,
                compute_relevance=make_relevance(prepared, folder, notify),
            )
            skipped = _score_all(task, scored)
    return Comparison(
        name=study.name,
        title=study.title or study.name,
        settings=settings,
        whole=scored[FLOAT],
        points=tuple(scored[cell] for cell in list_cells(settings) if cell in scored),
        skipped=tuple(skipped.items()),
    )


def check_subjects(settings: ComparisonSettings) -> None:
    """Raise StudyFileError where a named criterion says nothing of what the case needs."""
    needs = settings.of_case.needs
    able = [name for name, criterion in CRITERIA.items() if needs in criterion.subjects]
    named = {"criteria": settings.criteria, "focus": (settings.focus,), "tuned_criteria": settings.tuned_criteria}
    problems = [
        f"comparison.{key}: {name!r} says nothing of {needs}; {', '.join(able)} do"
        for key, names in named.items()
        for name in names or ()
        if name in CRITERIA and name not in able
    ]
    if problems:
        raise StudyFileError(tuple(problems))


def list_criteria(settings: ComparisonSettings) -> tuple[str, ...]:
    """Return the criteria of a comparison, of those that are not named only the ones that say something of its case."""
    needs = settings.of_case.needs
    return tuple(
        name for name in compared_criteria(settings) if name not in CRITERIA or needs in CRITERIA[name].subjects
    )


def list_cells(settings: ComparisonSettings) -> tuple[ComparisonCell, ...]:
    """Return all cells of a comparison; those of one seed and criterion follow each other, trained ones come last."""
    untrained = [state for state in settings.in_states if state != "fine_tuned"]
    trained = [state for state in settings.in_states if state == "fine_tuned"]
    criteria = compared_criteria(settings)
    tuned = (settings.tuned_criteria or criteria, settings.tuned_levels or settings.at_levels)
    return (
        *_list_cells(settings, criteria, settings.at_levels, untrained),
        *_list_cells(settings, *tuned, trained),
    )


def _list_cells(
    settings: ComparisonSettings, criteria: tuple[str, ...], levels: tuple[float, ...], states: list[str]
) -> Iterator[ComparisonCell]:
    known = list_criteria(settings)
    for seed in settings.seeds:
        for criterion in criteria:
            for scope in settings.scopes:
                for level in levels:
                    for state in states:
                        if criterion in known:
                            yield ComparisonCell(criterion=criterion, scope=scope, level=level, state=state, seed=seed)


def _score_all(task: _ComparisonTask, scored: Scored) -> dict[str, str]:
    """Score what is not scored yet; the progress of trained networks is one of its own.

    Returns the criteria that cannot say anything of this network, with the reason; one that was asked for by name,
    and the focus, raises RelevanceError instead.
    """
    skipped: dict[str, str] = {}
    named = (*(task.settings.criteria or ()), task.settings.focus)
    if FLOAT not in scored:
        right = _right_images(task, task.prepared.context.model)
        _keep(task, scored, FLOAT, "", (measure_float_size(task.prepared.context), right))
    wanted = list_cells(task.settings)
    for stage, chosen in (
        ("score", [cell for cell in wanted if cell.state != "fine_tuned"]),
        ("fine-tune", [cell for cell in wanted if cell.state == "fine_tuned"]),
    ):
        equal = {_equal(point.cell, point.selection): point for point in scored.values()}
        done = sum(cell in scored for cell in chosen)
        if chosen:
            task.notify(stage, done, len(chosen))
        for cell in chosen:
            if cell in scored or cell.criterion in skipped:
                continue
            try:
                _score(task, scored, equal, cell)
            except RelevanceError as error:
                if cell.criterion in named:
                    raise
                skipped[cell.criterion] = str(error)
            done += 1
            task.notify(stage, done, len(chosen))
    return skipped


def _score(
    task: _ComparisonTask, scored: Scored, equal: dict[tuple[str, ...], ScoredCell], cell: ComparisonCell
) -> None:
    choice = choose(task.settings.case, task.prepared, cell, task.compute_relevance)
    twin = equal.get(_equal(cell, choice.selection))
    if twin is None:
        model, recipe = choice.build(cell.state != "uncorrected"), _find_recipe(task, choice, cell)
        if recipe is not None:
            _train(task, model, recipe)
        found = (choice.size(model), _right_images(task, model))
        equal[_equal(cell, choice.selection)] = _keep(task, scored, cell, choice.selection, found)
        if recipe is not None:
            recipe.forget()
    else:
        scored[cell] = replace(twin, cell=cell)
        append_point(task.folder, scored[cell])


def _keep(
    task: _ComparisonTask, scored: Scored, cell: ComparisonCell, selection: str, found: tuple[Size, Bools]
) -> ScoredCell:
    size, right = found
    point = ScoredCell(cell=cell, selection=selection, size=size, num_images=len(right), right=pack(right))
    append_point(task.folder, point)
    scored[cell] = point
    return point


def _equal(cell: ComparisonCell, selection: str) -> tuple[str, ...]:
    """Return what is equal for networks that are equal; training draws by the seed."""
    return (selection, cell.state, str(cell.seed) if cell.state == "fine_tuned" else "")


def _find_recipe(task: _ComparisonTask, choice: Selection, cell: ComparisonCell) -> Recipe[TrainingSettings] | None:
    """Return how a selection is trained; None where it is scored as it is."""
    training = task.settings.training
    if cell.state != "fine_tuned" or training is None:
        return None
    described = json.dumps([choice.selection, write_record(training), len(_tuned_images(task)), cell.seed])
    return Recipe(settings=training, seed=cell.seed, unfinished=task.folder / f"tuning-{digest(described)}.unfinished")


def _train(task: _ComparisonTask, model: fx.GraphModule, recipe: Recipe[TrainingSettings]) -> None:
    images = _tuned_images(task)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    train_model(model, images.inputs, images.targets, recipe)


def _tuned_images(task: _ComparisonTask) -> ImageSet:
    images = task.prepared.data.train
    return images.take(slice(task.settings.tuned_images or len(images)))


def _right_images(task: _ComparisonTask, model: fx.GraphModule) -> Bools:
    batch = task.prepared.study.compute.batch_size
    right: Bools = score_images(model, task.images, task.labels, batch) == 1
    return right


def refuse_other_settings(folder: Path, study: Study) -> None:
    """Raise SearchError when points in `folder` were scored under other settings, before anything is computed."""
    known, own = read_identity(folder), _settings(study)
    if known is not None:
        refuse_changes(folder, {key: known[key] for key in own.keys() & known.keys()}, own)


def _identity(prepared: PreparedStudy) -> dict[str, str]:
    """Return what points depend on, beside where they stand."""
    needed = {"explorer", "network", "graph", "weights", "images"}
    known = {key: value for key, value in prepared.identity().items() if key in needed}
    return {**_settings(prepared.study), **known, "training images": prepared.data.train.digest()}


def _settings(study: Study) -> dict[str, str]:
    """Return the settings that points depend on, those of the study's own criterion aside."""
    settings = study.comparison
    needed = {"model", "data", "quantizer", "relevance"} | ({"space"} if settings.of_case.widths_of_space else set())
    known = {key: value for key, value in study.essentials().items() if key.partition(".")[0] in needed}
    for key in ("relevance.method", "relevance.sensitivity"):
        known.pop(key, None)
    training = None if settings.training is None else write_record(settings.training)
    own = {"case": settings.case, "training": training, "tuned_images": settings.tuned_images}
    weighed = STEP_UNITS if settings.case == "steps" and study.quantizer.rounding == "adaptive" else {}
    return {**known, **{f"comparison.{key}": json.dumps(value) for key, value in own.items()}, **weighed}
