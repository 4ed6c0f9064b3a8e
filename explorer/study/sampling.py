"""In which order a search scores images, for every process the same, and a candidate's score by it."""

from __future__ import annotations

import numpy as np
import torch

from explorer.arrays import Float64Array, Int64Array
from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate
from explorer.evaluate.engine import Runner
from explorer.evaluate.image_scores import pack_scores
from explorer.evaluate.sampled import SampledScore, score_sample
from explorer.evaluate.sampling import SampleOrder, find_margins
from explorer.evaluate.score import score_images, score_outputs
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.inputs import batches, run, take
from explorer.study.built import BuiltNetworks
from explorer.study.jobs import ListEntropies, ScoreCandidate
from explorer.study.prepare import PreparedStudy
from explorer.study.record import FLOAT
from explorer.study.store import Store, name_scores


def order_sample(prepared: PreparedStudy, store: Store) -> SampleOrder:
    """Return the order of the search images that the store holds; computed, with the float network, where it has none.

    It is stored, since other machines round the float network's outputs otherwise.
    """
    kept = store.sample()
    if kept is not None:
        return SampleOrder.from_json(kept)
    order = compute_order(prepared)
    store.remember_score(name_scores("search", prepared.data.search.digest(), FLOAT), pack_scores(order.reference))
    store.keep_sample(order.to_json())
    return order


def compute_order(prepared: PreparedStudy) -> SampleOrder:
    """Return the order of the search images by what the float network says of them."""
    return SampleOrder.of(*_score_float_network(prepared), prepared.study.seed)


def make_scorer(prepared: PreparedStudy, order: SampleOrder, built: BuiltNetworks | None = None) -> ScoreCandidate:
    """Return the function that scores candidates on as many images of the search as it takes, and keeps them built."""
    images, targets = prepared.scored(prepared.data.search)
    largest_error, batch_size = prepared.study.search.sampling_error, prepared.study.compute.batch_size

    def score_candidate(candidate: Candidate, rival: Float64Array | None) -> SampledScore:
        context = prepared.context.for_search()
        runner = Runner(apply(context, candidate), batch_size)

        def score_some(places: Int64Array) -> Float64Array:
            chosen = torch.from_numpy(places).to(targets.device)
            return score_images(runner, take(images, chosen), targets[chosen], batch_size, prepared.score, finite=True)

        found = score_sample(order, score_some, largest_error, rival)
        if built is not None and not found.beaten:
            built.keep(context, candidate, runner)
        return found

    return score_candidate


def make_entropies(prepared: PreparedStudy) -> ListEntropies:
    """Return the function that lists the entropies of a candidate's layers."""
    entropies = prepared.entropies or WeightEntropies(prepared.context.for_search())
    return lambda candidate: tuple(entropies.of_candidate(candidate).values())


def _score_float_network(prepared: PreparedStudy) -> tuple[Float64Array, Float64Array | None]:
    """Return the float network's scores of the search images (N), and by which margins it decides, where it does."""
    images, targets = prepared.scored(prepared.data.search)
    scores, margins, start = [], [], 0
    with torch.inference_mode():
        for given in batches(images, prepared.study.compute.batch_size):
            outputs = run(prepared.context.model, given)
            count = len(given[0])
            scores.append(score_outputs(prepared.score, outputs, targets[start : start + count]))
            margins += [find_margins(outputs)] if prepared.score.of_classes else []
            start += count
    return np.concatenate(scores), np.concatenate(margins) if margins else None
