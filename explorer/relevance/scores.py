"""Records of relevance, their storage without pickle, and the filter order that follows from them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float32Array
from explorer.digests import digest
from explorer.errors import RelevanceError
from explorer.files import replaced
from explorer.graph.layers import ModelGraph
from explorer.npz import read_npz
from explorer.relevance.aggregation import NOT_KEPT, aggregate

NORMALISATIONS: Mapping[str, Callable[[NDArray[np.float64]], float]] = {
    "none": lambda sizes: 1.0,
    "mean": lambda sizes: float(sizes.mean()),
    "l2": lambda sizes: float(np.sqrt(np.square(sizes).sum())),
    "max": lambda sizes: float(sizes.max()),
}
"""By name what a layer's scores are divided by, from their magnitudes; "l2" after Molchanov et al., 2017, section 2.2.

Scores that are all zero stay so.
"""
_ARRAYS = ("filter_scores", "weight_multipliers", "input_multipliers", "contributions", "magnitudes")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerRelevance:
    """What a criterion says of one layer.

    `filter_scores` (out_channels): how much is lost with each filter, in the criterion's own unit.
    `weight_multipliers` (shape of the weight): what an error of a weight is multiplied with, so that the sum of
    squares over a layer is its estimated loss, and |multiplier * weight| what is lost with a single weight.
    `input_multipliers` (in_channels): the same for an error of an input element, summed over the channel's positions.
    Multipliers of a criterion that says nothing of weights or inputs are 1: plain errors.

    `contributions` and `magnitudes` (images x out_channels) are what the scores were aggregated from: each filter's
    contribution for each image, summed over positions with its signs, and without; no images where a criterion does
    not score them one by one.
    """

    layer: str
    filter_scores: Float32Array
    weight_multipliers: Float32Array
    input_multipliers: Float32Array
    contributions: Float32Array
    magnitudes: Float32Array

    def aggregated(self, name: str, chosen: NDArray[np.bool_] | slice = slice(None)) -> LayerRelevance:
        """Return the same with scores aggregated anew, over the chosen images.

        Raises:
            RelevanceError: Where none were kept.
        """
        if not len(self.contributions):
            raise RelevanceError(NOT_KEPT)
        contributions, magnitudes = self.contributions[chosen], self.magnitudes[chosen]
        scores = aggregate(contributions, magnitudes, name)
        return replace(self, filter_scores=scores, contributions=contributions, magnitudes=magnitudes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relevance:
    """What a criterion says of a whole network.

    `completeness` is mean |sum of contributions at the input - output difference| over mean |output
    difference|: 0 for an attribution that adds up (Shrikumar et al., 2017, eq. 1), None for a criterion of which
    this is not asked. `explained` (images) is the class whose logit was explained for each image.
    """

    method: str
    reference: str
    target: str
    aggregation: str
    samples: int
    completeness: float | None
    explained: tuple[int, ...]
    layers: tuple[LayerRelevance, ...]

    def aggregated(self, name: str) -> Relevance:
        """Return the same with filter scores aggregated anew.

        Raises:
            RelevanceError: Where they were not kept for each image.
        """
        return replace(self, aggregation=name, layers=tuple(entry.aggregated(name) for entry in self.layers))

    def of_class(self, number: int) -> Relevance:
        """Return only the images explained as class `number`, for filters; multipliers stay those of all images.

        Raises:
            RelevanceError: When there is no such image, or when scores were not kept for each image.
        """
        chosen = np.array(self.explained) == number
        if not chosen.any():
            raise RelevanceError(f"relevance: none of the {self.samples} images is explained as class {number}")
        layers = tuple(entry.aggregated(self.aggregation, chosen) for entry in self.layers)
        count = int(chosen.sum())
        return replace(self, samples=count, explained=(number,) * count, layers=layers)

    def layer(self, name: str) -> LayerRelevance:
        """Return the relevance at a layer.

        Raises:
            RelevanceError: When there is none.
        """
        for entry in self.layers:
            if entry.layer == name:
                return entry
        raise RelevanceError(f"relevance: nothing is known of layer {name!r}")

    def digest(self) -> str:
        """Return SHA-256 over all scores and how they were made, first 16 hexadecimal digits."""
        arrays = (getattr(entry, key) for entry in self.layers for key in _ARRAYS)
        return digest(json.dumps(self._description(), sort_keys=True), *arrays)

    def save(self, path: Path) -> None:
        """Write an .npz file without pickled objects, whole or not at all."""
        arrays = {f"{index}/{key}": getattr(entry, key) for index, entry in enumerate(self.layers) for key in _ARRAYS}
        with replaced(path) as file:
            description = {**self._description(), "digest": self.digest()}
            np.savez_compressed(file, description=np.array(json.dumps(description)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Relevance:
        """Read what `save` wrote.

        Raises:
            RelevanceError: When the file is not of that kind.
        """
        try:
            arrays = read_npz(path)
            description = json.loads(str(arrays["description"]))
            written = description.pop("digest")
            layers = tuple(
                LayerRelevance(layer=name, **{key: arrays[f"{index}/{key}"] for key in _ARRAYS})
                for index, name in enumerate(description.pop("layers"))
            )
            relevance = cls(layers=layers, explained=tuple(description.pop("explained")), **description)
            if relevance.digest() != written:
                raise ValueError("its content is not what was written")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RelevanceError(
                f"{path}: not a relevance file of this version ({error}); delete it to compute it again"
            ) from error
        return relevance

    def _description(self) -> dict[str, object]:
        return {
            "method": self.method,
            "reference": self.reference,
            "target": self.target,
            "aggregation": self.aggregation,
            "samples": self.samples,
            "explained": list(self.explained),
            "completeness": self.completeness,
            "layers": [entry.layer for entry in self.layers],
        }


def merge_weight_multipliers(graph: ModelGraph, relevance: Relevance, owner: str) -> NDArray[np.float32]:
    """Return the multipliers of a layer's weights; over several calls that share them, the root of the sum of squares.

    Args:
        owner: The first of these calls; the array has its weight's shape.
    """
    calls = [relevance.layer(layer.name).weight_multipliers for layer in graph.layers if layer.chosen_by == owner]
    return calls[0] if len(calls) == 1 else np.sqrt(np.square(calls).sum(0))


def compute_step_units(graph: ModelGraph, relevance: Relevance) -> dict[str, float]:
    """Return for every layer the root mean square of the multipliers of its weights, that of all calls that share them.

    An error of variance s^2 in each weight of a layer changes the target by a variance of s^2 times its square for
    each weight: steps in inverse proportion to it make equal losses a weight in all layers, as reverse water-filling
    asks for.
    """
    units = {
        owner: float(np.sqrt(np.square(merge_weight_multipliers(graph, relevance, owner), dtype=np.float64).mean()))
        for owner in graph.weight_owners
    }
    return {layer.name: units[layer.chosen_by] for layer in graph.layers}


def score_classes(graph: ModelGraph, relevance: Relevance, normalised: str = "none") -> dict[int, float]:
    """Return the relevance of every channel class: the sum over the filters that it would remove.

    `normalised` names one of NORMALISATIONS, by which the scores of each layer are divided before they are summed.

    Raises:
        RelevanceError: For another name.
    """
    if normalised not in NORMALISATIONS:
        known = ", ".join(NORMALISATIONS)
        raise RelevanceError(f"relevance: normalised: expected one of {known}, received {normalised!r}")
    scores: defaultdict[int, float] = defaultdict(float)
    for layer in graph.layers:
        filters = relevance.layer(layer.name).filter_scores.astype(np.float64)
        size = NORMALISATIONS[normalised](np.abs(filters))
        filters = filters / size if size > 0 else filters
        for identity, score in zip(layer.output_classes, filters.tolist(), strict=True):
            scores[identity] += score
    return dict(scores)


def order_filters(graph: ModelGraph, relevance: Relevance, normalised: str = "none") -> dict[str, tuple[int, ...]]:
    """Return for every prunable group its channel classes, the most relevant first; ties in channel order.

    Args:
        normalised: That of `score_classes`.
    """
    scores = score_classes(graph, relevance, normalised)
    return {
        group.name: tuple(sorted(group.classes, key=lambda identity: (-scores.get(identity, 0.0), identity)))
        for group in graph.prunable
    }
