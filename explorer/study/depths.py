"""The networks that a study removes blocks to, and which of its blocks go first."""

from __future__ import annotations

import json
from pathlib import Path

import explorer
from explorer.compress.apply import CompressionContext
from explorer.digests import digest
from explorer.progress import Notify, silent
from explorer.relevance.scores import Relevance
from explorer.search.axes import REMOVED_BLOCKS
from explorer.search.blocks import (
    compare_block_features,
    measure_block_divergence,
    order_blocks,
    sum_block_relevance,
)
from explorer.search.space import Depth
from explorer.settings import SpaceSettings
from explorer.study.folder import write_json
from explorer.study.network import StudyNetwork
from explorer.study.weights import digest_network

CLASSIFIED = 2000
"""Training images whose features are compared (assumed): classes of 100 images and more."""


def find_depths(
    settings: SpaceSettings,
    network: StudyNetwork,
    context: CompressionContext,
    relevance: Relevance,
    folder: Path,
    notify: Notify = silent,
) -> tuple[Depth, ...]:
    """Return one network for each number of blocks that the study removes; none where it removes no blocks.

    Scores of blocks are kept in `folder`, and found there again.
    """
    counts = REMOVED_BLOCKS.values(settings)
    if counts == REMOVED_BLOCKS.unused:
        return ()
    order = order_blocks(_keep_scores(settings.block_criterion, network, context, relevance, folder, notify))
    return tuple(Depth.of(context.shortened(order[:count]).graph) for count in counts)


def _keep_scores(
    criterion: str,
    network: StudyNetwork,
    context: CompressionContext,
    relevance: Relevance,
    folder: Path,
    notify: Notify,
) -> dict[str, float]:
    """Return the score of each block by a criterion, from the folder where they were computed there before."""
    graph, data = context.graph, network.data
    seen = {"relevance": "", "features": data.train.digest(), "measured_kl": data.relevance.digest()}[criterion]
    of = (explorer.__version__, criterion, seen, digest_network(context.model), relevance.digest())
    kept = folder / f"blocks-{digest('|'.join((*of, data.calibration.digest())))}.json"
    if kept.exists():
        scores = json.loads(kept.read_text(encoding="utf-8"))
        if isinstance(scores, dict) and set(scores) == {block.name for block in graph.removable}:
            return {name: float(scores[name]) for name in (block.name for block in graph.removable)}
    notify("blocks", 0, len(graph.removable))
    if criterion == "relevance":
        scores = sum_block_relevance(graph, relevance)
    elif criterion == "features":
        scores = compare_block_features(context.model, graph, *network.tensors(data.train.take(slice(CLASSIFIED))))
    else:
        images, _ = network.tensors(data.relevance)
        scores = measure_block_divergence(context, images, lambda done, total: notify("blocks", done, total))
    write_json(kept, scores)
    return scores
