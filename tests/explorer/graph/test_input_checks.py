"""Inputs of any number, rank and name are taken, and what cannot be is refused in one line that names the input."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ModelError
from explorer.export.onnx.qdq import build_qdq
from explorer.graph.canonical import canonicalise
from explorer.graph.symbolic import call
from explorer.graph.trace import trace
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program


class Two(nn.Module):
    """An image and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.look = nn.Conv2d(3, 6, 3), nn.Linear(10, 5), nn.Embedding(9, 4)

    def forward(self, image: Tensor, vector: Tensor) -> Tensor:
        return self.fc(torch.cat((F.relu(self.conv(image)).mean((2, 3)), vector), 1))  # type: ignore[no-any-return]


class Looking(Two):
    def forward(self, image: Tensor, word: Tensor) -> Tensor:
        return super().forward(image, self.look(word))


class Single(Two):
    def forward(self, image: Tensor, number: Tensor) -> Tensor:
        return super().forward(image, number[:, None].expand(-1, 4))


class ByName(Two):
    def forward(self, image: Tensor, *, vector: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(image, vector)


class Optional(Two):
    def forward(self, image: Tensor, vector: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(image, vector * scale)


class Packed(Two):
    def forward(self, image: Tensor, others: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(image, others["vector"])


IMAGE, VECTOR = torch.randn(4, 3, 8, 8), torch.randn(4, 4)


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (
            Looking,
            (IMAGE, torch.arange(4)),
            "input 'word': expected floating-point numbers, received torch.int64, which",
        ),
        (Looking, (IMAGE, torch.ones(4, 4) > 0), "input 'word': expected floating-point numbers, received torch.bool"),
        (Two, (IMAGE.byte(), VECTOR), "input 'image': expected floating-point numbers, received torch.uint8"),
        (
            Single,
            (IMAGE, VECTOR[:, 0]),
            "input 'number': expected N x features or .*, received N; give single .* N x 1",
        ),
        (ByName, (IMAGE, VECTOR), "input 'vector': forward.. takes it by name alone; let it take it by place, too"),
        (Two, IMAGE, r"forward\(\) takes 2 inputs \(image, vector\), received 1; give one tensor for each"),
        (Two, (IMAGE, VECTOR, VECTOR), r"takes 2 inputs \(image, vector\), received 3"),
        (Optional, IMAGE, r"takes 2 to 3 inputs \(image, vector, scale\), received 1"),
        (
            Two,
            (IMAGE, VECTOR[:3]),
            "input 'vector': expected 4 entries along its first axis, .* 'image' has, received 3",
        ),
        (
            Two,
            (IMAGE, VECTOR.double()),
            "input 'vector': expected torch.float32, as 'image' has, received torch.float64",
        ),
        (Packed, (IMAGE, {"vector": VECTOR}), "input 'others': expected a tensor, received a dict; give each tensor"),
    ],
)
def test_what_is_refused_names_the_input(kind: type[nn.Module], given: Any, told: str) -> None:
    with pytest.raises(ModelError) as raised:
        canonicalise(kind(), given)
    assert "\n" not in str(raised.value)
    assert re.match(f"model: .*{told}", str(raised.value))


def test_an_argument_left_at_its_default_is_no_input() -> None:
    model = canonicalise(Optional(), (IMAGE, VECTOR))
    assert trace(model, (IMAGE, VECTOR)).input_shapes == ((3, 8, 8), (4,))


def network(source: str, *layers: nn.Module) -> nn.Module:
    """A network whose forward() is written like this, with layers a, b, ... of its own."""
    space: dict[str, Any] = {"torch": torch, "F": F}
    exec(source, space)
    kind = type("Written", (nn.Module,), {"forward": space["forward"]})
    made: nn.Module = kind()
    for name, layer in zip("abcd", layers, strict=False):
        made.add_module(name, layer)
    return made


def check_exports(model: nn.Module, given: tuple[Tensor, ...], names: list[str]) -> None:
    context = CompressionContext.of(model, given)
    built = apply(context, uniform(context.graph, 8, 8))
    assert [entry.name for entry in build_qdq(built, context.graph.input_shapes).graph.input] == names
    program = lower_program(built, context.graph.input_shapes)
    assert [entry.name for entry in program.inputs] == names
    (expected,) = call(built, given)
    received = run_program(program, tuple(tensor.numpy() for tensor in given)) * program.output_scale
    assert np.abs(received - expected.numpy()).max() <= 0.02 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("images", "logits"),
        ("mean", "amax"),
        ("view", "to"),
        ("a", "b"),
        ("cat", "relu"),
        ("sum", "size"),
        ("x", "neg"),
    ],
)
def test_inputs_are_called_as_their_arguments_where_that_is_free(first: str, second: str) -> None:
    source = f"""
def forward(self, {first}, {second}):
    features = F.relu(self.a({first})).mean((2, 3))
    return self.c(torch.cat((features, F.relu(self.b({second}))), 1))
"""
    model = network(source, nn.Conv2d(3, 6, 3), nn.Linear(4, 4), nn.Linear(10, 5))
    taken = {"logits": "logits_2"}
    check_exports(model, (IMAGE, VECTOR), [taken.get(name, name) for name in (first, second)])


