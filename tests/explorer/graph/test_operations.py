"""What a device computes without weights: traced with its window, its operands and what it reads and writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.graph.canonical import canonicalise
from explorer.graph.functional import ACTIVATIONS
from explorer.graph.layers import ModelGraph, Operation
from explorer.graph.trace import trace

Body = Callable[[Any, Tensor], Any]
EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A convolution, what the case does with its 4 channels of 8 x 8, and a classifier."""

    def __init__(self, body: Body, features: int, **modules: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        for name, module in modules.items():
            self.add_module(name, module)
        self.fc = nn.Linear(features, 5)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.fc(torch.flatten(self.body(self, self.conv(x)), 1))


def traced(body: Body, features: int = 4 * 64, **modules: nn.Module) -> ModelGraph:
    return trace(canonicalise(Net(body, features, **modules).eval(), EXAMPLE), EXAMPLE)


def sizes(operation: Operation) -> tuple[tuple[int, int], ...]:
    return operation.kernel_size, operation.input_size, operation.output_size


def channels(graph: ModelGraph, operation: Operation) -> int:
    return sum(graph.groups[group].size * count for group, count in operation.channels)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_function_is_an_operation(name: str) -> None:
    graph = traced(lambda m, x: m.act(x), act=ACTIVATIONS[name]())
    (found,) = graph.operations
    assert (found.name, found.kind, found.operands) == ("act", "activation", 1)
    assert (sizes(found), channels(graph, found)) == (((1, 1), (8, 8), (8, 8)), 4)


def test_a_function_behind_a_layer_works_in_place_at_its_step() -> None:
    graph = traced(lambda m, x: torch.tanh(F.relu(x)))
    first, second = graph.operations
    assert (first.name, second.name) == ("relu", "tanh")
    assert first.sources == second.sources == (first.target,) == (graph.layers[0].target,)
    assert first.step == second.step == graph.layers[0].step == 0


def test_a_function_of_what_is_read_elsewhere_writes_a_tensor_of_its_own() -> None:
    graph = traced(lambda m, x: x + F.relu(x))
    relu, add = graph.operations
    assert (relu.sources, relu.target, relu.step) == (("conv",), "relu_1", 1)
    assert (add.kind, set(add.sources), add.step) == ("add", {"conv", "relu_1"}, 2)


@pytest.mark.parametrize(
    ("pool", "window", "out"),
    [
        (nn.MaxPool2d(2), (2, 2), (4, 4)),
        (nn.MaxPool2d((3, 2), stride=2, padding=1), (3, 2), (4, 5)),
        (nn.AvgPool2d(4, stride=2), (4, 4), (3, 3)),
        (nn.AdaptiveAvgPool2d(1), (8, 8), (1, 1)),
        (nn.AdaptiveAvgPool2d((2, 4)), (4, 2), (2, 4)),
        (nn.AdaptiveMaxPool2d((3, 8)), (4, 1), (3, 8)),  # rows 0-2, 2-5 and 5-7: the largest window has four
    ],
)
def test_the_window_of_a_pooling(pool: nn.Module, window: tuple[int, int], out: tuple[int, int]) -> None:
    graph = traced(lambda m, x: m.pool(x), 4 * out[0] * out[1], pool=pool)
    (found,) = graph.operations
    assert (found.name, found.kind) == ("pool", "pool")
    assert (sizes(found), channels(graph, found)) == ((window, (8, 8), out), 4)
    assert (found.sources, found.target, found.step) == (("conv",), "pool", 1)


@pytest.mark.parametrize("keep", [True, False])
def test_a_mean_over_positions_is_a_pooling_of_all_of_them(keep: bool) -> None:
    (found,) = traced(lambda m, x: x.mean((2, 3), keepdim=keep), 4).operations
    assert (found.name, found.kind, sizes(found)) == ("mean", "pool", ((8, 8), (8, 8), (1, 1)))


def test_a_pooling_reads_neither_a_border_of_zeros_nor_what_a_slice_leaves_out() -> None:
    padded = traced(lambda m, x: F.max_pool2d(F.pad(F.relu(x), (1, 1, 1, 1)), 2), 4 * 25)
    sliced = traced(lambda m, x: F.max_pool2d(x[:, :, ::2, ::2], 2), 4 * 4)
    assert sizes(padded.operations[-1]) == ((2, 2), (8, 8), (5, 5))
    assert sizes(sliced.operations[-1]) == ((2, 2), (4, 4), (2, 2))


@pytest.mark.parametrize(
    ("body", "kind", "operands"),
    [
        (lambda m, x: x + m.other(x), "add", 2),
        (lambda m, x: torch.add(x, m.other(x)), "add", 2),
        (lambda m, x: m.other(x).add_(x), "add", 2),
        (lambda m, x: x * m.other(x), "add", 2),
        (lambda m, x: x + 1.0, "activation", 1),
        (lambda m, x: 0.5 * x, "activation", 1),
        (lambda m, x: x + x, "activation", 1),
    ],
)
def test_tensors_that_are_joined_are_operands_and_numbers_are_not(body: Body, kind: str, operands: int) -> None:
    graph = traced(body, other=nn.Conv2d(4, 4, 1))
    (found,) = graph.operations
    assert (found.kind, found.operands, len(found.sources)) == (kind, operands, operands)
    assert (sizes(found), channels(graph, found)) == (((1, 1), (8, 8), (8, 8)), 4)


def test_a_sum_of_three_is_two_additions() -> None:
    graph = traced(lambda m, x: x + m.one(x) + m.two(x), one=nn.Conv2d(4, 4, 1), two=nn.Conv2d(4, 4, 1))
    assert [(found.name, found.kind, found.operands) for found in graph.operations] == [
        ("add", "add", 2),
        ("add_1", "add", 2),
    ]


def test_the_gate_of_squeeze_and_excitation_counts_as_large_as_what_it_scales() -> None:
    graph = traced(lambda m, x: x * torch.sigmoid(m.gate(x.mean((2, 3), keepdim=True))), gate=nn.Conv2d(4, 4, 1))
    mean, gate, product = graph.operations
    assert [found.kind for found in graph.operations] == ["pool", "activation", "add"]
    assert (sizes(gate)[1:], product.operands) == (((1, 1), (1, 1)), 2)
    assert sizes(product) == ((1, 1), (8, 8), (8, 8))
    assert mean.step < gate.step < product.step


def test_what_changes_or_computes_nothing_is_no_operation() -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = m.identity(m.dropout(m.norm(x)))
        return F.pad(torch.cat((x, x), 1)[:, :, ::2, ::2], (1, 1, 1, 1))

    graph = traced(body, 8 * 36, norm=nn.BatchNorm2d(4), dropout=nn.Dropout(), identity=nn.Identity())
    assert graph.operations == ()
    reasons = {item.path: item.reason for item in graph.skipped}
    assert "norm" not in reasons
    assert reasons["cat, getitem, pad"].startswith("moves data only")


def test_many_moves_are_one_entry() -> None:
    def body(m: Any, x: Tensor) -> Any:
        for _ in range(5):
            x = torch.cat((x, x), 1)
        return x.mean((2, 3))

    paths = [item.path for item in traced(body, 128).skipped if item.reason.startswith("moves data")]
    assert paths == ["cat, cat_1, cat_2 and 2 more"]


def test_an_operation_without_rule_is_listed_and_not_counted() -> None:
    graph = traced(lambda m, x: F.relu(x).cumsum(1) - 1.0)
    assert [found.name for found in graph.operations] == ["relu", "sub"]
    (reason,) = [item.reason for item in graph.skipped if item.path == "cumsum"]
    assert re.fullmatch(
        r"no rule for this operation at test_operations.py, line \d+: nothing there is pruned and its cost is not "
        "counted",
        reason,
    )


def test_further_types_of_element_wise_modules_are_no_operations() -> None:
    model = canonicalise(Net(lambda m, x: m.shrink(F.relu(x)), 256, shrink=nn.Hardshrink()), EXAMPLE)
    graph = trace(model, EXAMPLE, (nn.Hardshrink,))
    assert [found.name for found in graph.operations] == ["relu"]
    assert "shrink" not in {item.path for item in graph.skipped}


def test_a_function_is_not_called_like_a_module_that_comes_later() -> None:
    graph = traced(lambda m, x: m.mul(x + m.add(x * 2.0)), add=nn.Conv2d(4, 4, 1), mul=nn.ReLU())
    names = [*graph.layer_names, *(found.name for found in graph.operations)]
    assert len(set(names)) == len(names) == 6
    assert {"add", "mul", "mul()"} <= set(names)


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
def test_operations_refer_to_stored_activations(name: str, context: Callable[[str], CompressionContext]) -> None:
    graph = context(name).graph
    stored = {activation.name: activation for activation in graph.activations}
    for found in graph.operations:
        assert {found.target, *found.sources} <= stored.keys()
        assert found.channels == stored[found.target].channels
        assert all(stored[source].first_step <= found.step <= stored[source].last_step for source in found.sources)
        if found.sources != (found.target,):
            assert all(found.target in stored[source].feeds for source in found.sources)


def test_the_operations_of_a_network_by_hand(context: Callable[[str], CompressionContext]) -> None:
    """Two blocks: an addition each, the second one with a projection; a mean before the classifier."""
    graph = context("projection").graph
    assert [(found.name, found.kind, found.step) for found in graph.operations] == [
        ("relu", "activation", 0),
        ("relu_call", "activation", 1),
        ("add", "add", 3),
        ("relu_call_2", "activation", 3),
        ("relu_call_3", "activation", 4),
        ("add_1", "add", 7),
        ("relu_call_4", "activation", 7),
        ("mean", "pool", 8),
    ]
    digest = ModelGraph.from_json({**graph.to_json(), "operations": []}).digest()
    assert digest != graph.digest()
