"""Export a point of a finished run, or a network of uniform widths: rebuild it, write it, and check it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import fx

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.failures import NUMERICAL
from explorer.errors import ExportError
from explorer.evaluate.coded_size import count_coded_bytes
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import LIKENESS, score_images
from explorer.evaluate.weight_entropy import count_entropies
from explorer.export.formats import DEFAULT_FORMAT, FORMATS, Deployment, Exported, FileTypes, Format, list_installed
from explorer.export.verify import TOLERANCE
from explorer.files import refuse_foreign
from explorer.progress import Notify, silent
from explorer.study.costing import candidate_cost
from explorer.study.finetune import read_tuned, reopen
from explorer.study.folder import locked
from explorer.study.network import threads_for
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.record import Cost, Evaluation, FrontPoint, Outcome
from explorer.study.study_file import Study
from explorer.threads import single_threaded
from explorer.training.tuned import rebuild


def deploy(
    outcome: Outcome,
    point: FrontPoint,
    run: Path,
    to: Path,
    notify: Notify = silent,
    *,
    tuned: bool = False,
    form: str = DEFAULT_FORMAT,
    types: FileTypes | None = None,
) -> Exported:
    """Rebuild `point` of the run in folder `run`, fine-tuned if `tuned`, and export it to folder `to`.

    Args:
        form: One of FORMATS.
        types: For a format that leaves these open.

    Raises:
        ExportError: The exported network's predictions differ.
        SearchError: Model or data are no longer what was searched or tuned.
    """
    exporter = find_format(form, to, types)
    with locked(run):
        prepared = reopen(outcome, run, notify)
        weights = read_tuned(run, point, prepared.weights_digest) if tuned else None
    notify("export", 0, 1)
    with threads_for(prepared.context.graph):
        candidate = point.evaluation.candidate
        model = apply(prepared.context, candidate) if weights is None else rebuild(prepared.context, candidate, weights)
        tuning: dict[str, Any] = {}
        if weights is not None:  # the search scored it before it was tuned, and other integers may cost otherwise
            tuning = {"finetuning": weights.description, "untuned": point.held_out}
            tuned_evaluation = replace(point.evaluation, score=None, cost=_cost(prepared, candidate, model))
            held_out = MeanScore(**weights.description["held_out"])
            point = replace(point, evaluation=tuned_evaluation, held_out=held_out)
        exported = exporter.write(replace(_deployment(prepared, point, model, types), **tuning), to)
    counted = prepared.score is not LIKENESS  # which outputs of 8 bits cost some, of equal predictions
    if counted and exported.score.num_images == point.held_out.num_images and exported.verification.agreement == 1.0:
        _compare(exported, point, prepared.score.name)
    notify("export", 1, 1)
    return exported


def deploy_uniform(
    study: Study,
    run: Path,
    to: Path,
    notify: Notify = silent,
    bits: tuple[int, int] = (8, 8),
    *,
    form: str = DEFAULT_FORMAT,
) -> Exported:
    """Export the network of a study with all layers at `bits` (weights, activations), without a search.

    What is trained and measured on the way is kept in folder `run`.

    Raises:
        ExplorerError: For what is wrong with study, data or model, or cannot be exported.
    """
    exporter = find_format(form, to)
    with locked(run):
        prepared = open_study(study, run, notify)
    notify("export", 0, 1)
    with threads_for(prepared.context.graph):
        candidate = uniform(prepared.context.graph, *bits)
        model = apply(prepared.context, candidate)
        cost = _cost(prepared, candidate, model)
        evaluation = Evaluation(number=0, origin="uniform", candidate=candidate, cost=cost, score=None)
        images, targets = prepared.scored(prepared.data.held_out)
        held_out = MeanScore.of(score_images(model, images, targets, study.compute.batch_size, prepared.score))
        point = FrontPoint(name="w{}a{}".format(*bits), evaluation=evaluation, held_out=held_out)
        exported = exporter.write(_deployment(prepared, point, model), to)
    notify("export", 1, 1)
    return exported


def find_format(form: str, to: Path, types: FileTypes | None = None) -> Format:
    """Return one of FORMATS by its name.

    Raises:
        ExportError: For another, for one whose package is not installed, or that has no choice of types where one is
            made, and for a folder with files not its own.
    """
    if form not in FORMATS:
        raise ExportError(f"export: unknown format {form!r}; choose one of {', '.join(FORMATS)}")
    if to.exists() and not to.is_dir():
        raise ExportError(f"{to}: is not a folder; choose another one")
    entry = FORMATS[form]
    if not entry.is_installed:
        package = str(entry.requires).replace("_", "-")
        raise ExportError(
            f"export: the format {form} takes {package}, which is not installed; install it with: pip install {package}"
        )
    if types not in {None, FileTypes()} and not entry.has_types:
        able = " or ".join(name for name, exporter in FORMATS.items() if exporter.has_types)
        raise ExportError(f"export: the format {form} has no choice of types; leave them out, or use --format {able}")
    exporter = entry.load()
    refuse_foreign(exporter.list_marks(to))
    return exporter


def find_all_refusals(context: CompressionContext, *, dear: bool = True) -> tuple[tuple[str, str], ...]:
    """Return (form, reason) for each installed form that no candidate of a network can be exported as.

    Of forms that are dear to try out none is looked at unless `dear`.

    None is foreseen where the network with 8 bits everywhere cannot be computed.
    """
    with single_threaded(True):
        try:
            model = _plain(context)
        except NUMERICAL:
            return ()
        return tuple(
            (form, reason) for form in list_installed(dear=dear) for reason in find_refusals(context, form, model)
        )


def find_refusals(context: CompressionContext, form: str, model: fx.GraphModule | None = None) -> tuple[str, ...]:
    """Return why no candidate of a network can be exported as `form`, one of FORMATS; empty where the export works.

    Found by exporting the network with 8 bits everywhere to a folder that is removed: whether there is a rule for a
    node depends on neither widths nor weights, so that those of an untrained network, calibrated on a few images and
    rounded to the nearest, serve as well. What a single candidate alone can be refused for, such as sums beyond 32
    bits, is not foreseen.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            FORMATS[form].load().try_out(model or _plain(context), context, Path(folder))
    except ExportError as error:
        return (str(error),)
    return ()


