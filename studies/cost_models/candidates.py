"""Every network that the searches of studies/hardware scored: what it chooses, and how many images it gets right.

That does not depend on the device, so that another device, or another model of one, can price these networks without
scoring them again. One row for each distinct network; widths and shares in the order of its layers and its groups of
filters.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.mean_score import MeanScore
from explorer.graph.layers import ModelGraph
from explorer.report.devices.tables import Row
from explorer.study.folder import read_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCandidate:
    """A network and the share of the search images that it gets right, in [0, 1]."""

    candidate: Candidate
    accuracy: float


def list_candidates(folders: Sequence[Path]) -> list[Row]:
    """Return one row for each network that any of the finished runs scored, in the order of runs and searches."""
    found: dict[str, Row] = {}
    for folder in folders:
        outcome = read_outcome(folder)
        for item in outcome.evaluations:
            if item.score is not None:
                found.setdefault(item.candidate.digest(), _row(outcome.device, item.candidate, item.score))
    return list(found.values())


def read_candidates(path: Path, graph: ModelGraph) -> list[ScoredCandidate]:
    """Return the networks that `list_candidates` wrote down, for the graph that was searched."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_scored(row, uniform(graph)) for row in csv.DictReader(file)]


def _row(device: str, candidate: Candidate, score: MeanScore) -> Row:
    return {
        "searched_for": device,
        "right": round(score.value * score.num_images),
        "images": score.num_images,
        "weight_bits": " ".join(str(choice.weight_bits) for choice in candidate.layers),
        "activation_bits": " ".join(str(choice.activation_bits) for choice in candidate.layers),
        "filter_keep_ratio": " ".join(f"{ratio:g}" for _, ratio in candidate.filter_keep_ratio),
    }


def _scored(row: dict[str, str], eight: Candidate) -> ScoredCandidate:
    weights, activations, ratios = (
        row[name].split() for name in ("weight_bits", "activation_bits", "filter_keep_ratio")
    )
    layers = tuple(
        replace(choice, weight_bits=int(weight), activation_bits=int(activation))
        for choice, weight, activation in zip(eight.layers, weights, activations, strict=True)
    )
    kept = tuple((name, float(ratio)) for (name, _), ratio in zip(eight.filter_keep_ratio, ratios, strict=True))
    candidate = Candidate(layers=layers, filter_keep_ratio=kept)
    return ScoredCandidate(candidate=candidate, accuracy=int(row["right"]) / int(row["images"]))
