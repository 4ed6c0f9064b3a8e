"""A network that was opened for exploration, with the images that it is explored on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from explorer.allocator import keep_freed_memory
from explorer.compress.apply import CompressionContext
from explorer.compress.shorten import EXAMPLES
from explorer.compress.step_units import with_step_units
from explorer.data.images import Data, ImageSet
from explorer.errors import DataError, ModelError
from explorer.evaluate.score import ACCURACY, LIKENESS, Score, ScoreFunction
from explorer.graph.inputs import Inputs
from explorer.graph.layers import ModelGraph
from explorer.graph.symbolic import call
from explorer.progress import Notify
from explorer.relevance.scores import compute_step_units, order_filters
from explorer.session.display import paragraph, table
from explorer.session.samples import make_data, read_samples, split_samples
from explorer.settings import ComputeSettings, QuantizerSettings
from explorer.settings.rules import integer
from explorer.study.coverage import measure_coverage
from explorer.study.network import StudyNetwork, threads_for, with_weights
from explorer.study.network import open_network as open_given_network
from explorer.study.prepare import PreparedStudy
from explorer.study.relevance import measure_weight_relevance
from explorer.study.study_file import Study
from explorer.user_code import digest_code

if TYPE_CHECKING:
    from explorer.session.scores import Scores

SEED = integer(0, 2**32 - 1)
"""As in a study file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Net:
    """A network ready to be compressed: its canonical copy, graph and calibration, and its images in disjoint sets.

    `context.model` is the copy, which gives what the user's model gives; the model itself is not touched. Filters go
    by their magnitude where nothing else is asked for.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> print(net)
        Sequential: 2 layers, groups of filters to prune: 1
        explored and costed: 100 % of 1,490 parameters, 100 % of 2,736 multiply-accumulates
        images: 24 to train and calibrate, 8 to search, 8 held out; scored by accuracy
    """

    network: StudyNetwork
    context: CompressionContext
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the network's class."""
        return type(self.network.model).__name__

    @property
    def graph(self) -> ModelGraph:
        """Its layers, and the groups of channels that stay or go together."""
        return self.context.graph

    @property
    def data(self) -> Data:
        """Its images: `train`, `search` and `held_out`; those of `calibration` and `relevance` are of `train`."""
        return self.network.data

    @property
    def score(self) -> Score:
        """How well it does on each image."""
        return self.network.score

    @property
    def skipped(self) -> dict[str, str]:
        """What stays in float or whole, and why."""
        locked = {group.name: group.locked for group in self.graph.groups if group.locked}
        return {**{entry.path: entry.reason for entry in self.graph.skipped}, **locked}

    def ordered_by(self, scores: Scores) -> Net:
        """Return the network with its filters in the order of scores, and steps of weights by them."""
        graph, relevance, context = self.graph, scores.complete, self.context
        importance = context.importance
        if context.quantizer.rounding == "ecqx":
            importance = measure_weight_relevance(context.model, graph, relevance)
        ordered = replace(context, order=order_filters(graph, relevance), importance=importance)
        return replace(self, context=with_step_units(ordered, compute_step_units(graph, relevance)))

    def tensors(self, images: ImageSet) -> tuple[Any, Tensor]:
        """Return images and targets on the device of the network."""
        return self.network.tensors(images)

    def scored(self, images: ImageSet) -> tuple[Any, Tensor]:
        """Return images, and what the score compares outputs with, on the device of the network."""
        return images.scored(self.network.torch_device)

    def summary(self) -> str:
        """Return lines that say what is explored, and on which images."""
        data, graph = self.data, self.graph
        counts = (
            f"{len(data.train)} to train and calibrate, {len(data.search)} to search, {len(data.held_out)} held out"
        )
        return (
            f"{self.name}: {len(graph.layers)} layers, groups of filters to prune: {len(graph.prunable)}\n"
            f"{self.network.coverage.summary()}\nimages: {counts}; scored by {self.score.name}"
        )

    def __repr__(self) -> str:
        """Return the summary."""
        return self.summary()

    def __deepcopy__(self, memo: object) -> Net:
        """Return the same: it is a value, and a network that was made from it is copied without its images."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: torch.fx could not read such a file again.

        Raises:
            ModelError: Always.
        """
        raise ModelError("net: an opened network is not pickled; save the model's state_dict(), and open it again")

    def _repr_html_(self) -> str:
        groups = {name: group.name for group in self.graph.groups for name in group.producers}
        rows = [
            (
                layer.name,
                layer.kind,
                layer.out_channels,
                layer.weights,
                groups.get(layer.name, ""),
                self.skipped.get(groups.get(layer.name, ""), ""),
            )
            for layer in self.graph.layers
        ]
        return paragraph(self.summary()) + table(("layer", "kind", "filters", "weights", "group", "kept whole"), rows)


