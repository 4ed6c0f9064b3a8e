"""Scores on whole sets of images, each kept: those of the front and the baselines, on search and held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
from torch import nn

from explorer.arrays import Float64Array
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.compress.failures import NUMERICAL, describe_failure
from explorer.data.images import ImageSet
from explorer.evaluate.engine import Runner
from explorer.evaluate.image_scores import pack_scores, unpack_scores
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.paired import find_loss_error
from explorer.evaluate.sampling import SampleOrder, restore_order
from explorer.evaluate.score import score_images
from explorer.progress import Notify
from explorer.study import front
from explorer.study.built import BuiltNetworks
from explorer.study.costing import list_violations
from explorer.study.prepare import PreparedStudy
from explorer.study.record import FLOAT, Evaluation, FrontPoint
from explorer.study.search import Search
from explorer.study.store import Store, name_scores
from explorer.study.ties import find_ties

Build = Callable[[], Runner]
"""Builds a network, to be run."""


@dataclass(frozen=True, slots=True)
class FinalScores:
    """Scores networks, and remembers every score in the store; those of `built` are not built again."""

    prepared: PreparedStudy
    store: Store
    built: BuiltNetworks = field(default_factory=BuiltNetworks)

    def prepare(self, context: CompressionContext, candidate: Candidate, build: Callable[[], nn.Module]) -> Build:
        """Return what builds a candidate's network in a context once, by `build` where it is not there already."""
        known = self.built.find(context, candidate)
        return cache(lambda: known or self.run(build))

    def run(self, build: Callable[[], nn.Module]) -> Runner:
        """Return a network, to be run."""
        return Runner(build(), self.prepared.study.compute.batch_size)

    def score(self, split: str, name: str, build: Build, *, finite: bool = False) -> MeanScore:
        """Return the mean score; NumericalError and the like where the network cannot be computed.

        With `finite` that includes where an output is NaN or infinite.
        """
        images: ImageSet = getattr(self.prepared.data, split)
        key = name_scores(split, images.digest(), name)
        packed = self.store.image_scores().get(key)
        if packed is None:
            packed = pack_scores(self._run(build, images, finite=finite))
            self.store.remember_score(key, packed)
        return MeanScore.of(unpack_scores(packed))

    def complete(self, number: int, name: str, build: Build) -> MeanScore:
        """Return the mean score on all images of the search of a trial that has seen the first of them; as `score`."""
        images = self.prepared.data.search
        key = name_scores("search", images.digest(), name)
        sample = self.store.sample()
        if sample is not None and key not in self.store.image_scores():
            order, seen = SampleOrder.from_json(sample).order, unpack_scores(self.store.read_images(number))
            rest, scores = order[len(seen) :], np.empty(len(order))
            scores[order[: len(seen)]] = seen
            scores[rest] = self._run(build, images.take(rest), finite=True)
            self.store.remember_score(key, pack_scores(scores))
        return self.score("search", name, build, finite=True)

    def _run(self, build: Build, images: ImageSet, *, finite: bool) -> Float64Array:
        batch, score = self.prepared.study.compute.batch_size, self.prepared.score
        return score_images(build(), *self.prepared.scored(images), batch, score, finite=finite)

    def find_held_out(self, candidate: Candidate) -> Float64Array:
        """Return the scores of the held-out images (N) that a member of the front has got."""
        name = name_built(candidate, self.prepared.context)
        return unpack_scores(
            self.store.image_scores()[name_scores("held_out", self.prepared.data.held_out.digest(), name)]
        )

    def find_search(self, item: Evaluation) -> Float64Array | None:
        """Return the scores of the search images (N) of a member of the front; None where not all are known."""
        key = name_scores(
            "search", self.prepared.data.search.digest(), name_built(item.candidate, self.prepared.context)
        )
        packed, sample = self.store.image_scores().get(key), self.store.sample()
        if packed is not None:
            return unpack_scores(packed)
        return None if sample is None else restore_order(self.store.read_images(item.number), sample)


def score_front_on_all(
    found: Sequence[Evaluation], task: Search, scorer: FinalScores, notify: Notify
) -> tuple[Evaluation, ...]:
    """Return the evaluations, of which those on the front are scored on all images of the search.

    What looked better on a part of the images than it is may leave the front then, and let others in.
    """
    known: dict[str, Evaluation] = {}
    while True:
        found = [
            replace(known.get(item.candidate.digest(), item), number=item.number, origin=item.origin) for item in found
        ]
        members = front.front(found, task.objectives)
        partial_scores = [item for item in members if item.score is not None and item.score.population is not None]
        if not partial_scores:
            return tuple(found)
        for index, item in enumerate(partial_scores):
            notify("all search images", index, len(partial_scores))
            known[item.candidate.digest()] = _score_on_all(item, task, scorer)
        notify("all search images", len(partial_scores), len(partial_scores))


def _score_on_all(item: Evaluation, task: Search, scorer: FinalScores) -> Evaluation:
    own = item.candidate.digest()
    try:
        context = scorer.prepared.context.for_search()
        build = scorer.prepare(context, item.candidate, partial(apply, context, item.candidate))
        score = scorer.complete(item.number, own, build)
    except NUMERICAL as error:
        return replace(item, score=None, failure=describe_failure(error))
    return replace(item, score=score, violations=list_violations(item.cost, score, task.budgets, task.objectives))


def compare_members(
    points: Sequence[FrontPoint], objectives: Sequence[str], scorer: FinalScores
) -> tuple[FrontPoint, ...]:
    """Return the members of a front, each with what it is tied with on the held-out images, and its loss's error."""
    scores = {point.name: scorer.find_held_out(point.evaluation.candidate) for point in points}
    ties = find_ties(points, objectives, scores)
    whole = scorer.store.image_scores().get(name_scores("search", scorer.prepared.data.search.digest(), FLOAT))
    found = [None if whole is None else scorer.find_search(point.evaluation) for point in points]
    return tuple(
        replace(
            point,
            tied_with=ties.get(point.name, ""),
            loss_error=None if images is None or whole is None else find_loss_error(unpack_scores(whole), images),
        )
        for point, images in zip(points, found, strict=True)
    )


def name_built(candidate: Candidate, context: CompressionContext) -> str:
    """Return what the scores of a candidate's network are kept as in the form that the front has it in."""
    final = context.quantizer.front_compensation
    return candidate.digest() if final is None else f"{candidate.digest()}/{final}"
