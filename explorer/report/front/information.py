"""How many bits each layer keeps of what it carries about the answer: the information-bottleneck view of a candidate.

A layer's output is a channel to the value that relevance explains (Tishby and Zaslavsky, IEEE ITW 2015): its
contributions to that value vary by S over images, and what a candidate does to the layer changes the value by a squared
error N, the entry of the table that the search started from. Both taken as Gaussian and independent, the layer keeps
1/2 log2(1 + S / N) bits an image (Shannon, 1948), and carries so many with the finest of all choices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explorer.compress.candidate import Candidate
from explorer.errors import ExplorerError
from explorer.graph.layers import ModelGraph
from explorer.relevance.scores import Relevance
from explorer.study.graphs import read_graphs
from explorer.study.kept_losses import KeptLosses, read_losses
from explorer.study.record import Outcome

PERTURBATION = "perturbation"
"""How a table is made whose losses are squared changes of what relevance explains."""
MOST_BITS = 24.0
"""What a layer is said to carry where nothing is lost: the precision of float32 (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInformation:
    """What one layer carries and how its filters share the relevance.

    `signal` is the variance S of the layer's contributions over images, `finest` the least error N of any choice;
    `relevance_kept` is the share of the relevance in the filters kept, for each share of filters in the table.
    """

    layer: str
    group: str | None
    signal: float
    finest: float
    relevance_kept: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationView:
    """The layers of a network, and the errors N of its candidates at each: None where the table has no entry."""

    method: str
    layers: tuple[LayerInformation, ...]
    losses: KeptLosses

    def find_error(self, candidate: Candidate, place: int) -> float | None:
        """Return the error that a candidate makes at one of the layers; None where that is not known."""
        layer = self.layers[place]
        if all(choice.layer != layer.layer for choice in candidate.layers):
            return None
        weights, inputs = self.losses.find(candidate, layer.layer)
        if weights is None or inputs is None:
            return None
        removed = 0.0
        if layer.group is not None:
            removed = self.losses.filters.get(layer.group, {}).get(candidate.keep_ratio(layer.group), math.nan)
        error = weights + inputs + removed
        return error if math.isfinite(error) else None

    def bits_kept(self, candidate: Candidate) -> tuple[float | None, ...]:
        """Return the bits that each layer keeps in a candidate."""
        errors = (self.find_error(candidate, place) for place in range(len(self.layers)))
        return tuple(
            None if error is None else count_bits(layer.signal, error)
            for layer, error in zip(self.layers, errors, strict=True)
        )


def count_bits(signal: float, error: float) -> float:
    """Return the capacity of a Gaussian channel in bits a use, at most MOST_BITS."""
    return 0.0 if signal <= 0 else MOST_BITS if error <= 0 else min(MOST_BITS, 0.5 * math.log2(1.0 + signal / error))


def build_information_view(outcome: Outcome, folder: Path) -> InformationView | str:
    """Return what the folder of a run tells of its layers, or why it does not."""
    method = str((outcome.study.get("relevance") or {}).get("method", ""))
    try:
        losses = read_losses(folder)
        if losses is None:
            return "This run kept no table of losses: it was made by an earlier version, or without relevance."
        if losses.method != PERTURBATION:
            return "The search measured its losses as divergences, which are of no single layer's contributions."
        relevance = _find_relevance(folder, method)
        if relevance is None:
            return f"The folder holds no relevance by {method}."
        if not all(len(entry.contributions) for entry in relevance.layers):
            return f"{method} does not tell what layers contribute image by image."
        graph = read_graphs(folder).graph
    except ExplorerError as error:
        return str(error)
    layers = tuple(
        _layer(entry.layer, relevance, losses, graph) for entry in relevance.layers if entry.layer in losses.weights
    )
    return InformationView(method=method, layers=layers, losses=losses)


def _find_relevance(folder: Path, method: str) -> Relevance | None:
    """Return the relevance of a method that was kept last."""
    files = sorted(folder.glob("relevance-*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((found for path in files if (found := Relevance.load(path)).method == method), None)


def _layer(name: str, relevance: Relevance, losses: KeptLosses, graph: ModelGraph) -> LayerInformation:
    entry = relevance.layer(name)
    group = next((each.name for each in graph.prunable if name in each.producers), None)
    inputs = losses.activations.get(name, {})
    finest = min(losses.weights[name].values()) + min(inputs.values(), default=0.0)
    sizes = np.sort(np.abs(entry.filter_scores.astype(np.float64)))[::-1]
    kept = np.cumsum(sizes) / (sizes.sum() or 1.0)
    ratios = losses.filters.get(group or "", {})
    return LayerInformation(
        layer=name,
        group=group,
        signal=float(np.var(entry.contributions.astype(np.float64).sum(1))),
        finest=finest,
        relevance_kept=tuple((ratio, float(kept[max(1, round(ratio * len(sizes))) - 1])) for ratio in sorted(ratios)),
    )
