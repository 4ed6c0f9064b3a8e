"""Everyday spellings: each has the rules that one spelling has, for pruning, cost, relevance and both exports."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.compress.prune import remove_filters
from explorer.errors import RelevanceError
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import run_onnx
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.relevance.deeplift import deeplift
from explorer.relevance.lrp import lrp
from explorer.relevance.sample import make_sample
from tests.oracles.macs import check_macs
from tests.oracles.mask import mask_filters
from tests.support.square import check_square, double, random_candidate, random_classes

Body = Callable[[Any, Tensor], Tensor]
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two convolutions and a classifier of 6 or 12 features; what happens between them is the case."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 12, 3, 2, 1)
        self.fc, self.wide = nn.Linear(6, 5), nn.Linear(12, 5)
        self.matrix, self.body = nn.Parameter(torch.randn(6, 6) * 0.4), body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, F.relu(self.stem(x)))


def unpacked(m: Any, x: Tensor) -> Any:
    values, _ = x.flatten(2).max(2)
    return m.fc(values)


def as_in_numpy(m: Any, x: Any) -> Any:
    cat: Any = torch.cat  # whose annotations know torch's own names alone
    return m.wide(cat([x, -x], axis=1).amax(axis=(2, 3), keepdims=True).flatten(1))


def shortcut(zeros: Callable[[Tensor], Tensor]) -> Body:
    """The shortcut of option A, whose channels are padded by a concatenation with zeros."""

    def body(m: Any, x: Tensor) -> Any:
        y = x[:, :, ::2, ::2]
        return m.wide(F.relu(m.down(x) + torch.cat((y, zeros(y)), 1)).mean((2, 3)))

    return body


def sized(x: Tensor) -> tuple[int, ...]:
    n, c, h, w = x.shape
    return n, c, h, w


SPELLINGS: dict[str, Body] = {
    "amax": lambda m, x: m.fc(x.amax((2, 3))),
    "torch.amax kept": lambda m, x: m.fc(torch.amax(x, dim=[-2, -1], keepdim=True).flatten(1)),
    "max twice": lambda m, x: m.fc(x.max(3)[0].max(2)[0]),
    "max twice kept": lambda m, x: m.fc(x.max(2, keepdim=True)[0].max(3, keepdim=True)[0].view(len(x), -1)),
    "max.values": lambda m, x: m.fc(torch.max(torch.max(x, dim=-1).values, dim=-1).values),
    "flat max": lambda m, x: m.fc(x.view(x.size(0), 6, -1).max(dim=2)[0]),
    "flat amax kept": lambda m, x: m.fc(x.flatten(2).amax(-1, keepdim=True).squeeze(-1)),
    "max unpacked": unpacked,
    "amin": lambda m, x: m.fc(torch.sigmoid(x).amin((2, 3))),
    "min twice": lambda m, x: m.fc(torch.min(torch.sigmoid(x).min(2)[0], 2)[0]),
    "mean and max": lambda m, x: m.wide(torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1)),
    "mean by axis": lambda m, x: m.fc(x.mean(axis=(2, 3))),  # type: ignore[call-overload]
    "mean of channels last": lambda m, x: m.fc(x.permute(0, 2, 3, 1).mean(dim=(1, 2))),
    "sum": lambda m, x: m.fc(x.sum((2, 3)) * 0.02),
    "sum twice": lambda m, x: m.fc(torch.sum(x.sum(-1), -1) * 0.02),
    "conversions": lambda m, x: m.fc(
        x.to(torch.float32).float().type_as(x).to(x.dtype).cpu().mean((2, 3)).to(x.device)
    ),
    "copies": lambda m, x: m.fc(torch.clone(x.data).detach().to(memory_format=torch.channels_last).mean((2, 3))),
    "converted to a weight": lambda m, x: m.fc(x.to(m.fc.weight).mean((2, 3))),
    "narrow": lambda m, x: m.fc(x.narrow(2, 1, -2 + 6).mean((2, 3))),
    "negated": lambda m, x: m.fc((-torch.clip(x, 0, 4)).mean((2, 3))),
    "negated by keyword": lambda m, x: m.fc(torch.neg(input=x).mean((2, 3))),
    "axes as in numpy": as_in_numpy,
    "dropouts": lambda m, x: m.fc(F.alpha_dropout(F.dropout1d(x.mean((2, 3)), training=m.training), 0.5, m.training)),
    "matrix product": lambda m, x: m.fc(F.relu(x.mean((2, 3)) @ m.matrix)),
    "addmm": lambda m, x: torch.addmm(m.fc.bias, x.mean((2, 3)), m.fc.weight.t()),
    "maximum with zeros": lambda m, x: m.fc(torch.max(-x, torch.zeros_like(x)).mean((2, 3)) + x.mean((2, 3))),
    "zeros added": lambda m, x: m.fc((x + torch.zeros_like(x)).mean((2, 3))),
    "zeros_like": shortcut(torch.zeros_like),
    "times 0": shortcut(lambda x: x.mul(0)),
    "new_zeros": shortcut(lambda x: x.new_zeros(sized(x))),
    "zeros": shortcut(lambda x: torch.zeros(*sized(x), device=x.device, dtype=x.dtype)),
    "zeros of size": shortcut(lambda x: torch.zeros(x.size()).to(x.device)),
    "zeros as": shortcut(lambda x: torch.zeros(x.size(0), 6, 4, 4).type_as(x)),
    "full": shortcut(lambda x: torch.full(x.size(), fill_value=0.0)),
}


def canonical(body: Body) -> tuple[fx.GraphModule, ModelGraph]:
    torch.manual_seed(3)
    model = canonicalise(Net(body).eval(), IMAGES)
    return model, trace(model, IMAGES)


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_pruned_and_costed(name: str) -> None:
    model, graph = canonical(SPELLINGS[name])
    assert not [entry for entry in graph.skipped if "rule" in entry.reason]
    assert "stem" in {group.name for group in graph.prunable}
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    for seed in range(4):
        kept = random_classes(graph, random.Random(seed))
        removed, masked = double(model), double(model)
        remove_filters(removed, graph, kept)
        mask_filters(masked, graph, kept)
        assert torch.allclose(removed(images), masked(images), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_has_relevance_and_both_exports(name: str, tmp_path: Path) -> None:
    model, graph = canonical(SPELLINGS[name])
    base = CompressionContext.of(model, IMAGES, graph=graph)
    check_square(base, random_candidate(graph, random.Random(1)), IMAGES)
    built = apply(base, uniform(graph))
    export_onnx(model, graph.input_shapes, tmp_path / "float.onnx")
    with torch.no_grad():
        logits, wanted = model(IMAGES).numpy(), built(IMAGES).numpy()
    assert np.allclose(run_onnx(tmp_path / "float.onnx", IMAGES), logits, rtol=1e-4, atol=1e-5)
    program = lower_program(built, graph.input_shapes)
    integers = run_program(program, IMAGES.numpy()) * program.output_scale
    assert np.allclose(integers, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    sample = make_sample(model.double(), graph, IMAGES.double(), torch.arange(4))
    assert (deeplift(sample).completeness or 0.0) < 1e-11
    assert lrp(sample).layer("stem").filter_scores.any()


@pytest.mark.parametrize("name", ["amax", "flat amax kept", "max twice kept"])
def test_a_maximum_over_positions_is_a_pooling(name: str) -> None:
    _, graph = canonical(SPELLINGS[name])
    (pool,) = [operation for operation in graph.operations if operation.kind == "pool"]
    assert (pool.kernel_size, pool.input_size, pool.output_size) == ((8, 8), (8, 8), (1, 1))
    assert [operation.kind for operation in graph.operations] == ["activation", "pool"]


@pytest.mark.parametrize("name", [name for name in SPELLINGS if "zeros" in name or name in {"full", "times 0"}])
def test_zeros_are_padding(name: str) -> None:
    model, graph = canonical(SPELLINGS[name])
    pads = [node for node in model.graph.nodes if node.target is F.pad]
    assert len(pads) == (0 if name in {"zeros added", "maximum with zeros"} else 1)
    assert not any("zeros" in str(node.target) or node.target is torch.full for node in model.graph.nodes)
    assert graph.macs == sum(layer.macs for layer in graph.layers)


class Attending(nn.Module):
    """What torch counts and this does not: attention, and convolutions of one and of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.line, self.volume = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv1d(6, 6, 3), nn.Conv3d(1, 1, 3, 1, 1)
        self.heads, self.fc = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.volume(F.relu(self.stem(x)).unsqueeze(1)).squeeze(1)
        y = self.line(x.flatten(2)).transpose(1, 2)
        y, _ = self.heads(y, y, y, need_weights=False)
        y = F.scaled_dot_product_attention(y, y, y)
        return self.fc(torch.bmm(y.transpose(1, 2), y).mean(1))  # type: ignore[no-any-return]


