"""Export a point of a finished run: rebuild the network that was searched, write it, and check it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from torch import fx

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.compress.failures import NUMERICAL
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.integer.package import IntegerReport, export_integer, integer_marks
from explorer.export.onnx.qdq import export_onnx
from explorer.export.package import ExportReport, candidate_marks, export_candidate
from explorer.export.verify import run_onnx
from explorer.files import refuse_foreign
from explorer.graph.inputs import take
from explorer.integer.lower import integer_program
from explorer.progress import Notify
from explorer.study.finetune import read_tuned, reopen
from explorer.study.folder import locked
from explorer.study.network import threads_for
from explorer.study.record import FrontPoint, Outcome
from explorer.threads import single_threaded
from explorer.training.tuned import rebuild

FORMS = ("onnx", "integer")
"""What a network can be exported as."""


def deploy(
    outcome: Outcome,
    point: FrontPoint,
    run: Path,
    to: Path,
    notify: Notify,
    *,
    tuned: bool = False,
    form: str = "onnx",
) -> ExportReport | IntegerReport:
    """Rebuild `point` of the run in folder `run`, fine-tuned if `tuned`, and export it to folder `to`.

    `form` is one of FORMS: a quantised ONNX network, or one of integers only. ExportError or SearchError when the
    model or the data are no longer what was searched or tuned, or when the exported network's predictions differ.
    """
    if form not in FORMS:
        raise ExportError(f"export: unknown format {form!r}; choose one of {', '.join(FORMS)}")
    if to.exists() and not to.is_dir():
        raise ExportError(f"{to}: is not a folder; choose another one for --to")
    refuse_foreign(integer_marks(to) if form == "integer" else candidate_marks(to))
    with locked(run):
        prepared = reopen(outcome, run, notify)
        weights = read_tuned(run, point, prepared) if tuned else None
    if weights is not None:
        scored = replace(point.evaluation, score=None)  # the search scored it before it was tuned
        point = replace(point, evaluation=scored, held_out=MeanScore(**weights.description["held_out"]))
    notify("export", 0, 1)
    images, labels = prepared.tensors(prepared.data.held_out)
    with threads_for(prepared.context.graph):
        candidate = point.evaluation.candidate
        model = apply(prepared.context, candidate) if weights is None else rebuild(prepared.context, candidate, weights)
        if form == "integer":
            study = prepared.study.name
            integers = export_integer(point.name, model, prepared.context, (images, labels), to, candidate, study)
            notify("export", 1, 1)
            return integers
        exported = export_candidate(
            point,
            model,
            prepared.context,
            images,
            labels,
            to,
            prepared.study.name,
            outcome.device,
            finetuning=None if weights is None else weights.description,
        )
    if exported.score.num_images == point.held_out.num_images and exported.verification.agreement == 1.0:
        _compare(exported, point)
    notify("export", 1, 1)
    return exported


def all_refusals(context: CompressionContext) -> tuple[tuple[str, str], ...]:
    """(form, reason) for each form that no candidate of a network can be exported as.

    None is foreseen where the network with 8 bits everywhere cannot be computed.
    """
    with single_threaded(True):
        try:
            model = _plain(context)
        except NUMERICAL:
            return ()
        return tuple((form, reason) for form in FORMS for reason in refusals(context, form, model))


def refusals(context: CompressionContext, form: str, model: fx.GraphModule | None = None) -> tuple[str, ...]:
    """Why no candidate of a network can be exported as `form`, one of FORMS; empty where the export works.

    Found by exporting the network with 8 bits everywhere to a folder that is removed: whether there is a rule for a
    node depends on neither widths nor weights, so that those of an untrained network, calibrated on a few images and
    rounded to the nearest, serve as well. What a single candidate alone can be refused for, such as sums beyond 32
    bits, is not foreseen.
    """
    shapes = context.graph.input_shapes
    try:
        model = model or _plain(context)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            if form == "integer":
                export_integer_onnx(integer_program(model, shapes), path)
            else:
                export_onnx(model, shapes, path)
                export_onnx(context.model, shapes, Path(folder) / "float32.onnx")
            run_onnx(path, take(context.calibration.images, slice(2)))
    except ExportError as error:
        return (str(error),)
    return ()


def _plain(context: CompressionContext) -> fx.GraphModule:
    """The network with 8 bits everywhere, rounded to the nearest."""
    return apply(replace(context, quantizer=replace(context.quantizer, rounding="nearest")), uniform(context.graph))


def _compare(exported: ExportReport, point: FrontPoint) -> None:
    """With equal predictions the accuracy must be the one that was reported."""
    if abs(exported.score.value - point.held_out.value) > 0.01:
        raise ExportError(
            f"export: {exported.network} is right on {exported.score.value:.2%} of the held-out images, the "
            f"report says {point.held_out.value:.2%}; the data have changed since: run the study again"
        )
