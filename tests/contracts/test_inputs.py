"""Whether a network reads one tensor or its parts as inputs of their own changes nothing of what is made of it."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import RelevanceError
from explorer.graph.inputs import Inputs, as_tuple, run
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.scores import Relevance
from explorer.settings import FineTuningSettings, QuantizerSettings, TrainingSettings
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.train import train_model
from explorer.training.tuned import rebuild
from tests.support import styles
from tests.support.square import random_candidate

ARRAYS = ("filter_scores", "weight_multipliers", "input_multipliers", "contributions", "magnitudes")
IMAGES = 12


class Images(nn.Module):
    """Two images with a convolution and a batch norm each, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm, self.both, self.fc = nn.BatchNorm2d(4), nn.Conv2d(10, 8, 3, stride=2), nn.Linear(8, 5)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x = torch.cat((F.relu(self.left(first)), F.relu(self.norm(self.right(second)))), 1)
        return self.fc(F.relu(self.both(x)).mean((2, 3)))  # type: ignore[no-any-return]


class Vectors(nn.Module):
    """Two vectors with a linear layer each, the second of which is joined as it is, too."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 7), nn.Linear(6, 5)
        self.norm, self.both, self.fc = nn.BatchNorm1d(5), nn.Linear(18, 9), nn.Linear(9, 4)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x = torch.cat((F.relu(self.left(first)), F.relu(self.norm(self.right(second))), second), 1)
        return self.fc(F.relu(self.both(x)))  # type: ignore[no-any-return]


class ImagesAsOne(Images):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x[:, :3], x[:, 3:])


class VectorsAsOne(Vectors):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x[:, :6], x[:, 6:])


NETWORKS: dict[str, tuple[type[nn.Module], type[nn.Module], tuple[int, ...]]] = {
    "images": (Images, ImagesAsOne, (3, 8, 8)),
    "vectors": (Vectors, VectorsAsOne, (6,)),
}


def in_both_ways(name: str) -> tuple[tuple[nn.Module, Inputs], tuple[nn.Module, Inputs]]:
    """(network of two inputs, its inputs), (the same of one input, its input).

    The second part holds the values of the first in another order, so that one range serves each part and the whole.
    """
    *kinds, shape = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        two = kinds[0]().eval()
        styles.unsettle(two.norm)
        one = kinds[1]().eval()
        one.load_state_dict(two.state_dict())
        first = torch.randn(IMAGES, *shape)
    second = first.flip(0).flip(-1)
    return (two, (first, second)), (one, torch.cat((first, second), 1))


@cache
def samples(name: str) -> tuple[Sample, Sample]:
    labels = torch.arange(IMAGES) % 3
    found = []
    for model, given in in_both_ways(name):
        context = CompressionContext.of(model, given)
        found.append(make_sample(context.model, context.graph, given, labels))
    return found[0], found[1]


def said(method: str, sample: Sample) -> Relevance | str:
    try:
        return CRITERIA[method].compute(sample, None)
    except RelevanceError as error:
        return str(error)


@pytest.mark.parametrize("method", CRITERIA)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_criterion_says_the_same(name: str, method: str) -> None:
    two, one = (said(method, sample) for sample in samples(name))
    if isinstance(two, str) or isinstance(one, str):
        assert two == one
        return
    for mine, other in zip(two.layers, one.layers, strict=True):
        for key in ARRAYS:
            received, expected = getattr(mine, key), getattr(other, key)
            assert received.shape == expected.shape
            assert np.allclose(received, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max(initial=0.0)), key
    assert (two.completeness is None) == (one.completeness is None)


TRAININGS: dict[str, dict[str, dict[str, Any]]] = {
    "images": {
        "plain": {},
        "moved": {"flip": True, "shift_pixels": 1.0, "rotate_degrees": 10.0},
    },
    "vectors": {"plain": {}},
}


@pytest.mark.parametrize(("name", "moves"), [(name, moves) for name, found in TRAININGS.items() for moves in found])
def test_training_ends_at_the_same_weights(name: str, moves: str) -> None:
    models = []
    for model, given in in_both_ways(name):
        arrays = tuple(tensor.numpy() for tensor in as_tuple(given))
        settings = TrainingSettings(epochs=2, batch_size=5, learning_rate=1e-3, **TRAININGS[name][moves])
        train_model(model, arrays, np.arange(IMAGES) % 3, Recipe(settings=settings, seed=1))
        models.append(model)
    check_equal(models[0].state_dict(), models[1].state_dict(), in_both_ways(name)[0][0].state_dict())


@pytest.mark.parametrize(("name", "moves"), [(name, moves) for name, found in TRAININGS.items() for moves in found])
def test_fine_tuning_ends_at_the_same_weights(name: str, moves: str) -> None:
    further: dict[str, Any] = {"crop_pixels": 1, "mixup": 0.5} if moves == "moved" else {}
    # None held aside: nothing that training did is taken back.
    further |= {"epochs": 2, "batch_size": 5, "optimizer": "sgd", "learning_rate": 1e-4, "held_aside": 0.0}
    settings = FineTuningSettings(**TRAININGS[name][moves], **further)
    built, start = [], {}
    for model, given in in_both_ways(name):
        context = CompressionContext.of(model, given)
        candidate = uniform(context.graph, 8, 8)
        tuned = finetune(context, candidate, given, torch.arange(IMAGES) % 3, Recipe(settings=settings, seed=1))
        built.append(rebuild(context, candidate, tuned).state_dict())
        start = apply(context, candidate).state_dict()
    codes = [{key: value for key, value in state.items() if key.endswith("weight")} for state in (*built, start)]
    check_equal(*codes)


def check_equal(received: dict[str, Tensor], expected: dict[str, Tensor], before: dict[str, Tensor]) -> None:
    """What was trained is equal but for rounding, and not what it was."""
    assert received.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(received[key].float(), value.float(), rtol=1e-2, atol=2e-4), key
    assert any(not torch.allclose(value.float(), before[key].float(), atol=1e-3) for key, value in expected.items())


OPTIONS = {
    "as it is": QuantizerSettings(),
    "largest values": QuantizerSettings(activation_ranges="percentile", activation_percentile=100.0),
    "adaptive": QuantizerSettings(rounding="adaptive", rounding_images=8, bias_correction=True),
    "by tensor": QuantizerSettings(scale_granularity="tensor", recalibration_images=6),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_candidate_computes_the_same(name: str, options: str) -> None:
    (two, parts), (one, whole) = in_both_ways(name)
    contexts = [
        CompressionContext.of(model, x, quantizer=OPTIONS[options]) for model, x in ((two, parts), (one, whole))
    ]
    graph = contexts[0].graph
    assert graph.layer_names == contexts[1].graph.layer_names
    assert [group.classes for group in graph.prunable] != []
    for seed in range(4):
        candidate = random_candidate(graph, random.Random(seed))
        # A part that is read narrower than another would be stored narrower by itself, but not as part of the whole.
        bits = candidate.choice("left").activation_bits
        candidate = replace(candidate, layers=tuple(replace(c, activation_bits=bits) for c in candidate.layers))
        built = [apply(context, candidate) for context in contexts]
        expected, received = run(built[1], whole), run(built[0], parts)
        assert torch.allclose(received, expected, rtol=1e-4, atol=1e-5)
    plain = run(apply(contexts[0], uniform(graph)), parts)
    assert (plain - run(two, parts)).abs().max() < 0.2 * run(two, parts).abs().max()
