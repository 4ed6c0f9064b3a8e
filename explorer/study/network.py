"""A study's images and its network: opened, traced, and with its weights."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import fx, nn

from explorer.allocator import keep_freed_memory
from explorer.compress.norms import find_norms
from explorer.compress.shorten import EXAMPLES
from explorer.data.images import Data, ImageSet
from explorer.data.load import load_data
from explorer.errors import DataError, ScoreError, StudyFileError
from explorer.evaluate.score import ACCURACY, LIKENESS, Score, refuse_other_than_logits
from explorer.evaluate.torch_device import find_torch_device
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import Inputs, batches, run
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.load import load_model
from explorer.progress import Notify, silent
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import Sample
from explorer.search.space import make_search_space
from explorer.study.coverage import measure_coverage
from explorer.study.record import Coverage
from explorer.study.relevance import draw_relevance_sample, find_weighting_criterion, list_other_criteria
from explorer.study.study_file import Study
from explorer.study.weights import train_once
from explorer.threads import single_threaded
from explorer.user_code import digest_code, load_function

SMALL_NETWORK = 2_000_000
"""Multiply-accumulates of an image below which a second CPU thread costs more than it brings (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyNetwork:
    """A study's images and its network: as the user wrote it, canonical, and traced; on `torch_device`."""

    data: Data
    torch_device: torch.device
    score: Score
    model: nn.Module
    canonical: fx.GraphModule
    graph: ModelGraph
    coverage: Coverage
    """How much of the network is explored and costed."""

    def tensors(self, images: ImageSet) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return inputs and targets as tensors on the torch device."""
        return images.tensors(self.torch_device)

    def as_scored(self, images: ImageSet, batch_size: int) -> ImageSet:
        """Return images with the float network's outputs, if networks are scored by likeness to these.

        Raises:
            ModelError: Where they are no logits of classes.
        """
        if self.score is not LIKENESS:
            return images
        with threads_for(self.graph), torch.inference_mode():
            found = [run(self.canonical, part) for part in batches(self.tensors(images)[0], batch_size)]
        for outputs in found:
            refuse_other_than_logits(outputs)
        return replace(images, references=torch.cat(found).cpu().numpy())

    def with_references(self, batch_size: int) -> StudyNetwork:
        """Return the network with its images as they are scored; ModelError as `as_scored`."""
        search, held_out = (self.as_scored(images, batch_size) for images in (self.data.search, self.data.held_out))
        return replace(self, data=replace(self.data, search=search, held_out=held_out))


def open_network(study: Study, notify: Notify = silent) -> StudyNetwork:
    """Load the images, build the network and trace it; it has its weights if they are those of a checkpoint."""
    keep_freed_memory()
    try:
        torch_device = find_torch_device(study.compute.device)
    except ValueError as error:
        raise StudyFileError((str(error),)) from error
    notify("load data", 0, 1)
    data = load_data(study.data, study.model.input_shape, study.folder)
    notify("load data", 1, 1)
    score = find_score(study, data)
    is_trained_on_classes = study.model.checkpoint is None and data.num_classes is not None
    model = load_model(
        study.model,
        data.input_shapes,
        data.num_classes,
        seed=study.seed,
        folder=study.folder,
        is_classifier=score is ACCURACY or (score is LIKENESS and is_trained_on_classes),
    )
    model = model.to(torch_device).float()
    example = _example(data, torch_device)
    with single_threaded(True):  # a few images
        canonical, graph = _explorable(model, example, study)
        covered = measure_coverage(canonical, graph, example)
    return StudyNetwork(
        data=data,
        torch_device=torch_device,
        score=score,
        model=model,
        canonical=canonical,
        graph=graph,
        coverage=covered,
    )


def with_weights(network: StudyNetwork, study: Study, folder: Path, notify: Notify = silent) -> StudyNetwork:
    """Return the network with the weights of its checkpoint, or trained, unless it was trained before."""
    if study.model.checkpoint is not None:
        return network
    data, torch_device = network.data, network.torch_device
    first = draw_first_sample(network, study)
    for name in filter(None, (study.relevance.method, find_weighting_criterion(study), *list_other_criteria(study))):
        CRITERIA[name].compute(first, None)  # refused, if at all, before hours go into training
    train_once(network.model, network.canonical, study, data, folder, notify)
    canonical, graph = _explorable(network.model, _example(data, torch_device), study)
    return replace(network, canonical=canonical, graph=graph)


def draw_first_sample(network: StudyNetwork, study: Study) -> Sample:
    """Return the first images that relevance will be computed on; norms as training leaves them, if there is one.

    With the statistics that norms begin with, signals fade: not a digit of the logits of an untrained MobileNetV2
    depends on its image, and an attribution could not be told from one that misses an operation.
    """
    images, model = network.data.relevance.take(slice(EXAMPLES)), network.canonical
    if study.model.checkpoint is None and len(images) > 1:
        model = copy.deepcopy(model)
        for norm in find_norms(model).values():
            norm.reset_running_stats()
            norm.momentum = None  # plain averages
            norm.train()
        with torch.no_grad():
            run(model, network.tensors(images)[0])
    return draw_relevance_sample(model, network.graph, images, study, network.torch_device)


def threads_for(graph: ModelGraph) -> AbstractContextManager[None]:
    """Let torch, within it, use one CPU thread for a network that is too small to gain from more."""
    return single_threaded(graph.macs < SMALL_NETWORK)


def find_score(study: Study, data: Data) -> Score:
    """Return what the study scores images by.

    Raises:
        DataError: Where it names nothing and targets are no class numbers.
    """
    if study.score.function is not None:
        return load_score(study)
    if study.score.name is not None:
        return LIKENESS
    if data.num_classes is None:
        raise DataError(
            "score.function: missing; the targets are no class numbers, by which outputs are right or wrong: name a "
            'function of (outputs, targets), "module:callable"'
        )
    return ACCURACY


def load_score(study: Study) -> Score:
    """Return the score function that a study names."""
    settings = study.score
    where = f"score.function: {settings.function!r}"
    function = load_function(str(settings.function), study.folder, where, ScoreError)
    return Score(name=settings.called, function=function, code=digest_code(function))


def _example(data: Data, torch_device: torch.device) -> Inputs:
    return data.calibration.take(slice(EXAMPLES)).tensors(torch_device)[0]


def _explorable(model: nn.Module, example: Inputs, study: Study) -> tuple[fx.GraphModule, ModelGraph]:
    """Return the canonical network and its graph; ModelError or SearchError where study and network do not fit."""
    canonical = canonicalise(model, example)
    graph = trace(canonical, example)
    make_search_space(graph, study.space)
    study.deep_compression.refuse_unknown(graph.layer_names)
    return canonical, graph
