"""Fine-tuning of members of a finished run's front: trained in its folder, scored on search and held-out images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explorer.arrays import Float64Array
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.data.images import Data, ImageSet
from explorer.errors import SearchError
from explorer.evaluate.coded_size import count_coded_bytes
from explorer.evaluate.mean_score import MeanScore, name_score
from explorer.evaluate.paired import find_loss_error
from explorer.evaluate.score import Score, score_images
from explorer.evaluate.weight_entropy import count_entropies
from explorer.progress import Notify
from explorer.settings import ComputeSettings, FineTuningSettings
from explorer.settings.records import write_record
from explorer.study.better_tuned import is_better, is_made, keep_before, refuse_incomparable, tell_kept
from explorer.study.costing import candidate_cost
from explorer.study.folder import locked, read_study
from explorer.study.network import threads_for
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.record import Cost, FrontPoint, Outcome, TunedScores
from explorer.study.study_file import Study
from explorer.study.tuned_front import keep_scores, tuned_file
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.loss import CROSS_ENTROPY, Loss, find_loss
from explorer.training.tuned import Tuned, rebuild
from hwmodels import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningReport:
    """A point with what fine-tuning made of it, and the file with the network, where it is kept in one."""

    point: FrontPoint
    scores: TunedScores
    tuned: Tuned
    file: Path | None
    score: str
    kept: str = ""
    """That an earlier tuning was kept, and why."""

    @property
    def after(self) -> MeanScore:
        """The tuned network's score on held-out images."""
        return self.scores.held_out

    def summary(self) -> str:
        """Return lines for the terminal."""
        pair = self.point.held_out, self.scores.held_out
        before, after = (f"{entry.value:.2%} (+- {entry.standard_error:.2%})" for entry in pair)
        epochs = f"{self.scores.epochs} epoch{'s' if self.scores.epochs > 1 else ''}"
        kept = self.tuned.description["kept_epoch"]
        kept_of = "" if kept == self.scores.epochs else f", as it was {f'after {kept}' if kept else 'at the start'}"
        scored = f"{name_score(self.score)} on {self.scores.held_out.num_images} held-out images"
        told = f"{self.point.name}: {self.kept}\n" if self.kept else ""
        return f"{told}{self.point.name}, {scored}: {before} before, {after} after {epochs}{kept_of}" + (
            "" if self.file is None else f"\n{self.file}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPlace:
    """What the networks of a front are tuned from and scored on; `folder`, which is locked, keeps them where given.

    `accelerator` is None where the device of the search is not known here: a tuned network costs then what it did.
    """

    context: CompressionContext
    data: Data
    torch_device: torch.device
    score: Score
    seed: int
    weights_digest: str
    settings: FineTuningSettings
    loss: Loss
    accelerator: Accelerator | None
    batch_size: int = ComputeSettings().batch_size
    folder: Path | None = None

    def tune(self, points: Sequence[FrontPoint], notify: Notify) -> tuple[TuningReport, ...]:
        """Fine-tune points one after the other.

        What is found under equal conditions is not made again; after an interruption the same call goes on. Of an
        earlier tuning and a new one the better is kept.

        Raises:
            SearchError: Which is better could not be told.
        """
        conditions, made = self._conditions(), []
        stored = {point.name: self._read(point) for point in points}
        missing = [name for name, tuned in stored.items() if not (tuned and is_made(tuned.description, conditions))]
        for point in points:
            file, earlier = self._file(point), stored[point.name]
            if file is not None and earlier is not None and point.name in missing:
                refuse_incomparable(point.name, file, earlier.description, conditions)
        with threads_for(self.context.graph):
            score_float = cache(lambda: self._score(self.context.model, self.data.search))
            for point in points:
                tuned = stored[point.name]
                if tuned is None or point.name in missing:
                    told = _part(missing.index(point.name), len(missing), notify)
                    tuned = self._tune(point, tuned, score_float, told)
                made.append(self._report(point, tuned))
            return tuple(made)

    def _report(self, point: FrontPoint, tuned: Tuned) -> TuningReport:
        candidate = point.evaluation.candidate
        scores = TunedScores(
            epochs=tuned.description["epochs"],
            search=MeanScore(**tuned.description["search"]),
            held_out=MeanScore(**tuned.description["held_out"]),
            cost=self._cost(point, tuned),
            loss_error=tuned.description.get("loss_error"),
        )
        if self.folder is not None:
            keep_scores(self.folder, self.weights_digest, candidate.digest(), scores)
        kept, file = tell_kept(tuned.description, self._conditions()), self._file(point)
        return TuningReport(point=point, scores=scores, tuned=tuned, file=file, score=self.score.name, kept=kept)

    def _cost(self, point: FrontPoint, tuned: Tuned) -> Cost:
        cost, candidate = point.evaluation.cost, point.evaluation.candidate
        built = rebuild(self.context, candidate, tuned)
        counted = None if cost.coded_bytes is None else count_coded_bytes(built)
        if self.accelerator is not None:
            graph = self.context.graph_without(candidate.removed_blocks)
            cost = candidate_cost(graph, candidate, self.accelerator, count_entropies(built, graph))
        return replace(cost, coded_bytes=counted)

    def _tune(
        self,
        point: FrontPoint,
        earlier: Tuned | None,
        score_float: Callable[[], Float64Array],
        notify: Callable[[int, int], None],
    ) -> Tuned:
        """Return what a point is tuned to, with its scores, or what it was tuned to earlier where that is better."""
        file, candidate, conditions = self._file(point), point.evaluation.candidate, self._conditions()
        if file is not None:
            file.parent.mkdir(exist_ok=True)
        unfinished = None if file is None else file.with_suffix(".unfinished")
        recipe = Recipe(settings=self.settings, seed=self.seed, loss=self.loss, unfinished=unfinished)
        tuned = finetune(
            self.context,
            candidate,
            *self.data.train.tensors(self.torch_device),
            recipe,
            progress=lambda done, count, _: notify(done, count),
        )
        tuned = replace(tuned, description={**tuned.description, **conditions})
        if earlier is not None and not is_better(tuned.description, earlier.description):
            tuned = keep_before(earlier, tuned, conditions)
        else:
            tuned = self._score_tuned(candidate, tuned, score_float)
            tuned = tuned if earlier is None else keep_before(tuned, earlier, conditions)
        if file is not None:
            tuned.save(file)
            recipe.forget()
        return tuned

    def _score_tuned(self, candidate: Candidate, tuned: Tuned, score_float: Callable[[], Float64Array]) -> Tuned:
        """Return it with its scores, and the error of its loss beside those of the float network."""
        model = rebuild(self.context, candidate, tuned)
        scores = {name: self._score(model, images) for name, images in self._evaluated().items()}
        found: dict[str, Any] = {name: asdict(MeanScore.of(each)) for name, each in scores.items()}
        found["loss_error"] = find_loss_error(score_float(), scores["search"])
        return replace(tuned, description={**tuned.description, **found})

    def _score(self, model: nn.Module, images: ImageSet) -> Float64Array:
        return score_images(model, *images.scored(self.torch_device), self.batch_size, self.score)

    def _evaluated(self) -> dict[str, ImageSet]:
        return {"search": self.data.search, "held_out": self.data.held_out}

    def _file(self, point: FrontPoint) -> Path | None:
        return None if self.folder is None else tuned_file(self.folder, point.evaluation.candidate.digest())

    def _read(self, point: FrontPoint) -> Tuned | None:
        """Return what a point was tuned to, where that began at this network."""
        file = self._file(point)
        if file is None or not file.is_file():
            return None
        tuned = Tuned.load(file)
        is_own = tuned.candidate == point.evaluation.candidate.digest()
        return tuned if is_own and tuned.description.get("weights") == self.weights_digest else None

    def _conditions(self) -> dict[str, object]:
        """Return what the result depends on, the candidate aside."""
        return {
            **write_record(self.settings),
            "seed": self.seed,
            "loss code": self.loss.code,
            "weights": self.weights_digest,
            "train": self.data.train.digest(),
            "evaluated": {name: images.digest() for name, images in self._evaluated().items()},
        }


def tune(
    outcome: Outcome, points: Sequence[FrontPoint], run: Path, epochs: int | None, notify: Notify
) -> tuple[TuningReport, ...]:
    """Fine-tune `points` of the run in folder `run` by its study's [finetuning], for `epochs` where given.

    Networks and scores are stored in the folder.

    Raises:
        ExplorerError: When the model or the data are no longer what was searched, or the loss is not finite.
    """
    with locked(run):
        prepared = reopen(outcome, run, notify)
        settings = prepared.study.finetuning
        settings = settings if epochs is None else replace(settings, epochs=epochs)
        place = TuningPlace(
            context=prepared.context,
            data=prepared.data,
            torch_device=prepared.torch_device,
            score=prepared.score,
            seed=prepared.study.seed,
            weights_digest=prepared.weights_digest,
            settings=settings,
            loss=find_tuning_loss(prepared.study, prepared.data, settings),
            accelerator=prepared.accelerator,
            batch_size=prepared.study.compute.batch_size,
            folder=run,
        )
        return place.tune(points, notify)


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


def read_tuned(run: Path, point: FrontPoint, weights_digest: str) -> Tuned:
    """Return what `tune` stored of a point.

    Raises:
        SearchError: When there is nothing, or it is of another network.
    """
    file = tuned_file(run, point.evaluation.candidate.digest())
    command = f"explorer finetune {run} --pick {point.name}"
    if not file.is_file():
        raise SearchError(f"{run}: {point.name} is not fine-tuned; tune it with: {command}")
    tuned = Tuned.load(file)
    if tuned.description.get("weights") != weights_digest:
        raise SearchError(f"{file}: was tuned from another network; delete it, and tune again with: {command}")
    return tuned


def find_tuning_loss(study: Study, data: Data, settings: FineTuningSettings) -> Loss:
    """Return what candidates are fine-tuned by: the study's loss, or that of its training, or cross entropy.

    Raises:
        ModelError: Where none is named for targets that are no class numbers, and the teacher alone does not do.
    """
    training = study.model.training
    name = settings.loss or (None if training is None else training.loss)
    if name is None and settings.teacher and settings.teacher_weight == 1.0:
        return CROSS_ENTROPY  # counts nothing
    key = "finetuning.loss" if settings.loss or training is None or training.loss is None else "model.training.loss"
    return find_loss(name, study.folder, key, data.num_classes, "set finetuning.teacher_weight = 1")


def _part(before: int, of: int, notify: Notify) -> Callable[[int, int], None]:
    """Return progress of one of several points as that of all."""
    return lambda done, count: notify("fine-tune, batches", before * count + done, of * count)
