"""Fine-tuning of a point of a finished run's front: trained in the run's folder, scored on held-out images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore, name_score
from explorer.evaluate.score import score_images
from explorer.progress import Notify
from explorer.settings import FineTuningSettings
from explorer.settings.records import write_record
from explorer.study.folder import locked, read_study
from explorer.study.network import threads_for
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.record import FrontPoint, Outcome
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.loss import CROSS_ENTROPY, Loss, find_loss
from explorer.training.tuned import Tuned, rebuild

FOLDER = "tuned"
"""Of a run's folder: one file for each candidate, named after its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningReport:
    """A point before and after fine-tuning, both on the held-out images, and the file with the result."""

    point: str
    file: Path
    epochs: int
    before: MeanScore
    after: MeanScore
    score: str

    def summary(self) -> str:
        """Return lines for the terminal."""
        before, after = (f"{entry.value:.2%} (+- {entry.standard_error:.2%})" for entry in (self.before, self.after))
        epochs = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        scored = f"{name_score(self.score)} on {self.after.num_images} held-out images"
        return f"{self.point}, {scored}: {before} before, {after} after {epochs}\n{self.file}"


def tune(outcome: Outcome, point: FrontPoint, run: Path, epochs: int | None, notify: Notify) -> TuningReport:
    """Fine-tune `point` of the run in folder `run` by its study's [finetuning], for `epochs` where given.

    The result is stored in the folder; found there with equal settings it is not made again. After an interruption the
    same call goes on after the last full epoch.

    Raises:
        ExplorerError: When the model or the data are no longer what was searched, or the loss is not finite.
    """
    with locked(run):
        prepared = reopen(outcome, run, notify)
        settings = prepared.study.finetuning
        settings = settings if epochs is None else replace(settings, epochs=epochs)
        file = tuned_file(run, point)
        with threads_for(prepared.context.graph):
            tuned = _found(file, prepared, settings) or _tune(prepared, point, settings, file, notify)
    return TuningReport(
        point=point.name,
        file=file,
        epochs=settings.epochs,
        score=prepared.score.name,
        before=point.held_out,
        after=MeanScore(**tuned.description["held_out"]),
    )


def reopen(outcome: Outcome, run: Path, notify: Notify) -> PreparedStudy:
    """Prepare the study of a finished run, whose folder is locked, again.

    Raises:
        SearchError: When its network has changed.
    """
    prepared = open_study(read_study(run), run, notify)
    searched = outcome.provenance.get("weights digest")
    if prepared.weights_digest != searched:
        raise SearchError(
            f"{run}: the network has changed since the search (weights digest {prepared.weights_digest}, "
            f"was {searched}); restore its checkpoint, or run the study again"
        )
    return prepared


def read_tuned(run: Path, point: FrontPoint, prepared: PreparedStudy) -> Tuned:
    """Return what `tune` stored of a point.

    Raises:
        SearchError: When there is nothing, or it is of another network.
    """
    file = tuned_file(run, point)
    command = f"explorer finetune {run} --pick {point.name}"
    if not file.is_file():
        raise SearchError(f"{run}: {point.name} is not fine-tuned; tune it with: {command}")
    tuned = Tuned.load(file)
    if tuned.description.get("weights") != prepared.weights_digest:
        raise SearchError(f"{file}: was tuned from another network; delete it, and tune again with: {command}")
    return tuned


def tuned_file(run: Path, point: FrontPoint) -> Path:
    """Return where the fine-tuned network of a point is stored."""
    return run / FOLDER / f"{point.evaluation.candidate.digest()}.pt"


def find_tuning_loss(prepared: PreparedStudy, settings: FineTuningSettings) -> Loss:
    """Return what candidates are fine-tuned by: the study's loss, or that of its training, or cross entropy.

    Raises:
        ModelError: Where none is named for targets that are no class numbers, and the teacher alone does not do.
    """
    study, training = prepared.study, prepared.study.model.training
    name = settings.loss or (None if training is None else training.loss)
    if name is None and settings.teacher and settings.teacher_weight == 1.0:
        return CROSS_ENTROPY  # counts nothing
    key = "finetuning.loss" if settings.loss or training is None or training.loss is None else "model.training.loss"
    return find_loss(name, study.folder, key, prepared.data.num_classes, "set finetuning.teacher_weight = 1")


def _tune(
    prepared: PreparedStudy, point: FrontPoint, settings: FineTuningSettings, file: Path, notify: Notify
) -> Tuned:
    file.parent.mkdir(exist_ok=True)
    candidate = point.evaluation.candidate
    tuned = finetune(
        prepared.context,
        candidate,
        *prepared.tensors(prepared.data.train),
        Recipe(
            settings=settings,
            seed=prepared.study.seed,
            loss=find_tuning_loss(prepared, settings),
            unfinished=file.with_suffix(".unfinished"),
        ),
        progress=lambda done, count, _: notify("fine-tune, batches", done, count),
    )
    notify("held-out images", 0, 1)
    held_out = prepared.data.held_out
    model = rebuild(prepared.context, candidate, tuned)
    scores = score_images(model, *prepared.tensors(held_out), prepared.study.compute.batch_size, prepared.score)
    notify("held-out images", 1, 1)
    known = {**tuned.description, **_conditions(prepared, settings), "held_out": asdict(MeanScore.of(scores))}
    tuned = replace(tuned, description=known)
    tuned.save(file)
    return tuned


def _found(file: Path, prepared: PreparedStudy, settings: FineTuningSettings) -> Tuned | None:
    """Return the stored result, where it was made under the same conditions."""
    if not file.is_file():
        return None
    tuned = Tuned.load(file)
    same = all(tuned.description.get(key) == value for key, value in _conditions(prepared, settings).items())
    return tuned if same else None


def _conditions(prepared: PreparedStudy, settings: FineTuningSettings) -> dict[str, object]:
    """Return what the result depends on, the candidate aside."""
    return {
        **write_record(settings),
        "seed": prepared.study.seed,
        "weights": prepared.weights_digest,
        "train": prepared.data.train.digest(),
        "evaluated": prepared.data.held_out.digest(),
    }
