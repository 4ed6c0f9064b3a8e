"""What criteria look at in a comparison: for every seed its own images of the training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from explorer.data.draws import permutation
from explorer.progress import Notify
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance
from explorer.study.prepare import PreparedStudy
from explorer.study.relevance import draw_relevance_sample, keep_relevance

ComputeRelevance = Callable[[str, int], Relevance]
"""(criterion, seed) -> what it says."""


def seeded_sample(prepared: PreparedStudy, seed: int) -> Sample:
    """Return as many images as the study computes relevance on, drawn by `seed`, which also fixes other draws."""
    images, study = prepared.data.train, prepared.study
    chosen = permutation(len(images), seed, "relevance")[: study.data.relevance]
    context = prepared.context
    sample = draw_relevance_sample(context.model, context.graph, images.take(chosen), study, prepared.torch_device)
    return replace(sample, seed=seed)


def make_relevance(prepared: PreparedStudy, folder: Path, notify: Notify) -> ComputeRelevance:
    """Return what computes relevance once for each criterion and seed, and keeps it in `folder`."""
    found: dict[tuple[str, int], Relevance] = {}

    def compute_relevance(criterion: str, seed: int) -> Relevance:
        if (criterion, seed) not in found:

            def named(_: str, done: int, total: int) -> None:
                notify(f"relevance: {criterion}", done, total)

            sample = seeded_sample(prepared, seed)
            found[criterion, seed] = keep_relevance(criterion, sample, folder, prepared.weights_digest, named)
        return found[criterion, seed]

    return compute_relevance
