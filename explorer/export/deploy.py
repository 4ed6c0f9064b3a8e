"""Export a point of a finished run: rebuild the network that was searched, write it, and check it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from explorer.compress.apply import apply
from explorer.errors import ExportError
from explorer.export.integer_package import IntegerReport, export_integer
from explorer.export.package import ExportReport, export_candidate
from explorer.study.folder import locked
from explorer.study.prepare import Notify, threads_for
from explorer.study.record import Accuracy, FrontPoint, Outcome
from explorer.study.tuning import read_tuned, reopen

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
    with locked(run):
        prepared = reopen(outcome, run, notify)
        weights = read_tuned(run, point, prepared) if tuned else None
    if weights is not None:
        scored = replace(point.evaluation, accuracy=None)  # the search scored it before it was tuned
        point = replace(point, evaluation=scored, held_out=Accuracy(**weights.description["held_out"]))
    notify("export", 0, 1)
    images, labels = prepared.tensors(prepared.data.held_out)
    with threads_for(prepared.basis.graph):
        model = apply(prepared.basis, point.evaluation.candidate, weights)
        if form == "integer":
            details = {"study": prepared.study.name, "candidate": point.evaluation.candidate.to_json()}
            integers = export_integer(point.name, model, prepared.basis, (images, labels), to, details)
            notify("export", 1, 1)
            return integers
        exported = export_candidate(
            point,
            model,
            prepared.basis,
            images,
            labels,
            to,
            prepared.study.name,
            outcome.device,
            finetuning=None if weights is None else weights.description,
        )
    if exported.accuracy.images == point.held_out.images and exported.verification.agreement == 1.0:
        _compare(exported, point)
    notify("export", 1, 1)
    return exported


def _compare(exported: ExportReport, point: FrontPoint) -> None:
    """With equal predictions the accuracy must be the one that was reported."""
    if abs(exported.accuracy.value - point.held_out.value) > 0.01:
        raise ExportError(
            f"export: {exported.network} is right on {exported.accuracy.value:.2%} of the held-out images, the "
            f"report says {point.held_out.value:.2%}; the data have changed since: run the study again"
        )
