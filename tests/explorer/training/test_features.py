"""How far the layers of a network in training are from the teacher's, and that training holds them closer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, fx

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.settings import FineTuningSettings
from explorer.training.epochs import Recipe
from explorer.training.features import FeatureDistance, choose_layers
from explorer.training.finetune import finetune
from explorer.training.trainable import Trainable, trainable

Bases = Callable[[str], CompressionContext]
Images = Callable[[str, int], Tensor]


def candidate(base: CompressionContext, ratio: float) -> Candidate:
    layers = tuple(LayerChoice(layer=name, weight_bits=3) for name in base.graph.weight_owners)
    return Candidate(layers=layers, filter_keep_ratio=tuple((group.name, ratio) for group in base.graph.prunable))


class _Reads(fx.Interpreter):
    """Remembers what every module reads."""

    def run_node(self, n: fx.Node) -> object:
        if n.op == "call_module":
            self.reads = {**getattr(self, "reads", {}), str(n.target): self.env[n.all_input_nodes[0]]}
        return super().run_node(n)


def reads(model: torch.nn.Module, x: Tensor) -> dict[str, np.ndarray]:
    assert isinstance(model, fx.GraphModule)
    interpreter = _Reads(model)
    with torch.no_grad():
        interpreter.run(x)
    return {name: tensor.double().numpy() for name, tensor in interpreter.reads.items()}


def distance(base: CompressionContext, network: Trainable, x: Tensor) -> float:
    """The definition, from what an interpreter sees, in float64."""
    kept = base.resolve(network.candidate).kept
    own, wanted, found = reads(network.model.eval(), x), reads(base.model, x), []
    for layer in base.graph.layers[1:]:
        channels = [place for place, each in enumerate(layer.input_classes) if each in kept]
        if len(channels) >= 0.75 * len(layer.input_classes):
            there = wanted[layer.name][:, channels]
            found.append(((own[layer.name] - there) ** 2).mean() / (there**2).mean())
    return float(np.mean(found))


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "gated"])
@pytest.mark.parametrize("ratio", [1.0, 0.8])
def test_the_distance_is_as_defined(name: str, ratio: float, context: Bases, images: Images) -> None:
    base, x = context(name), images(name, 16)
    network = trainable(base, candidate(base, ratio))
    found = network.compare_features(base, base.model)
    with torch.no_grad():
        network.model.eval()(x)
        base.model(x)
    assert float(found.measure()) == pytest.approx(distance(base, network, x), rel=1e-4)
    found.close()
    assert not any(module._forward_pre_hooks for module in base.model.modules())


def test_its_gradient_is_that_of_the_definition(context: Bases, images: Images) -> None:
    base, x = context("option_a"), images("option_a", 4).double()
    own, teacher = copy.deepcopy(base.model).double().eval(), copy.deepcopy(base.model).double().eval()
    for parameter in own.parameters():
        parameter.requires_grad_(True).data.mul_(1.1)
    kept = base.resolve(candidate(base, 1.0)).kept
    found = FeatureDistance(own, teacher, base.graph, kept)
    first = next(parameter for parameter in own.parameters() if parameter.ndim == 4)

    def measure(weight: Tensor) -> Tensor:
        torch.func.functional_call(own, {name: weight}, (x,))
        teacher(x)
        return torch.as_tensor(found.measure())

    name = next(key for key, parameter in own.named_parameters() if parameter is first)
    direction = torch.randn(first.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    measure(first).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        step = 1e-6
        change = measure(first + step * direction) - measure(first - step * direction)
    assert first.grad is not None
    assert float((first.grad * direction).sum()) == pytest.approx(float(change) / (2 * step), rel=1e-4)
    found.close()


def test_layers_that_lost_much_are_not_looked_at(context: Bases) -> None:
    base = context("option_a")
    for ratio in (1.0, 0.8, 0.5):
        kept = base.resolve(candidate(base, ratio)).kept
        shares = {
            layer.name: np.mean([each in kept for each in layer.input_classes]) for layer in base.graph.layers[1:]
        }
        wanted = [name for name, share in shares.items() if share >= 0.75]
        assert [layer.name for layer in choose_layers(base.graph, kept)] == wanted
    assert 0 < len(wanted) < len(base.graph.layers) - 1 or not wanted


def test_training_holds_layers_closer_to_the_teacher(context: Bases, images: Images) -> None:
    base, x = context("lenet5_digits"), images("lenet5_digits", 128)
    chosen = candidate(base, 0.9)
    settings = FineTuningSettings(
        epochs=4, batch_size=16, optimizer="sgd", learning_rate=0.002, teacher_weight=1.0, held_aside=0.0
    )
    found = {}
    for weight in (0.0, 10.0):
        recipe = Recipe(settings=replace(settings, feature_weight=weight), seed=1)
        result = finetune(base, chosen, x, torch.zeros(128, dtype=torch.int64), recipe)
        found[weight] = distance(base, trainable(base, chosen, result), x)
        assert not any(module._forward_pre_hooks for module in base.model.modules())
    assert found[10.0] < 0.9 * found[0.0]