def test_what_torch_counts_and_we_do_not_is_skipped_with_its_line() -> None:
    model = Attending().eval()
    found = canonicalise(model, IMAGES)
    graph = trace(found, IMAGES)
    assert graph.layer_names == ("stem", "fc")
    check_macs(model, found, graph, IMAGES)
    skipped = {entry.path: entry.reason for entry in graph.skipped}
    assert {"volume", "line", "heads", "scaled_dot_product_attention", "bmm"} <= set(skipped)
    assert all("stay in float" in skipped[name] for name in ("volume", "line", "heads"))
    sample = make_sample(found, graph, IMAGES, torch.arange(4))
    line = r"F\.scaled_dot_product_attention at test_spellings\.py, line \d+"
    with pytest.raises(RelevanceError, match=rf"there is no rule for {line}"):
        deeplift(sample)


def test_what_only_looks_like_a_spelling_stays() -> None:
    for body in (
        lambda m, x: m.fc(x.amax(1).flatten(1)[:, :6]),
        lambda m, x: m.fc(x.double().mean((2, 3)).float()),
        lambda m, x: m.fc(x.max(3)[0].mean(2) + x.max(3)[1].float().mean(2)),
        lambda m, x: m.fc(x.mean((2, 3)) + torch.ones_like(x).mean((2, 3))),
        lambda m, x: m.fc((x > 0).float().mean((2, 3))),
        lambda m, x: m.fc(x.sum((2, 3)) / ((x > 0).sum((2, 3)) + 1)),  # types of number that change on the way
        lambda m, x: m.fc(x.mean((2, 3)) * (x > 0).amax((2, 3))),
        lambda m, x: m.fc(((x > 0) + torch.zeros_like(x)).mean((2, 3))),
        lambda m, x: m.fc(torch.maximum(x.long(), torch.zeros_like(x)).mean((2, 3))),
        lambda m, x: m.wide(torch.cat([x > 0, torch.zeros_like(x)], 1).mean((2, 3))),
    ):
        model, graph = canonical(body)
        assert [entry for entry in graph.skipped if "rule" in entry.reason and "line" in entry.reason]
        assert model(IMAGES).shape == (4, 5)
