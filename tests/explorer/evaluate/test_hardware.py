"""Costs from plans: by hand for one layer, and in the direction that each choice must have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import LOGIT_BITS, plan
from explorer.evaluate.hardware import (
    cost,
    count_float_activation_bytes,
    count_float_weight_bytes,
    list_activation_tensors,
    list_layer_jobs,
)
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import as_tuple
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from hwmodels import LayerCost, load
from tests.support import styles
from tests.support.passing import keep_nothing


class Viewed(nn.Module):
    """An operation on what `view` makes of features, or on images of that very size."""

    def __init__(self, operation: nn.Module, features: bool) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(), nn.Linear(128, 128), nn.ReLU())
        self.operation, self.features, self.head = operation, features, nn.Conv2d(8, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.features:
            x = self.encode(x).view(-1, 8, 4, 4)
        return self.head(self.operation(x)).mean((2, 3))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "operation",
    [nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.Conv2d(8, 8, 3, padding=1), nn.AvgPool2d(2), nn.MaxPool2d(3, 1, 1)],
    ids=lambda module: type(module).__name__,
)
@pytest.mark.parametrize("device", ["bitfusion", "gemmini_default", "ethos_u55_128", "stm32l4r5"])
def test_what_reads_a_view_of_features_costs_what_it_costs_on_images(operation: nn.Module, device: str) -> None:
    found = []
    for features, shape in ((True, (3, 16, 16)), (False, (8, 4, 4))):
        images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        graph = trace(canonicalise(Viewed(operation, features), images), images)
        layers = cost(graph, uniform(graph), keep_nothing(load(device))).layers
        (layer,) = [layer for layer in layers if layer.name == "operation"]
        found.append((layer.macs, layer.latency_cycles, layer.dram_input_bits, layer.dram_output_bits))
    assert found[0] == found[1]
    assert found[0][2] == 8 * 4 * 4 * 8


def changed(graph: ModelGraph, layer: str, **values: Any) -> Candidate:
    whole = uniform(graph)
    return replace(whole, layers=tuple(replace(c, **values) if c.layer == layer else c for c in whole.layers))


def test_jobs_of_lenet_by_hand(context: Callable[[str], CompressionContext]) -> None:
    """conv2 reads half of conv1's filters; fc1 reads four features of each of conv2's filters."""
    graph = context("lenet5_digits").graph
    candidate = replace(
        changed(graph, "conv2", weight_bits=3, activation_bits=5, weight_density=0.25, codebook_size=4),
        filter_keep_ratio=(("conv1", 0.5), ("conv2", 0.25), ("fc1", 1.0), ("fc2", 1.0)),
    )
    jobs = {job.shape.name: job for job in list_layer_jobs(graph, plan(graph, candidate))}
    conv2, fc1 = jobs["conv2"], jobs["fc1"]
    assert (conv2.shape.in_channels, conv2.shape.out_channels, conv2.shape.kernel_h) == (8, 8, 3)
    assert conv2.shape.macs == 8 * 8 * 9 * 16
    assert (conv2.weight_bits, conv2.input_bits, conv2.codebook_size) == (3, 5, 4)
    assert conv2.density == 144 / 576
    assert jobs["conv1"].output_bits == 5
    assert (fc1.shape.kind, fc1.shape.in_channels, fc1.shape.out_channels) == ("linear", 32, 120)
    assert jobs["fc3"].output_bits == LOGIT_BITS


def test_a_codebook_of_each_channel_is_counted(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    sizes = {}
    for scope in ("layer", "channel"):
        candidate = changed(graph, "fc1", codebook_size=4, codebook_granularity=scope)
        candidate = replace(candidate, filter_keep_ratio=(("fc1", 0.5),))
        jobs = {job.shape.name: job for job in list_layer_jobs(graph, plan(graph, candidate))}
        assert jobs["fc1"].codebooks == (60 if scope == "channel" else 1)
        assert jobs["fc2"].codebooks == 1
        sizes[scope] = cost(graph, candidate, load("bitfusion")).weight_bytes
    assert sizes["channel"] - sizes["layer"] == 59 * 4


def test_operations_of_lenet_by_hand(context: Callable[[str], CompressionContext]) -> None:
    """They come in the order of computation, follow the filters, and are as wide as what they read and write."""
    graph = context("lenet5_digits").graph
    candidate = replace(
        changed(graph, "conv2", activation_bits=5), filter_keep_ratio=(("conv1", 0.5), ("conv2", 0.25), ("fc1", 0.5))
    )
    jobs = list_layer_jobs(graph, plan(graph, candidate))
    assert [job.shape.name for job in jobs] == [
        *("conv1", "relu", "max_pool2d", "conv2", "relu_1", "max_pool2d_1"),
        *("fc1", "relu_2", "fc2", "relu_3", "fc3"),
    ]
    named = {job.shape.name: job for job in jobs}
    relu, pool, last = named["relu"], named["max_pool2d"], named["relu_2"]
    assert (relu.shape.kind, relu.shape.inputs, relu.shape.outputs) == ("activation", 8 * 64, 8 * 64)
    assert (relu.input_bits, relu.output_bits) == (5, 5)
    assert (pool.shape.kind, pool.shape.inputs, pool.shape.outputs) == ("pool", 8 * 64, 8 * 16)
    assert (pool.shape.vector_operations, pool.input_bits, pool.output_bits) == (8 * 16 * 4, 5, 5)
    assert (last.shape.in_channels, last.shape.outputs) == (60, 60)


def test_an_addition_is_as_wide_as_the_widest_tensor_that_it_reads(
    context: Callable[[str], CompressionContext],
) -> None:
    """a2's output is as narrow as what b1 and the shortcut read of the sum; a1 reads the stem's with 8 bits."""
    graph = context("projection").graph
    narrow = {"b1", "shortcut"}
    layers = (replace(c, activation_bits=3 if c.layer in narrow else 8) for c in uniform(graph).layers)
    planned = plan(graph, replace(uniform(graph), layers=tuple(layers)))
    (operation,) = (entry for entry in graph.operations if entry.name == "add")
    stored = {entry.name: entry.bits for entry in planned.activations}
    assert [stored[source] for source in operation.sources] == [3, 8]
    (job,) = (entry for entry in list_layer_jobs(graph, planned) if entry.shape.name == "add")
    assert (job.shape.operands, job.input_bits, job.output_bits) == (2, 8, 3)
    assert job.shape.inputs == 2 * 6 * 64


def test_what_writes_the_logits_writes_whole_sums() -> None:
    """A network without a classifier: its mean gives the logits."""
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(2, 3, 8, 8)
    graph = trace(canonicalise(model, images), images)
    relu, pool = plan(graph, uniform(graph)).operations
    assert (relu.input_bits, relu.output_bits, pool.input_bits, pool.output_bits) == (8, 8, 8, LOGIT_BITS)
    assert cost(graph, uniform(graph), load("bitfusion")).layers[-1].kind == "pool"


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
@pytest.mark.parametrize("device", ["eyeriss_v1", "bitfusion", "gemmini_default"])
def test_operations_cost_energy_and_time_unless_they_are_fused(
    name: str, device: str, context: Callable[[str], CompressionContext]
) -> None:
    graph, accelerator = context(name).graph, keep_nothing(load(device))
    whole = cost(graph, uniform(graph), accelerator)
    alone = cost(replace(graph, operations=()), uniform(graph), accelerator)
    spent = {layer.name: layer for layer in whole.layers}
    operations = [spent[operation.name] for operation in graph.operations]
    assert whole.energy_pj > alone.energy_pj
    assert whole.energy_pj == pytest.approx(alone.energy_pj + sum(entry.energy_pj for entry in operations))
    assert whole.energy_pj_by_component["vector"] > alone.energy_pj_by_component["vector"] == 0
    assert all(entry.energy_pj > 0 for entry in operations)
    fusible = {job.shape.name: job.fusible for job in list_layer_jobs(graph, plan(graph, uniform(graph)))}
    fused = [entry.kind in accelerator.vector.fused and fusible[entry.name] for entry in operations]
    assert [entry.latency_cycles == 0 for entry in operations] == fused
    unfused = not all(fused)
    assert (whole.latency_cycles > alone.latency_cycles) == unfused
    assert (whole.dram_bits > alone.dram_bits) == unfused
    assert (whole.weight_bytes, whole.macs) == (alone.weight_bytes, alone.macs)
    assert whole.peak_activation_bytes == alone.peak_activation_bytes


def test_stored_activations_by_hand(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    tensors = list_activation_tensors(graph, plan(graph, changed(graph, "fc1", activation_bits=3)))
    assert [(t.elements, t.bits, t.first_step, t.last_step) for t in tensors] == [
        (64, 8, 0, 0),
        (16 * 64, 8, 0, 1),
        (16 * 16, 8, 1, 2),
        (32 * 16, 3, 2, 3),
        (32 * 4, 3, 3, 4),
        (120, 8, 4, 5),
        (84, 8, 5, 6),
        (10, LOGIT_BITS, 6, 7),
    ]


def test_who_writes_and_reads_an_activation() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.mix, self.fc = nn.Conv2d(16, 4, 1), nn.Linear(4, 10)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = self.stem(x).relu()
            joined = torch.cat([x + self.body(x), x], 1)
            mixed = self.mix(joined)
            return self.fc(mixed.mean((2, 3))), mixed

    graph = graph_of(Net(), (torch.zeros(2, 3, 8, 8),))
    planned = plan(graph, uniform(graph))
    jobs = [job.shape.name for job in list_layer_jobs(graph, planned)]
    found = {
        tensor.name: ([jobs[index] for index in tensor.writers], [jobs[index] for index in tensor.readers])
        for tensor in list_activation_tensors(graph, planned)
    }
    external = [tensor.name for tensor in list_activation_tensors(graph, planned) if tensor.external]
    assert found["cat"] == ([], ["mix"]), "no layer writes what only moves data"
    assert found["add"] == (["add"], [])
    assert [found[name] for name in external] == [([], ["stem"]), (["mix"], ["mean"]), (["fc"], [])]
    assert next(readers for writers, readers in found.values() if "stem" in writers) == ["relu", "body", "add"]


def test_float_bytes_by_hand(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    weights = 16 * 9 + 32 * 16 * 9 + 120 * 128 + 84 * 120 + 10 * 84
    assert count_float_weight_bytes(graph) == 4 * (weights + 16 + 32 + 120 + 84 + 10)
    assert count_float_activation_bytes(graph) == 4 * (16 * 64 + 16 * 16)


def test_no_torch_is_needed_and_the_cost_is_the_devices(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    found = cost(graph, uniform(graph), load("bitfusion"))
    assert found.macs == graph.macs
    assert [layer.name for layer in found.layers if layer.macs] == list(graph.layer_names)
    assert found.peak_activation_bytes == 16 * 64 + 16 * 16
    assert found.energy_pj == pytest.approx(sum(layer.energy_pj for layer in found.layers))


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
def test_compression_never_costs_more(name: str, context: Callable[[str], CompressionContext]) -> None:
    graph, device = context(name).graph, load("bitfusion")
    whole = cost(graph, uniform(graph), device)
    layer = graph.layers[1].name
    for values in ({"weight_bits": 4}, {"activation_bits": 4}, {"weight_density": 0.3}, {"codebook_size": 4}):
        less = cost(graph, changed(graph, layer, **values), device)
        assert less.energy_pj <= whole.energy_pj
        assert less.weight_bytes <= whole.weight_bytes
    group = graph.prunable[0].name
    fewer = cost(graph, replace(uniform(graph), filter_keep_ratio=((group, 0.5),)), device)
    assert fewer.macs < whole.macs
    assert fewer.weight_bytes < whole.weight_bytes
    assert fewer.energy_pj < whole.energy_pj
    assert fewer.peak_activation_bytes <= whole.peak_activation_bytes


def test_an_activation_whose_input_is_read_elsewhere_is_not_fused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.relu = nn.ReLU()
            self.tail = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            logits: torch.Tensor = self.tail(self.relu(x) + x)
            return logits

    example = torch.rand(2, 3, 8, 8)
    graph = trace(canonicalise(Net(), example), example)
    jobs = list_layer_jobs(graph, plan(graph, uniform(graph)))
    assert {job.shape.kind: job.fusible for job in jobs if not job.shape.macs} == {
        "activation": False,
        "add": False,
        "pool": False,
    }
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), *Net().tail)
    graph = trace(canonicalise(plain, example), example)
    jobs = list_layer_jobs(graph, plan(graph, uniform(graph)))
    assert {job.shape.kind: job.fusible for job in jobs if not job.shape.macs} == {"activation": True, "pool": True}


def graph_of(model: nn.Module, given: tuple[torch.Tensor, ...]) -> ModelGraph:
    return trace(canonicalise(model.eval(), given), given)


def test_each_input_is_stored_from_the_start_until_it_is_read_last() -> None:
    graph = graph_of(styles.build("pair"), as_tuple(styles.inputs("pair", 2)))
    depth_bits = [replace(c, activation_bits=4 if c.layer == "depth" else 8) for c in uniform(graph).layers]
    tensors = list_activation_tensors(graph, plan(graph, replace(uniform(graph), layers=tuple(depth_bits))))
    assert [(t.elements, t.bits, t.first_step, t.last_step) for t in tensors] == [
        (3 * 64, 8, 0, 0),
        (256, 4, 0, 1),  # waits for the first convolution
        (6 * 64, 8, 0, 2),
        (4 * 64, 8, 1, 2),
        (10 * 64, 8, 2, 3),
        (8 * 64, 8, 3, 4),
        (8, 8, 4, 5),
        (5, LOGIT_BITS, 5, 6),
    ]
    assert count_float_activation_bytes(graph) == 4 * (6 + 4 + 10) * 64


@pytest.mark.parametrize("device", ["bitfusion", "eyeriss_v1", "ethos_u55_128", "stm32l4r5"])
def test_the_first_layer_of_each_input_costs_what_it_costs_in_a_network_of_its_own(device: str) -> None:
    pair = styles.build("pair")
    whole = cost_by_layer(graph_of(pair, as_tuple(styles.inputs("pair", 2))), device)
    for name, shape in (("colour", (3, 8, 8)), ("depth", (1, 16, 16))):
        layer = pair.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        after = {"relu": nn.ReLU(), "head": nn.Conv2d(layer.out_channels, 5, 1)}  # reads 8 bits as well
        alone = nn.Sequential(OrderedDict({name: layer, **after}))
        assert cost_by_layer(graph_of(alone, (torch.randn(2, *shape),)), device)[name] == whole[name]


def cost_by_layer(graph: ModelGraph, device: str) -> dict[str, LayerCost]:
    return {layer.name: layer for layer in cost(graph, uniform(graph), load(device)).layers}
