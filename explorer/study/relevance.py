"""The relevance of a study's network: what it is computed on, what is kept of it, and by which other criteria."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

import explorer
from explorer.compress.apply import Importance
from explorer.data.images import ImageSet
from explorer.digests import digest, sha256
from explorer.errors import RelevanceError, StudyFileError
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module
from explorer.progress import Notify, silent
from explorer.relevance.criteria import CRITERIA, Subject
from explorer.relevance.references import REFERENCES
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.scores import Relevance, merge_weight_multipliers
from explorer.relevance.targets import TargetFunction
from explorer.settings import SharingSettings
from explorer.study.study_file import Study
from explorer.study.weights import digest_network
from explorer.user_code import load_function


def draw_relevance_sample(
    model: fx.GraphModule, graph: ModelGraph, images: ImageSet, study: Study, torch_device: torch.device
) -> Sample:
    """Return what relevance is computed on, as the study says.

    Raises:
        StudyFileError: Where its reference cannot be read.
    """
    settings, (inputs, targets) = study.relevance, images.tensors(torch_device)
    return make_sample(
        model,
        graph,
        inputs,
        targets,
        target=_target(study),
        reference=_reference(study, torch_device),
        aggregation=settings.aggregation,
        tolerance=settings.tolerance,
        seed=study.seed,
    )


def _target(study: Study) -> str | TargetFunction:
    name = study.relevance.target
    if ":" not in name:
        return name
    where = f"relevance.target: {name!r}"
    return TargetFunction(name=name, function=load_function(name, study.folder, where, RelevanceError))


def _reference(study: Study, torch_device: torch.device) -> str | torch.Tensor:
    reference = study.relevance.reference
    if reference in REFERENCES:
        return reference
    file = study.resolve(reference, "relevance.reference")
    try:
        image = np.load(file, allow_pickle=False)
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).to(torch_device)
    except (OSError, ValueError, EOFError, TypeError, MemoryError, zipfile.BadZipFile) as error:
        raise StudyFileError(
            (f"relevance.reference: {file} cannot be read as an image ({error}); save one with numpy.save",)
        ) from error


def keep_relevance(
    method: str, sample: Sample, folder: Path, weights_digest: str, notify: Notify = silent
) -> Relevance:
    """Return the relevance by a criterion, from the folder where it was computed there before."""
    keys = ("reference", "target", "aggregation", "tolerance", "seed")
    settings = {key: getattr(sample, key) for key in keys}
    network = digest_network(sample.model)
    description = {
        **settings,
        "method": method,
        "weights": weights_digest,
        "network": network,
        "explorer": explorer.__version__,
    }
    tensors = (*sample.inputs, *sample.references, sample.directions, sample.targets)
    images = sha256(*(tensor.cpu().numpy() for tensor in tensors))
    kept = folder / f"relevance-{digest(f'{json.dumps(description, sort_keys=True)}|{images}')}.npz"
    if kept.exists():
        return Relevance.load(kept)
    notify("relevance", 0, len(sample))
    relevance = CRITERIA[method].compute(sample, lambda done, total: notify("relevance", done, total))
    relevance.save(kept)
    return relevance


def list_other_criteria(study: Study) -> tuple[str, ...]:
    """Return those beside the study's own, `relevance.method`.

    Raises:
        StudyFileError: For one that says nothing of filters.
    """
    names = tuple(name for name in study.space.filter_criteria or () if name != study.relevance.method)
    return tuple(_saying(name, "filters", "space.filter_criteria") for name in names)


def find_weighting_criterion(study: Study) -> str | None:
    """Return the criterion that `sharing.weighting` names, if any.

    Raises:
        StudyFileError: For one that says nothing of weights.
    """
    name = study.sharing.weighting
    return None if name in {"plain", "relevance"} else _saying(name, "weights", "sharing.weighting")


def compute_weight_importance(settings: SharingSettings, graph: ModelGraph, relevance: Relevance) -> Importance | None:
    """Return what an error of each weight counts when weights share values; None where each counts the same."""
    if settings.weighting == "plain":
        return None
    merged = {name: merge_weight_multipliers(graph, relevance, name) for name in graph.weight_owners}
    return {layer.name: torch.from_numpy(merged[layer.chosen_by]) for layer in graph.layers}


def measure_weight_relevance(model: nn.Module, graph: ModelGraph, relevance: Relevance) -> Importance:
    """Return |weight times multiplier| of every weight: what is lost with it alone."""
    found = {}
    for layer in graph.layers:
        multipliers = torch.from_numpy(merge_weight_multipliers(graph, relevance, layer.chosen_by))
        weight = layer_module(model, layer.name).weight.detach()
        found[layer.name] = (weight * multipliers.to(weight.device)).abs()
    return found


def _saying(name: str, subject: Subject, key: str) -> str:
    if subject not in CRITERIA[name].subjects:
        known = ", ".join(known for known, criterion in CRITERIA.items() if subject in criterion.subjects)
        raise StudyFileError((f"{key}: {name!r} says nothing of {subject}; those that do are {known}",))
    return name
