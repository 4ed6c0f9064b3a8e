"""Beacons: a few candidates that a search has scored are tuned for an epoch, to tell what the others would gain.

After the beacons of MOHAQ (Rezk et al., 2022, arXiv 2108.01192), of which neighbours inherit parameters; here what all
others gain is predicted (`explorer.study.after_tuning`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate, uniform
from explorer.digests import digest
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.sampled import SampledScore
from explorer.evaluate.score import score_images
from explorer.search.seeds import Seed
from explorer.settings import FineTuningSettings
from explorer.settings.records import write_record
from explorer.study.after_tuning import Reference, choose_beacons
from explorer.study.evaluated import evaluations
from explorer.study.final_scores import FinalScores
from explorer.study.finetune import find_tuning_loss
from explorer.study.jobs import evaluate
from explorer.study.prepare import PreparedStudy
from explorer.study.record import FLOAT, Beacon, Evaluation
from explorer.study.search import Search
from explorer.study.store import Store
from explorer.study.trials import TrialResult
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.tuned import rebuild

EPOCHS = 1
"""That a beacon is tuned for (assumed)."""
ORIGIN = "beacon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How the candidates of a search are tuned, and the store of those that are."""

    prepared: PreparedStudy
    recipe: Recipe[FineTuningSettings]
    beacons: Store

    @classmethod
    def open(cls, prepared: PreparedStudy, store: Store, *, create: bool = False) -> Tuning:
        """Return the tuning by a study's [finetuning], for EPOCHS; what was tuned otherwise stands beside its beacons.

        Raises:
            KeyError: When no run has created the store of beacons that are so tuned.
            ModelError: Where no loss is named for targets that are no class numbers.
        """
        study, settings = prepared.study, replace(prepared.study.finetuning, epochs=EPOCHS)
        loss = find_tuning_loss(study, prepared.data, settings)
        recipe = Recipe(settings=settings, seed=study.seed, loss=loss)
        conditions = {**write_record(settings), "loss code": loss.code, "train": prepared.data.train.digest()}
        kind = f"/{ORIGIN}s/{digest(json.dumps(conditions, sort_keys=True))}"
        return cls(prepared=prepared, recipe=recipe, beacons=store.beside(kind, create=create))

    def evaluate(self, candidate: Candidate, rival: str) -> TrialResult:
        """Return what is found of a candidate that is tuned; it has no rival."""
        return evaluate(self.score, _list_no_entropies, candidate, rival)

    def score(self, candidate: Candidate, rival: Float64Array | None) -> SampledScore:
        """Tune a candidate on the training images, and score it on all images of the search."""
        prepared, data = self.prepared, self.prepared.data
        tuned = finetune(prepared.context, candidate, *prepared.tensors(data.train), self.recipe)
        model, batch = rebuild(prepared.context, candidate, tuned), prepared.study.compute.batch_size
        scores = score_images(model, *prepared.scored(data.search), batch, prepared.score, finite=True)
        return SampledScore(mean=MeanScore.of(scores), scores=scores)


def plan_beacons(tuning: Tuning, task: Search, store: Store) -> Search | None:
    """Return the search whose candidates are the beacons of one that is over; None where none was scored.

    They are trials as any others: proposed in order, claimed by whoever is there, and evaluated again after a loss.
    Those that are known stay; what is chosen beside them follows from what was evaluated.
    """
    known = [trial.candidate for trial in tuning.beacons.trials()]
    chosen = choose_beacons(
        evaluations(task, store),
        known,
        task.settings.beacons,
        _find_reference(tuning.prepared, task, store),
        task.budgets,
        task.objectives,
    )
    seeds = [Seed(candidate=candidate, origin=ORIGIN) for candidate in (*known, *chosen)]
    if not seeds:
        return None
    return replace(
        task,
        settings=replace(task.settings, trials=len(seeds), lag=len(seeds)),
        seeds=seeds,
        score_candidate=tuning.score,
        list_entropies=_list_no_entropies,
    )


def _list_no_entropies(candidate: Candidate) -> tuple[float, ...]:
    return ()


def _find_reference(prepared: PreparedStudy, task: Search, store: Store) -> Reference:
    eight = task.price_candidate(uniform(prepared.context.graph))
    scorer = FinalScores(prepared, store)
    score = scorer.score("search", FLOAT, partial(scorer.run, lambda: prepared.context.model))
    return Reference(score=score, macs=eight.macs, weight_bytes=eight.weight_bytes)


def list_beacons(found: Sequence[Evaluation], beacons: Store) -> tuple[Beacon, ...]:
    """Return the beacons with what they scored, by the numbers of what was evaluated.

    Those that failed are left out, and those whose evaluation a damaged journal has lost, until it is made again.
    """
    numbers: Mapping[Candidate, int] = {item.candidate: item.number for item in reversed(found) if item.score}
    scored = [(numbers.get(trial.candidate), trial.score) for trial in beacons.stored()]
    return tuple(
        Beacon(number=number, score=score) for number, score in scored if number is not None and score is not None
    )
