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
    order_blocks,
    order_by_divergence,
    sum_block_relevance,
)
from explorer.search.space import Depth, refuse_too_many_blocks
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

    The order of blocks is kept in `folder`, and found there again.
    """
    counts = REMOVED_BLOCKS.values(settings)
    if counts == REMOVED_BLOCKS.unused:
        return ()
    refuse_too_many_blocks(context.graph, counts)
    order = _keep_order(settings, network, context, relevance, folder, notify)
    return tuple(Depth.of(context.graph_without(order[:count])) for count in counts)


def _keep_order(
    settings: SpaceSettings,
    network: StudyNetwork,
    context: CompressionContext,
    relevance: Relevance,
    folder: Path,
    notify: Notify,
) -> tuple[str, ...]:
    """Return the blocks in the order in which they go, from the folder where it was found before."""
    graph, data, criterion, most = context.graph, network.data, settings.block_criterion, max(settings.removed_blocks)
    seen = {"relevance": "", "features": data.train.digest(), "measured_kl": data.relevance.digest()}[criterion]
    of = (explorer.__version__, criterion, str(most), seen, digest_network(context.model), relevance.digest())
    kept = folder / f"blocks-{digest('|'.join((*of, data.calibration.digest())))}.json"
    if kept.exists():
        order = json.loads(kept.read_text(encoding="utf-8"))
        if isinstance(order, list) and len(order) >= most and set(order) <= {block.name for block in graph.removable}:
            return tuple(order)
    if criterion == "relevance":
        order = order_blocks(sum_block_relevance(graph, relevance))
    elif criterion == "features":
        images, labels = network.tensors(data.train.take(slice(CLASSIFIED)))
        order = order_blocks(compare_block_features(context.model, graph, images, labels))
    else:
        images, _ = network.tensors(data.relevance)
        order = order_by_divergence(context, images, most, lambda done, total: notify("blocks", done, total))
    write_json(kept, list(order))
    return order
