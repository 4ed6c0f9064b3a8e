"""The relevance of a study's network by one criterion, and the pixels that chosen filters' relevance comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.data.images import Data
from explorer.errors import RelevanceError
from explorer.graph.inputs import name_inputs
from explorer.graph.layers import ModelGraph
from explorer.progress import Notify
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.pixels import Filter, Maps, compute_pixel_contributions, refuse_unknown
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance
from explorer.settings import DataSettings
from explorer.study.folder import locked
from explorer.study.network import StudyNetwork, open_network, threads_for, with_weights
from explorer.study.relevance import draw_relevance_sample, keep_relevance
from explorer.study.study_file import Study
from explorer.study.weights import digest_state

FILTERS_SHOWN = 4
"""Layers of which one filter's pixels are shown, where none is named (assumed: what fits beside an image)."""
IMAGE_AXES = 4
"""Of an input that is an image: N x C x H x W."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: `images` are indices in the relevance sample, and `count` says how many where there are none.

    Without `filters`, the most relevant one of a few layers across the depth; with `of_class`, only images that are
    explained as that class.
    """

    images: tuple[int, ...] = ()
    count: int = 4
    filters: tuple[Filter, ...] = ()
    of_class: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExplainedImage:
    """An image of the sample, and where in it relevance comes from; one for each input that is an image.

    `input` is the argument of forward() that it is, empty where that is the only one. `pixels` and `reference` are as
    they look (H x W x 3, uint8); `whole` (H x W, colours summed) is what each pixel contributes to what is explained,
    `maps` (filters x H x W) what it contributes through each filter. `label` and `explained` are None where there are
    no classes.
    """

    index: int
    input: str = ""
    label: int | None
    explained: int | None
    pixels: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    whole: NDArray[np.float32]
    maps: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """The relevance of a study's network, and the images whose pixels were asked about.

    `of_class` is None where all images count. `scores_filters` is False for a criterion that says nothing of filters,
    whose scores are ones. `left_out` is why there are no images, or not of all inputs, and empty where there are.
    """

    title: str
    graph: ModelGraph
    relevance: Relevance
    of_class: int | None
    scores_filters: bool
    class_names: tuple[str, ...]
    has_classes: bool
    filters: tuple[Filter, ...]
    images: tuple[ExplainedImage, ...]
    left_out: str


def explain(study: Study, wanted: Wanted, folder: Path, notify: Notify) -> Explained:
    """Compute relevance as the study says; weights and relevance are kept in `folder`, and found there again.

    Raises:
        ExplorerError: For what is wrong with the study, and for images, filters and classes that there are not; before
            the network is trained where that can be known.
    """
    with locked(folder):
        network = open_network(study, notify)
        _refuse_unknown(wanted, network)
        network = with_weights(network, study, folder, notify)
        with threads_for(network.graph):
            sample = draw_relevance_sample(
                network.canonical, network.graph, network.data.relevance, study, network.torch_device
            )
            method = study.relevance.method
            relevance = keep_relevance(method, sample, folder, digest_state(network.model), notify)
            if wanted.of_class is not None:
                relevance = relevance.of_class(wanted.of_class)
            filters = wanted.filters or _most_relevant(relevance)
            images, left_out = _images(sample, wanted, filters, study.data)
    return Explained(
        title=study.title or study.name,
        graph=network.graph,
        relevance=relevance,
        of_class=wanted.of_class,
        scores_filters="filters" in CRITERIA[method].subjects,
        class_names=network.data.class_names,
        has_classes=sample.num_classes is not None,
        filters=filters,
        images=images,
        left_out=left_out,
    )


def _refuse_unknown(wanted: Wanted, network: StudyNetwork) -> None:
    for name, index in wanted.filters:
        refuse_unknown(network.graph, name, index)
    data: Data = network.data
    for index in wanted.images:
        if not 0 <= index < len(data.relevance):
            last = len(data.relevance) - 1
            raise RelevanceError(f"image {index}: expected an index in 0..{last} (data.relevance), received {index}")
    if wanted.of_class is not None and not 0 <= wanted.of_class < (data.num_classes or 0):
        some = f"one in 0..{(data.num_classes or 0) - 1}"
        expected = "none, since targets are no class numbers" if data.num_classes is None else some
        raise RelevanceError(f"class {wanted.of_class}: expected {expected}")