def test_inputs_of_vectors_alone() -> None:
    source = "def forward(self, left, right):\n    return self.c(torch.cat((F.relu(self.a(left)), self.b(right)), 1))"
    model = network(source, nn.Linear(4, 6), nn.Linear(7, 3), nn.Linear(9, 5))
    check_exports(model, (VECTOR, torch.randn(4, 7)), ["left", "right"])


def test_an_input_that_nothing_reads_stays_an_input() -> None:
    """As it does where a network is trained without one of its inputs, to learn what that input is worth."""
    source = "def forward(self, image, vector):\n    return self.b(F.relu(self.a(image)).mean((2, 3)))"
    check_exports(network(source, nn.Conv2d(3, 6, 3), nn.Linear(6, 5)), (IMAGE, VECTOR), ["image", "vector"])


def test_three_inputs_one_of_them_read_twice() -> None:
    source = """
def forward(self, one, two, three):
    both = F.relu(self.a(one)) + F.relu(self.a(two))
    gate = torch.sigmoid(self.b(three))
    return self.c(torch.cat((both.mean((2, 3)) * gate, self.b(three)), 1))
"""
    model = network(source, nn.Conv2d(3, 6, 3, padding=1), nn.Linear(4, 6), nn.Linear(12, 5))
    check_exports(model, (IMAGE, torch.randn(4, 3, 8, 8), VECTOR), ["one", "two", "three"])


def images_in_one_batch(self: Any, first: Tensor, second: Tensor) -> Tensor:
    left, right = F.relu(self.a(torch.cat((first, second)))).mean((2, 3)).chunk(2)
    return self.b(left * right)  # type: ignore[no-any-return]


@pytest.mark.parametrize("forward", [images_in_one_batch])
def test_a_shared_branch_that_reads_both_at_once_counts_both(forward: Callable[..., Tensor]) -> None:
    model = type("Batched", (nn.Module,), {"forward": forward})()
    model.a, model.b = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
    given = IMAGE, torch.randn(4, 3, 8, 8)
    graph = trace(canonicalise(model, given), given)
    assert graph.layer("a").macs == 2 * 6 * 6 * 27 * 6


def test_a_sequence_that_no_layer_has_a_rule_for_is_kept_whole_and_listed() -> None:
    source = """
def forward(self, image, series):
    return self.c(torch.cat((F.relu(self.a(image)).mean((2, 3)), F.relu(self.b(series)).mean(2)), 1))
"""
    given = IMAGE, torch.randn(4, 4, 20)
    model = network(source, nn.Conv2d(3, 6, 3), nn.Conv1d(4, 5, 3), nn.Linear(11, 5))
    context = CompressionContext.of(model, given)
    assert context.graph.layer_names == ("a", "c")
    (reason,) = (entry.reason for entry in context.graph.skipped if entry.path == "b")
    assert "its weights stay in float and its cost is not counted" in reason
    stored = {entry.name: (entry.size, entry.quantized) for entry in context.graph.activations}
    assert stored["series"] == ((1, 20), True)
    (expected,), (received,) = call(model.eval(), given), call(apply(context, uniform(context.graph, 8, 8)), given)
    assert (received - expected).abs().max() <= 0.05 * expected.abs().max()