def _deployment(
    prepared: PreparedStudy,
    point: FrontPoint,
    model: fx.GraphModule,
    types: FileTypes | None = None,
) -> Deployment:
    images, targets = prepared.scored(prepared.data.held_out)
    removed = point.evaluation.candidate.removed_blocks
    return Deployment(
        point=point,
        model=model,
        context=prepared.context.shortened(removed),
        images=images,
        targets=targets,
        data=prepared.data,
        score=prepared.score,
        study=prepared.study.name,
        device=prepared.accelerator.name,
        types=types or FileTypes(),
    )


def _cost(prepared: PreparedStudy, candidate: Candidate, model: fx.GraphModule) -> Cost:
    """Return what a candidate costs with the integers of the network that was built of it."""
    graph = prepared.context.graph_without(candidate.removed_blocks)
    cost = candidate_cost(graph, candidate, prepared.accelerator, count_entropies(model, graph))
    return cost if prepared.coded is None else replace(cost, coded_bytes=count_coded_bytes(model))


def _plain(context: CompressionContext) -> fx.GraphModule:
    """Return the network with 8 bits everywhere, rounded to the nearest."""
    plain = replace(context.quantizer, rounding="nearest", compensation="none", front_compensation=None)
    return apply(context if plain == context.quantizer else replace(context, quantizer=plain), uniform(context.graph))


def _compare(exported: Exported, point: FrontPoint, name: str) -> None:
    """Raise ExportError where predictions are equal, but the score is not the one that was reported."""
    if round(abs(exported.score.value - point.held_out.value), 9) > TOLERANCE:  # one image of 100 is no more than that
        raise ExportError(
            f"export: {exported.files[0]} has {name} {exported.score.value:.2%} on the held-out images, the "
            f"report says {point.held_out.value:.2%}; the data have changed since: run the study again"
        )