def open_network(
    model: nn.Module,
    data: Any,
    targets: Any,
    *,
    search: Any,
    held_out: Any,
    score: ScoreFunction | Score | Literal["likeness"] | None,
    quantizer: QuantizerSettings | None,
    seed: int,
) -> Net:
    """Split what is given, and canonicalise, trace and calibrate the model; `explorer.open` says of what."""
    if not isinstance(model, nn.Module):
        raise ModelError(f"model: expected a torch.nn.Module, received {type(model).__name__}")
    seed = SEED.read(seed, "seed")
    if not isinstance(quantizer, QuantizerSettings | None):
        raise DataError(f"quantizer: expected explorer.settings.QuantizerSettings, received {type(quantizer).__name__}")
    keep_freed_memory()
    train = read_samples("images", data, targets)
    searched = None if search is None else read_samples("search", search)
    kept_back = None if held_out is None else read_samples("held_out", held_out)
    sets = split_samples(train, searched, kept_back, seed)
    torch_device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    found = make_data(sets, None, seed)
    context = CompressionContext.of(model, found.calibration.tensors(torch_device)[0], quantizer=quantizer)
    example = sets[0].take(slice(EXAMPLES)).tensors(torch_device)[0]
    try:
        labels = {"train": found.train, "search": found.search, "held_out": found.held_out}
        found = replace(found, num_classes=count_classes(context.model, example, labels))
    except DataError:
        if score is None:
            raise
    with threads_for(context.graph):
        covered = measure_coverage(context.model, context.graph, example)
    network = StudyNetwork(
        data=found,
        torch_device=torch_device,
        score=make_score(score),
        model=model,
        canonical=context.model,
        graph=context.graph,
        coverage=covered,
    )
    return Net(network=network.with_references(ComputeSettings().batch_size), context=context, seed=seed)


def open_study_network(study: Study, notify: Notify) -> Net:
    """Return the network of a study with its own images, trained where it has no checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        network = with_weights(open_given_network(study, notify), study, Path(folder), notify)
        network = network.with_references(study.compute.batch_size)
    images = network.data.calibration.tensors(network.torch_device)[0]
    context = CompressionContext.of(network.canonical, images, graph=network.graph, quantizer=study.quantizer)
    return Net(network=network, context=context, seed=study.seed)


def net_of_study(prepared: PreparedStudy) -> Net:
    """Return the network of a prepared study; filters go by the study's relevance."""
    network = StudyNetwork(
        data=prepared.data,
        torch_device=prepared.torch_device,
        score=prepared.score,
        model=prepared.context.model,
        canonical=prepared.context.model,
        graph=prepared.context.graph,
        coverage=prepared.coverage,
    )
    return Net(network=network, context=prepared.context, seed=prepared.study.seed)


def make_score(score: ScoreFunction | Score | str | None) -> Score:
    """Return a score by its function's name; right or wrong where there is none."""
    if score is None:
        return ACCURACY
    if score in (LIKENESS.name, LIKENESS):
        return LIKENESS
    if isinstance(score, Score) and score.name == LIKENESS.name:
        raise DataError(
            f'score: "{LIKENESS.name}" is the built-in one, received a function of that name; call it another'
        )
    if isinstance(score, Score):
        return score
    if isinstance(score, str) or not callable(score):
        received = repr(score) if isinstance(score, str) else type(score).__name__
        raise DataError(f'score: expected a function (outputs, targets) -> scores or "likeness", received {received}')
    name = getattr(score, "__name__", "")
    usable = name.isidentifier() and name != LIKENESS.name
    return Score(name=name if usable else "score", function=score, code=digest_code(score))


def refuse_other(net: object) -> None:
    """Raise ModelError where something is no opened network, such as the model itself."""
    if not isinstance(net, Net):
        raise ModelError(f"net: expected what explorer.open gives, received {type(net).__name__}")


def count_classes(model: nn.Module, example: Inputs, sets: Mapping[str, ImageSet]) -> int:
    """Return how many classes the model tells apart; DataError where it tells none, or a label is none of them."""
    outputs = call(model, example)
    if len(outputs) != 1 or outputs[0].ndim != 2:
        received = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise DataError(
            f"score: right or wrong is said of logits (N x classes), but the model gives {received}; "
            "give score=function, of (outputs, targets) a number in [0, 1] for each image"
        )
    classes = outputs[0].shape[1]
    for name, images in sets.items():
        labels = images.targets
        if labels.ndim != 1 or labels.dtype != np.int64:
            raise DataError(
                f"{name}: expected a class number for each image, received {labels.dtype} of shape {labels.shape}; "
                "give score=function for other targets"
            )
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise DataError(
                f"{name}: expected labels in 0..{classes - 1}, since the model gives {classes} logits for each image, "
                f"received {wrong[0]}"
            )
    return classes
