"""Everything that a search and an export start from: data, trained network, graph, relevance, calibration."""

from __future__ import annotations

import copy
import hashlib
import json
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

import explorer
from explorer.compress.apply import CompressionContext
from explorer.compress.calibrate import calibrate
from explorer.compress.importance import Importance, root_fisher
from explorer.compress.norms import norms_of
from explorer.data.images import Data, ImageSet
from explorer.data.load import load_data
from explorer.errors import StudyFileError
from explorer.evaluate.accuracy import find_torch_device
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.load import load_model
from explorer.progress import Notify
from explorer.relevance.completion import fill_missing
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import Sample, sample_of
from explorer.relevance.scores import Relevance, filter_order
from explorer.search.space import search_space
from explorer.settings import RELEVANCE_REFERENCES, SharingSettings
from explorer.study.coverage import coverage
from explorer.study.filter_criteria import other_criteria
from explorer.study.record import Coverage
from explorer.study.study_file import Study, load_accelerator
from explorer.study.weights import digest_of, network_digest, state_digest, train_once
from explorer.threads import single_threaded
from hwmodels import Accelerator

EXAMPLES = 4
"""Images on which the canonical network must agree with the user's, and with which shapes are traced."""

SMALL_NETWORK = 2_000_000
"""Multiply-accumulates of an image below which a second CPU thread costs more than it brings (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStudy:
    """What every later stage needs; tensors live on `torch_device`."""

    study: Study
    accelerator: Accelerator
    data: Data
    torch_device: torch.device
    context: CompressionContext
    relevance: Relevance
    weights_digest: str
    coverage: Coverage
    refused_exports: tuple[tuple[str, str], ...] = ()
    """(form, reason) for each form that the network cannot be exported as, where that was looked at."""

    def identity(self) -> dict[str, str]:
        """What the evaluations depend on, each part by name."""
        return {
            **self.study.essentials(),
            "device": f"{self.accelerator.name}:{self.accelerator.digest()[:16]}",
            "explorer": explorer.__version__,
            "network": network_digest(self.context.model),
            "graph": self.context.graph.digest(),
            "weights": self.weights_digest,
            "images": digest_of(self.data.search.digest(), self.data.calibration.digest()),
            "relevance": self.relevance.digest(),
            **({"orders": digest_of(json.dumps(self.context.orders))} if self.context.orders else {}),
        }

    def tensors(self, images: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and labels as tensors on the torch device."""
        return _tensors(images, self.torch_device)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyNetwork:
    """A study's images and its network: as the user wrote it, canonical, and traced; on `torch_device`."""

    data: Data
    torch_device: torch.device
    model: nn.Module
    canonical: fx.GraphModule
    graph: ModelGraph
    coverage: Coverage
    """How much of the network is explored and costed."""

    def tensors(self, images: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and labels as tensors on the torch device."""
        return _tensors(images, self.torch_device)


Inspect = Callable[[StudyNetwork], tuple[tuple[str, str], ...]]
"""Called with the network before it is trained; returns (form, reason) for each export that will be refused."""


def open_study(study: Study, folder: Path, notify: Notify, inspect: Inspect | None = None) -> PreparedStudy:
    """Load, train, trace, score and calibrate; what is expensive is kept in `folder` and found there again.

    Raises a child of ExplorerError for everything that the study file, the data or the model can have wrong.
    """
    accelerator = load_accelerator(study)
    others = other_criteria(study)
    opened = open_network(study, notify)
    refused_exports = inspect(opened) if inspect is not None else ()
    network = with_weights(opened, study, folder, notify)
    data, torch_device, canonical, graph = network.data, network.torch_device, network.canonical, network.graph
    weights_digest = state_digest(network.model)
    with threads_for(graph):
        sample = relevance_sample(canonical, graph, data.relevance, study, torch_device)
        method = study.relevance.method
        scores = kept_relevance(method, sample, folder, weights_digest, notify)
        relevance = fill_missing(scores, sample, CRITERIA[method].subjects)
        orders = {
            name: filter_order(graph, kept_relevance(name, sample, folder, weights_digest, notify)) for name in others
        }
        notify("calibrate", 0, 1)
        calibration_images = torch.from_numpy(data.calibration.images).to(torch_device)
        calibration = calibrate(canonical, graph, calibration_images, study.quantizer)
        notify("calibrate", 1, 1)
        importance = _importance(study.sharing, sample, relevance)
    return PreparedStudy(
        study=study,
        accelerator=accelerator,
        data=data,
        torch_device=torch_device,
        context=CompressionContext(
            model=canonical,
            graph=graph,
            order=filter_order(graph, relevance),
            calibration=calibration,
            importance=importance,
            quantizer=study.quantizer,
            orders=orders,
        ),
        relevance=relevance,
        weights_digest=weights_digest,
        coverage=network.coverage,
        refused_exports=refused_exports,
    )


def open_network(study: Study, notify: Notify) -> StudyNetwork:
    """Load the images, build the network and trace it; it has its weights if they are those of a checkpoint."""
    try:
        torch_device = find_torch_device(study.compute.device)
    except ValueError as error:
        raise StudyFileError((str(error),)) from error
    notify("load data", 0, 1)
    data = load_data(study.data, study.model.input_shape, study.folder)
    notify("load data", 1, 1)
    model = load_model(study.model, data.input_shape, data.classes, seed=study.seed, folder=study.folder)
    model = model.to(torch_device).float()
    example = _example(data, torch_device)
    with single_threaded(True):  # a few images
        canonical, graph = _explorable(model, example, study)
        covered = coverage(canonical, graph, example)
    return StudyNetwork(
        data=data, torch_device=torch_device, model=model, canonical=canonical, graph=graph, coverage=covered
    )


def with_weights(network: StudyNetwork, study: Study, folder: Path, notify: Notify) -> StudyNetwork:
    """The network with the weights of its checkpoint, or trained, unless it was trained before."""
    if study.model.checkpoint is not None:
        return network
    data, torch_device = network.data, network.torch_device
    first = first_sample(network, study)
    for name in (study.relevance.method, *other_criteria(study)):
        CRITERIA[name].compute(first, None)  # refused, if at all, before hours go into training
    train_once(network.model, network.canonical, study, data, folder, notify)
    canonical, graph = _explorable(network.model, _example(data, torch_device), study)
    return replace(network, canonical=canonical, graph=graph)


def first_sample(network: StudyNetwork, study: Study) -> Sample:
    """The first images that relevance will be computed on; of a network to be trained, as training leaves its norms.

    With the statistics that norms begin with, signals fade: not a digit of the logits of an untrained MobileNetV2
    depends on its image, and an attribution could not be told from one that misses an operation.
    """
    images, model = network.data.relevance.take(slice(EXAMPLES)), network.canonical
    if study.model.checkpoint is None and len(images) > 1:
        model = copy.deepcopy(model)
        for norm in norms_of(model).values():
            norm.reset_running_stats()
            norm.momentum = None  # plain averages
            norm.train()
        with torch.no_grad():
            model(network.tensors(images)[0])
    return relevance_sample(model, network.graph, images, study, network.torch_device)


def threads_for(graph: ModelGraph) -> AbstractContextManager[None]:
    """Within it, torch uses one CPU thread for a network that is too small to gain from more."""
    return single_threaded(graph.macs < SMALL_NETWORK)


def _example(data: Data, torch_device: torch.device) -> torch.Tensor:
    return torch.from_numpy(data.calibration.images[:EXAMPLES]).to(torch_device)


def _explorable(model: nn.Module, example: torch.Tensor, study: Study) -> tuple[fx.GraphModule, ModelGraph]:
    """The canonical network and its graph; ModelError or SearchError where study and network do not fit."""
    canonical = canonicalise(model, example)
    graph = trace(canonical, example)
    search_space(graph, study.space)
    study.deep_compression.refuse_unknown(graph.layer_names)
    return canonical, graph


def relevance_sample(
    model: fx.GraphModule, graph: ModelGraph, images: ImageSet, study: Study, torch_device: torch.device
) -> Sample:
    """What relevance is computed on, as the study says; StudyFileError where its reference cannot be read."""
    settings, (tensors, labels) = study.relevance, _tensors(images, torch_device)
    return sample_of(
        model,
        graph,
        tensors,
        labels,
        target=settings.target,
        reference=_reference(study, torch_device),
        aggregation=settings.aggregation,
        tolerance=settings.tolerance,
        seed=study.seed,
    )


def _reference(study: Study, torch_device: torch.device) -> str | torch.Tensor:
    reference = study.relevance.reference
    if reference in RELEVANCE_REFERENCES:
        return reference
    file = study.resolve(reference, "relevance.reference")
    try:
        image = np.load(file, allow_pickle=False)
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).to(torch_device)
    except (OSError, ValueError, EOFError, TypeError, MemoryError, zipfile.BadZipFile) as error:
        raise StudyFileError(
            (f"relevance.reference: {file} cannot be read as an image ({error}); save one with numpy.save",)
        ) from error


def kept_relevance(method: str, sample: Sample, folder: Path, weights_digest: str, notify: Notify) -> Relevance:
    """The relevance by a criterion, from the folder where it was computed there before."""
    keys = ("reference", "target", "aggregation", "tolerance", "seed")
    settings = {key: getattr(sample, key) for key in keys}
    network = network_digest(sample.model)
    description = {
        **settings,
        "method": method,
        "weights": weights_digest,
        "network": network,
        "explorer": explorer.__version__,
    }
    tensors = (*sample.inputs, *sample.references, sample.directions, sample.labels)
    images = hashlib.sha256(b"".join(tensor.cpu().contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()
    kept = folder / f"relevance-{digest_of(json.dumps(description, sort_keys=True), images)}.npz"
    if kept.exists():
        return Relevance.load(kept)
    notify("relevance", 0, len(sample))
    relevance = CRITERIA[method].compute(sample, lambda done, total: notify("relevance", done, total))
    relevance.save(kept)
    return relevance


def _importance(settings: SharingSettings, sample: Sample, relevance: Relevance) -> Importance | None:
    """What an error of each weight counts when weights share values; None where each counts the same."""
    if settings.weighting == "plain":
        return None
    if settings.weighting == "fisher":
        return root_fisher(sample.model, sample.graph, sample.inputs[0])
    return {entry.layer: torch.from_numpy(entry.weight_multipliers) for entry in relevance.layers}


def _tensors(images: ImageSet, torch_device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(images.images).to(torch_device), torch.from_numpy(images.labels).to(torch_device)
