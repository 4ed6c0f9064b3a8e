"""What tables, figures and page show of the relevance of a network, as plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer.graph.layers import Layer, ModelGraph
from explorer.relevance.scores import LayerRelevance, Relevance
from explorer.study.explain import Explained, ExplainedImage

QUARTER = 0.25
"""Share of a layer's filters whose share of its relevance says how concentrated it is."""
SATURATION = 0.99
"""Quantile of a map's values at which its colours are full: single pixels would leave the rest pale (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """Scores of a layer's filters over the images explained as one class."""

    name: str
    num_images: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerView:
    """A layer's filters: their scores, the channel groups that they belong to, and what the scores add up to.

    `share` is the layer's part of the network's relevance, `concentration` the part of the layer's relevance in its
    top quarter of filters (rounded up); both of |score|, 0 where all are 0. `classes` is empty where scores were not
    kept for each image.
    """

    name: str
    scores: tuple[float, ...]
    groups: tuple[str, ...]
    share: float
    highest: float
    mean: float
    concentration: float
    classes: tuple[ClassScores, ...]

    @property
    def ranking(self) -> tuple[int, ...]:
        """Indices of the filters, the highest score first; ties in channel order."""
        return tuple(sorted(range(len(self.scores)), key=lambda index: (-self.scores[index], index)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapView:
    """What each pixel (height x width) contributes, their sum, and the size at which colours are full."""

    values: tuple[tuple[float, ...], ...]
    total: float
    full: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An image, what it is compared with (both height x width x 3 bytes), and its maps: the whole, then each filter.

    `input` is which of several inputs it is, empty where there is one.
    """

    index: int
    input: str = ""
    label: str | None
    explained: str | None
    height: int
    width: int
    pixels: bytes
    reference: bytes
    maps: tuple[MapView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceView:
    """The relevance of a network: facts about how it was computed, layers in order of computation, images."""

    title: str
    method: str
    facts: tuple[tuple[str, str], ...]
    layers: tuple[LayerView, ...]
    filters: tuple[tuple[str, int], ...]
    images: tuple[ImageView, ...]
    notes: tuple[str, ...]


def build_relevance_view(explained: Explained) -> RelevanceView:
    """Return what is shown of the relevance of a study's network."""
    relevance = explained.relevance
    total = sum(_size(layer) for layer in relevance.layers)
    classes = _classes(relevance, explained.class_names) if explained.has_classes else []
    return RelevanceView(
        title=explained.title,
        method=relevance.method,
        facts=_facts(explained),
        layers=tuple(
            _layer(entry, explained.graph, total, [(*each[:2], each[2].layer(entry.layer)) for each in classes])
            for entry in relevance.layers
        ),
        filters=explained.filters,
        images=tuple(_image(image, explained.class_names) for image in explained.images),
        notes=_notes(explained),
    )


def _facts(explained: Explained) -> tuple[tuple[str, str], ...]:
    """Return how it was computed, each by name."""
    relevance = explained.relevance
    kept = None if relevance.completeness is None else f"misses {relevance.completeness:.1e} of the output's difference"
    only = "" if explained.of_class is None else f", explained as {_named(explained.of_class, explained.class_names)}"
    return (
        ("method", relevance.method),
        ("reference", relevance.reference),
        ("target", relevance.target),
        ("aggregation", relevance.aggregation),
        ("images", f"{relevance.samples}{only}"),
        ("completeness", kept or "not asked of this method"),
    )


def _notes(explained: Explained) -> tuple[str, ...]:
    """Return what a reader could take wrongly."""
    method, notes = explained.relevance.method, []
    if not explained.scores_filters:
        notes.append(f"{method} says nothing of filters: every filter's score is 1.")
    if explained.left_out:
        which = "Not every input has pixel maps" if explained.images else "No pixel maps"
        notes.append(f"{which}: {explained.left_out}.")
    if explained.images and method != "deeplift" and explained.scores_filters:
        notes.append(f"Pixel maps are DeepLIFT's, filter scores are those of {method}.")
    if explained.has_classes and not len(explained.relevance.layers[0].contributions):
        notes.append(f"No scores by class: {method} does not score image by image.")
    return tuple(notes)


def _classes(relevance: Relevance, names: Sequence[str]) -> list[tuple[str, int, Relevance]]:
    """Return (name, how many images, relevance) of each class that images are explained as; none without tables."""
    if not len(relevance.layers[0].contributions):
        return []
    numbers = sorted(set(relevance.explained))
    return [(_named(n, names), relevance.explained.count(n), relevance.of_class(n)) for n in numbers]


def _layer(
    entry: LayerRelevance, graph: ModelGraph, total: float, classes: Sequence[tuple[str, int, LayerRelevance]]
) -> LayerView:
    sizes = np.sort(np.abs(entry.filter_scores.astype(np.float64)))[::-1]
    own = _size(entry)
    top = math.ceil(QUARTER * len(sizes))
    return LayerView(
        name=entry.layer,
        scores=_floats(entry),
        groups=_groups(graph, graph.layer(entry.layer)),
        share=own / total if total else 0.0,
        highest=float(entry.filter_scores.max()),
        mean=float(entry.filter_scores.mean()),
        concentration=float(sizes[:top].sum()) / own if own else 0.0,
        classes=tuple(ClassScores(name=name, num_images=count, scores=_floats(part)) for name, count, part in classes),
    )


def _groups(graph: ModelGraph, layer: Layer) -> tuple[str, ...]:
    """Return the channel group of each filter."""
    names = {identity: group.name for group in graph.groups for identity in group.classes}
    return tuple(names.get(identity, "") for identity in layer.output_classes)


def _size(entry: LayerRelevance) -> float:
    return float(np.abs(entry.filter_scores.astype(np.float64)).sum())


def _floats(entry: LayerRelevance) -> tuple[float, ...]:
    return tuple(entry.filter_scores.tolist())


def _image(image: ExplainedImage, names: Sequence[str]) -> ImageView:
    height, width = image.whole.shape
    return ImageView(
        index=image.index,
        input=image.input,
        label=None if image.label is None else _named(image.label, names),
        explained=None if image.explained is None else _named(image.explained, names),
        height=height,
        width=width,
        pixels=image.pixels.tobytes(),
        reference=image.reference.tobytes(),
        maps=tuple(_map(values) for values in (image.whole, *image.maps)),
    )


def _map(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> MapView:
    sizes = np.abs(values)
    full = float(np.quantile(sizes, SATURATION)) or float(sizes.max())
    rows = tuple(tuple(row) for row in values.tolist())
    return MapView(values=rows, total=float(values.sum(dtype=np.float64)), full=full)


def _named(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else str(number)
