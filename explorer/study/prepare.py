"""Everything that a search and an export start from: data, trained network, graph, relevance, calibration."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import explorer
from explorer.compress.apply import CompressionContext
from explorer.compress.step_units import with_step_units
from explorer.data.images import Data, ImageSet
from explorer.digests import digest
from explorer.evaluate.coded_size import CodedSizes
from explorer.evaluate.engine import name_engine
from explorer.evaluate.score import Score
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.objectives import CODED_BYTES
from explorer.progress import Notify, silent
from explorer.relevance.completion import fill_missing
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance, compute_step_units, order_filters
from explorer.search.space import Depth
from explorer.study.depths import find_depths
from explorer.study.network import StudyNetwork, open_network, threads_for, with_weights
from explorer.study.record import Coverage
from explorer.study.relevance import (
    compute_weight_importance,
    draw_relevance_sample,
    find_weighting_criterion,
    keep_relevance,
    list_other_criteria,
    measure_weight_relevance,
)
from explorer.study.study_file import Study, load_accelerator
from explorer.study.weights import digest_network, digest_state
from hwmodels import Accelerator

STEP_UNITS = {"step units": "weighed by error feedback"}
"""Of the identity of results whose steps are taken over such units; it tells them from earlier ones, which were not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStudy:
    """What every later stage needs; tensors live on `torch_device`."""

    study: Study
    accelerator: Accelerator
    data: Data
    torch_device: torch.device
    score: Score
    context: CompressionContext
    relevance: Relevance
    weights_digest: str
    coverage: Coverage
    entropies: WeightEntropies | None = None
    """Those of its layers at any choice, where the device reads weights coded by them."""
    coded: CodedSizes | None = None
    """Estimates of the bytes of a coded file, where the study names these, whatever the device reads."""
    depths: tuple[Depth, ...] = ()
    """The networks that blocks are removed to, one for each number of them."""
    refused_exports: tuple[tuple[str, str], ...] = ()
    """(form, reason) for each form that the network cannot be exported as, where that was looked at."""

    def identity(self) -> dict[str, str]:
        """Return what the evaluations depend on, each part by name."""
        return {
            **self.study.essentials(),
            "device": f"{self.accelerator.name}:{self.accelerator.digest()[:16]}",
            "explorer": explorer.__version__,
            "network": digest_network(self.context.model),
            "graph": self.context.graph.digest(),
            "weights": self.weights_digest,
            "images": digest_images(self.data),
            "relevance": self.relevance.digest(),
            "engine": name_engine(self.torch_device).partition(",")[0],
            **({"score": self.score.code} if self.score.code else {}),
            **({"blocks": digest(json.dumps([each.removed_blocks for each in self.depths]))} if self.depths else {}),
            **({"orders": digest(json.dumps(self.context.orders))} if self.context.orders else {}),
            **(STEP_UNITS if self.study.quantizer.rounding == "adaptive" and self.study.space.steps != (None,) else {}),
        }

    def tensors(self, images: ImageSet) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return inputs and targets as tensors on the torch device."""
        return images.tensors(self.torch_device)

    def scored(self, images: ImageSet) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return inputs, and what outputs are scored by, as tensors on the torch device."""
        return images.scored(self.torch_device)


def names_coded_bytes(study: Study) -> bool:
    """Return whether the bytes of a coded file are an objective of the study, or limited by it."""
    return CODED_BYTES in study.objectives.names or study.budgets.coded_bytes is not None


def digest_images(data: Data) -> str:
    """Return a digest of the images that evaluations depend on: those that score, and those that calibrate."""
    return digest(f"{data.search.digest()}|{data.calibration.digest()}")


Inspect = Callable[[StudyNetwork], tuple[tuple[str, str], ...]]
"""Called with the network before it is trained; returns (form, reason) for each export that will be refused."""


def open_study(study: Study, folder: Path, notify: Notify = silent, inspect: Inspect | None = None) -> PreparedStudy:
    """Load, train, trace, score and calibrate; what is expensive is kept in `folder` and found there again.

    Raises:
        ExplorerError: For everything that the study file, the data or the model can have wrong.
    """
    list_other_criteria(study), find_weighting_criterion(study)  # refused, if at all, before anything is loaded
    accelerator = load_accelerator(study)
    opened = open_network(study, notify)
    refused_exports = inspect(opened) if inspect is not None else ()
    network = with_weights(opened, study, folder, notify).with_references(study.compute.batch_size)
    return prepare_study(study, network, accelerator, folder, notify, refused_exports=refused_exports)


def prepare_study(
    study: Study,
    network: StudyNetwork,
    accelerator: Accelerator,
    folder: Path,
    notify: Notify = silent,
    *,
    known: tuple[Sample, Relevance] | None = None,
    refused_exports: tuple[tuple[str, str], ...] = (),
) -> PreparedStudy:
    """Score and calibrate a network that has its weights; `known` are the relevance by its criterion and the sample."""
    context, relevance = make_context(study, network, folder, notify, known)
    with threads_for(context.graph):
        depths = find_depths(study.space, network, context, relevance, folder, notify)
    return PreparedStudy(
        study=study,
        accelerator=accelerator,
        data=network.data,
        torch_device=network.torch_device,
        score=network.score,
        context=context,
        relevance=relevance,
        weights_digest=digest_state(network.model),
        coverage=network.coverage,
        entropies=WeightEntropies.of(context.for_search(), accelerator),
        coded=CodedSizes(context.for_search()) if names_coded_bytes(study) else None,
        depths=depths,
        refused_exports=refused_exports,
    )


def make_context(
    study: Study,
    network: StudyNetwork,
    folder: Path,
    notify: Notify = silent,
    known: tuple[Sample, Relevance] | None = None,
) -> tuple[CompressionContext, Relevance]:
    """Return what candidates are built from, and the relevance that orders its filters, with all parts filled in."""
    data, torch_device, canonical, graph = network.data, network.torch_device, network.canonical, network.graph
    weights_digest, method = digest_state(network.model), study.relevance.method
    others, weighting = list_other_criteria(study), find_weighting_criterion(study)
    with threads_for(graph):
        sample = known[0] if known else draw_relevance_sample(canonical, graph, data.relevance, study, torch_device)
        scores = {method: known[1]} if known else {}
        for name in filter(None, (method, *others, weighting)):
            if name not in scores:
                scores[name] = keep_relevance(name, sample, folder, weights_digest, notify)
        relevance = fill_missing(scores[method], sample, CRITERIA[method].subjects)
        notify("calibrate", 0, 1)
        context = CompressionContext.of(
            canonical,
            data.calibration.tensors(torch_device)[0],
            order_filters(graph, relevance),
            graph=graph,
            quantizer=study.quantizer,
            importance=(
                measure_weight_relevance(canonical, graph, relevance)
                if study.quantizer.rounding == "ecqx"
                else compute_weight_importance(
                    study.sharing, graph, relevance if weighting is None else scores[weighting]
                )
            ),
            orders={name: order_filters(graph, scores[name]) for name in others},
        )
        notify("calibrate", 1, 1)
    return with_step_units(context, compute_step_units(graph, relevance)), relevance
