"""How long a study will take, measured on its untrained network before the work."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from explorer.compress.apply import Basis, apply
from explorer.compress.candidate import uniform
from explorer.evaluate.accuracy import count_correct
from explorer.models.train import train_model
from explorer.relevance.criteria import CRITERIA
from explorer.study.costing import candidate_cost
from explorer.study.prepare import EXAMPLES, Network, relevance_sample, threads_for
from explorer.study.study_file import Study
from explorer.study.weights import trained_places
from hwmodels import Accelerator

BATCHES = 2
"""Batches that are timed for all."""
FRONT = 30
"""Members of the front that will be scored on held-out images (assumed)."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of a candidate, and of each stage of the run that takes long, in their order."""

    candidate_s: float
    stages: tuple[tuple[str, float], ...]

    @property
    def whole_s(self) -> float:
        """Seconds of the whole run."""
        return sum(seconds for _, seconds in self.stages)


def estimate(network: Network, study: Study, basis: Basis, accelerator: Accelerator, folder: Path) -> Estimate:
    """What the run of a study will take where nothing of it is done yet, trained weights aside.

    A candidate is built and scored on a few batches, so is relevance computed, and the network trained as a copy.
    What is not measured, such as loading the images, is short beside these.
    """
    data, batch = network.data, study.search.batch_size
    with threads_for(basis.graph):
        relevance_s = _relevance_s(network, study)
        build_s, model = _timed(lambda: apply(basis, uniform(basis.graph)))
        images = data.search.take(slice(BATCHES * batch))
        pixels, labels = network.tensors(images)
        count_correct(model, pixels[:batch], labels[:batch], batch)  # the first time takes longer
        score_s = _timed(lambda: count_correct(model, pixels, labels, batch))[0] / len(labels)
        price_s = _timed(lambda: candidate_cost(basis.graph, uniform(basis.graph), accelerator))[0]
    candidate_s = build_s + price_s + score_s * len(data.search)
    scored = FRONT * (build_s + score_s * len(data.held_out)) + 2 * score_s * (len(data.search) + len(data.held_out))
    return Estimate(
        candidate_s=candidate_s,
        stages=(
            ("train, batches", _training_s(network, study, folder)),
            ("relevance", relevance_s),
            ("search", study.search.trials * candidate_s),
            ("held-out images", scored),
        ),
    )


def _relevance_s(network: Network, study: Study) -> float:
    images = network.data.relevance
    sample = relevance_sample(network.canonical, network.graph, images.take(slice(EXAMPLES)), study, network.device)
    seconds, _ = _timed(lambda: CRITERIA[study.relevance.method].compute(sample, None))
    return seconds * len(images) / len(sample)


def _training_s(network: Network, study: Study, folder: Path) -> float:
    """Seconds of training, 0 where there is none to be done."""
    training, data = study.model.training, network.data
    if training is None or trained_places(network.model, network.canonical, study, data, folder).found:
        return 0.0
    images = data.train.take(slice(BATCHES * training.batch_size))
    once = replace(training, epochs=1)
    model = copy.deepcopy(network.canonical)
    first = images.take(slice(training.batch_size))
    train_model(model, first.images, first.labels, once, seed=study.seed)  # the first time takes longer
    seconds, _ = _timed(lambda: train_model(model, images.images, images.labels, once, seed=study.seed))
    batches = math.ceil(len(data.train) / training.batch_size)
    return seconds / math.ceil(len(images) / training.batch_size) * batches * training.epochs


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