def _most_relevant(relevance: Relevance) -> tuple[Filter, ...]:
    """Return the first filter by score of a few layers across the depth; the last layer's are classes themselves."""
    layers = relevance.layers[:-1] or relevance.layers
    places = np.linspace(0, len(layers) - 1, min(FILTERS_SHOWN, len(layers))).round().astype(int)
    return tuple((layers[place].layer, int(layers[place].filter_scores.argmax())) for place in places)


def _images(
    sample: Sample, wanted: Wanted, filters: tuple[Filter, ...], settings: DataSettings
) -> tuple[tuple[ExplainedImage, ...], str]:
    """Return the images with their maps, or none and the reason."""
    indices = wanted.images or _of_different_classes(sample, wanted)
    some = sample.take(list(indices))
    try:
        whole, maps = compute_pixel_contributions(some, filters)
    except RelevanceError as error:  # scores by another criterion do not need DeepLIFT to add up
        return (), str(error)
    names = list(name_inputs(sample.model).values())
    drawn = [number for number, tensor in enumerate(some.inputs) if tensor.ndim == IMAGE_AXES]
    found = [
        _explained(some, number, names[number] if len(names) > 1 else "", indices, settings, (whole, *maps))
        for number in drawn
    ]
    others = [name for number, name in enumerate(names) if number not in drawn]
    left_out = f"no image is what the network reads as {', '.join(others)}" if others else ""
    return tuple(image for of_image in zip(*found, strict=True) for image in of_image), left_out


def _explained(
    some: Sample, number: int, name: str, indices: Sequence[int], settings: DataSettings, maps: Sequence[Maps]
) -> list[ExplainedImage]:
    """Return one input of all images, with its map in all and through each filter."""
    whole, *single = (_summed(each[number]) for each in maps)
    labelled = some.num_classes is not None and some.targets.ndim == 1 and not some.targets.is_floating_point()
    looks = _as_seen(some.inputs[number], settings), _as_seen(some.references[number], settings)
    return [
        ExplainedImage(
            index=index,
            input=name,
            label=int(some.targets[place]) if labelled else None,
            explained=None if some.num_classes is None else int(some.explained[place]),
            pixels=looks[0][place],
            reference=looks[1][place],
            whole=whole[place],
            maps=np.stack([each[place] for each in single]),
        )
        for place, index in enumerate(indices)
    ]


def _of_different_classes(sample: Sample, wanted: Wanted) -> tuple[int, ...]:
    """Return the first images of classes that none before has; then the first of the others."""
    explained = sample.explained.tolist()
    labels = sample.targets.tolist() if sample.targets.ndim == 1 else explained
    allowed = [i for i, each in enumerate(explained) if wanted.of_class in {None, each}]
    seen = [labels[i] for i in allowed]
    first = [i for place, i in enumerate(allowed) if labels[i] not in seen[:place]]
    ordered = first + [i for i in allowed if i not in first]
    return tuple(ordered[: wanted.count])


def _summed(maps: torch.Tensor) -> NDArray[np.float32]:
    """Return maps (... x C x H x W) with their colours summed."""
    array: NDArray[np.float32] = maps.sum(-3).float().cpu().numpy()
    return array


def _as_seen(images: torch.Tensor, settings: DataSettings) -> NDArray[np.uint8]:
    """Return images as they look, N x H x W x 3: normalisation undone; what has neither 1 nor 3 channels in grey.

    Sources that state no statistics have those that the images were loaded with.
    """
    channels = images.shape[1]
    shift, scale = (np.asarray(values, np.float32)[:, None, None] for values in settings.normalisation(channels))
    shown = np.clip(images.float().cpu().numpy() * scale + shift, 0.0, 1.0)
    if channels != 3:
        shown = shown.mean(1, keepdims=True).repeat(3, 1)
    colours: NDArray[np.uint8] = np.rint(255.0 * shown).astype(np.uint8).transpose(0, 2, 3, 1)
    return colours
