"""Export a point of a finished run: rebuild the network that was searched, write it, and check it."""

from __future__ import annotations

from pathlib import Path

from explorer.compress.apply import apply
from explorer.errors import ExportError
from explorer.export.package import ExportReport, export_candidate
from explorer.study.folder import locked, read_study
from explorer.study.prepare import Notify, prepare, threads_for
from explorer.study.record import FrontPoint, Outcome


def deploy(outcome: Outcome, point: FrontPoint, run: Path, to: Path, notify: Notify) -> ExportReport:
    """Rebuild `point` of the run in folder `run` and export it to folder `to`.

    ExportError when the model or the data are no longer what was searched, or when the exported network's
    predictions differ.
    """
    if to.exists() and not to.is_dir():
        raise ExportError(f"{to}: is not a folder; choose another one for --to")
    with locked(run):
        prepared = prepare(read_study(run), run, notify)
    if prepared.weights_digest != outcome.provenance["weights digest"]:
        raise ExportError(
            f"{run}: the network has changed since the search (weights digest {prepared.weights_digest}, "
            f"was {outcome.provenance['weights digest']}); restore its checkpoint, or run the study again"
        )
    notify("export", 0, 1)
    images, labels = prepared.tensors(prepared.data.held_out)
    with threads_for(prepared.basis.graph):
        model = apply(prepared.basis, point.evaluation.candidate)
        exported = export_candidate(
            point, model, prepared.basis, images, labels, to, prepared.study.name, outcome.device
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
