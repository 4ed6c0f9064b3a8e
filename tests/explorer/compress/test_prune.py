"""Pruning: removed filters compute what a network with masked channels computes; masks and orders."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import count_kept_classes
from explorer.compress.prune import copy_network, magnitude_order, remove_filters, select_classes
from explorer.graph.layers import ModelGraph
from explorer.relevance.magnitude import l2
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import order_filters

SHARES = (0.2, 0.5, 0.8)


class _Masked(fx.Interpreter):
    """Sets the removed channels to zero in everything that a layer reads, and nowhere else."""

    def __init__(self, model: fx.GraphModule, graph: ModelGraph, kept: frozenset[int]) -> None:
        super().__init__(model)
        self.masks = {
            layer.name: torch.tensor([identity in kept for identity in layer.input_classes]) for layer in graph.layers
        }

    def call_module(self, target: object, args: tuple[Tensor, ...], kwargs: dict[str, object]) -> object:  # type: ignore[override]
        if target in self.masks:
            mask = self.masks[str(target)].to(args[0].dtype)
            args = (args[0] * mask.view(1, -1, *(1,) * (args[0].ndim - 2)),)
        return super().call_module(str(target), args, kwargs)


def pruned(
    base: CompressionContext, share: float, order: dict[str, tuple[int, ...]]
) -> tuple[fx.GraphModule, frozenset[int]]:
    candidate = Candidate(
        layers=uniform(base.graph).layers,
        filter_keep_ratio=tuple((group.name, share) for group in base.graph.prunable),
    )
    kept = select_classes(base.graph, count_kept_classes(base.graph, candidate), order)
    model = copy.deepcopy(base.model)
    for before, after in zip(base.model.graph.nodes, model.graph.nodes, strict=True):
        after.meta = dict(before.meta)
    remove_filters(model, base.graph, kept)
    return model.double(), kept


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
def test_removed_filters_equal_masked_ones(
    name: str, share: float, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base = context(name)
    generator = torch.Generator().manual_seed(3)
    order = {
        group.name: tuple(group.classes[i] for i in torch.randperm(group.size, generator=generator))
        for group in base.graph.prunable
    }
    model, kept = pruned(base, share, order)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in base.model.parameters())
    x = images(name, 6).double()
    whole = copy.deepcopy(base.model).double()
    with torch.no_grad():
        expected = _Masked(whole, base.graph, kept).run(x)
        assert (model(x) - expected).abs().max() <= 1e-9
        assert (whole(x) - expected).abs().max() > 1e-3


def test_the_front_of_the_order_stays(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    group = base.graph.prunable[0]
    order = {entry.name: entry.classes for entry in base.graph.prunable} | {group.name: group.classes[::-1]}
    model, kept = pruned(base, 0.25, order)
    assert set(group.classes) & kept == set(group.classes[-4:])
    weight = base.model.get_submodule(group.name).get_parameter("weight")
    assert torch.equal(model.get_submodule(group.name).get_parameter("weight").float(), weight[-4:])


def test_everything_kept_is_the_same_network(context: Callable[[str], CompressionContext]) -> None:
    for name in ("option_a", "mixed"):
        base = context(name)
        model, _ = pruned(base, 1.0, {group.name: group.classes for group in base.graph.prunable})
        state = base.model.double().state_dict()
        base.model.float()
        assert all(torch.equal(tensor.double(), state[key].double()) for key, tensor in model.state_dict().items())


def test_removal_leaves_no_trace_of_the_old_shapes(context: Callable[[str], CompressionContext]) -> None:
    base = context("mixed")
    model, _ = pruned(base, 0.5, {group.name: group.classes for group in base.graph.prunable})
    depthwise, norm = model.get_submodule("depthwise"), model.get_submodule("joined_norm")
    assert isinstance(depthwise, nn.Conv2d)
    assert (depthwise.groups, depthwise.in_channels, depthwise.out_channels) == (3, 3, 3)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.num_features == 2 + 3
    fc1 = model.get_submodule("fc1")
    assert isinstance(fc1, nn.Linear)
    assert (fc1.in_features, fc1.out_features) == (20, 5)


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
def test_the_order_by_magnitude_is_that_of_the_l2_criterion(
    name: str, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base = context(name)
    sample = make_sample(base.model, base.graph, images(name, 2), torch.zeros(2, dtype=torch.long))
    assert magnitude_order(base.model, base.graph) == order_filters(base.graph, l2(sample))


def test_a_context_is_of_the_canonical_network_and_leaves_the_given_one_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    network[0].get_parameter("weight").data[:] = torch.tensor([1.0, -3.0, 2.0]).view(3, 1, 1, 1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = CompressionContext.of(network, torch.randn(8, 1, 2, 2))
    (group,) = found.graph.prunable
    assert found.order[group.name] == tuple(group.classes[position] for position in (1, 2, 0))
    assert len(found.calibration.images) == 8
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_copy_has_its_modules_in_the_same_order_and_no_tensor_in_common() -> None:
    """Nested ones, called twice, before ones of the surface: torch.fx sorts by depth."""

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
            self.last = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.block(self.block(x)))  # type: ignore[no-any-return]

    model = CompressionContext.of(Nested().eval(), torch.rand(4, 3, 4, 4)).model
    copied = copy_network(model)
    assert "block.0" in dict(model.named_modules())
    assert list(copied.state_dict()) == list(model.state_dict())
    assert [name for name, _ in copied.named_modules()] == [name for name, _ in model.named_modules()]
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in copied.state_dict().values()}
    assert torch.equal(copied(torch.ones(1, 3, 4, 4)), model(torch.ones(1, 3, 4, 4)))


def test_hooks_of_a_copy_run_once_in_its_first_call() -> None:
    model = fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2)))
    copied = copy_network(model)
    calls: list[int] = []
    copied.register_forward_hook(lambda *_: calls.append(1))
    copied(torch.ones(1, 2))
    copied(torch.ones(1, 2))
    assert len(calls) == 2
