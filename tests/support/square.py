"""The commuting square: random candidates, and whether what is built of them is what was planned and costed."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, count_levels
from explorer.compress.plan import NetworkPlan, plan
from explorer.compress.quantize import ActivationQuantizer, code_limit
from explorer.evaluate.hardware import list_activation_tensors, list_layer_jobs
from explorer.graph.inputs import Inputs, as_tuple
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from hwmodels.workload.layer_arrays import layer_arrays
from hwmodels.workload.widths import note_widths

SHARES = st.one_of(st.sampled_from([0.01, 0.5, 1.0]), st.floats(0.01, 1.0))
BITS = st.integers(2, 8)
STEPS = st.one_of(st.none(), st.none(), st.floats(1e-3, 10.0))
PATTERNS = st.sampled_from([None, None, "2:4", "1:4", "3:5"])


@st.composite
def choices(draw: st.DrawFn, layer: str) -> LayerChoice:
    step = draw(STEPS)
    bits = draw(BITS) if step is None else 8
    size = draw(st.one_of(st.none(), st.integers(2, min(24, count_levels(bits) - 1))))
    return LayerChoice(
        layer=layer,
        weight_bits=bits,
        activation_bits=draw(BITS),
        weight_density=draw(SHARES),
        codebook_size=size,
        pattern=draw(PATTERNS),
        step=step,
    )


@st.composite
def candidates(draw: st.DrawFn, graph: ModelGraph) -> Candidate:
    return Candidate(
        layers=tuple(draw(choices(name)) for name in graph.weight_owners),
        filter_keep_ratio=tuple((group.name, draw(SHARES)) for group in graph.prunable),
    )


def with_made_up_units(base: CompressionContext) -> CompressionContext:
    """Return a context that steps can be taken in: another unit for each layer, one for all calls of its weights."""
    owners = base.graph.weight_owners
    return replace(
        base, step_units={layer.name: 1.0 + 0.5 * owners.index(layer.chosen_by) for layer in base.graph.layers}
    )


def check_square(base: CompressionContext, candidate: Candidate, example: Inputs) -> fx.GraphModule:
    """Build the candidate's network and compare it with its plan and its jobs; returns what was built."""
    base = with_made_up_units(base)
    built = apply(base, candidate)
    planned = plan(base.graph, candidate)
    traced = trace(built, example, (ActivationQuantizer,))
    check_layers(base.graph, planned, traced)
    check_operations(base.graph, planned, traced)
    check_activations(base.graph, planned, built, traced)
    for layer in planned.layers:
        check_weights(built.get_submodule(layer.name), planned, layer.name)
    outputs = built(*as_tuple(example))
    for output in tree_leaves(outputs):
        assert output.isfinite().all()
    return built


def check_layers(graph: ModelGraph, planned: NetworkPlan, traced: ModelGraph) -> None:
    jobs = [job for job in list_layer_jobs(graph, planned) if job.shape.kind in ("conv", "linear")]
    assert [job.shape.name for job in jobs] == list(traced.layer_names)
    for job, layer, built in zip(jobs, planned.layers, traced.layers, strict=True):
        shape = job.shape
        expected = (built.in_channels, built.out_channels, built.groups, built.weights)
        assert (layer.in_channels, layer.out_channels, layer.groups, layer.num_weights) == expected
        assert (shape.weights, shape.macs, shape.groups) == (built.weights, built.macs, built.groups)
        assert (shape.batch * shape.in_h, shape.in_w) == built.input_size
        window = built.kernel_size[0] * built.kernel_size[1]
        if built.transposed:
            assert (shape.in_channels, shape.out_channels) == (built.in_channels, built.out_channels * window)
            assert job.columns_per_channel == window
            continue
        assert (shape.in_channels, shape.out_channels) == (built.in_channels, built.out_channels)
        assert (shape.kernel_h, shape.kernel_w) == built.kernel_size
        assert (shape.stride_h, shape.stride_w) == built.stride
        assert (shape.batch * shape.out_h, shape.out_w) == built.output_size


def check_operations(graph: ModelGraph, planned: NetworkPlan, traced: ModelGraph) -> None:
    """Every pooling, addition and function of the built network is costed as it is, in its order, and no other."""
    jobs = list_layer_jobs(graph, planned)
    steps = {layer.name: layer.step for layer in traced.layers}
    steps |= {operation.name: operation.step for operation in traced.operations}
    assert sorted(steps) == sorted(job.shape.name for job in jobs)
    order = [steps[job.shape.name] for job in jobs]
    assert order == sorted(order)
    shapes = {job.shape.name: job.shape for job in jobs}
    for operation, built in zip(planned.operations, traced.operations, strict=True):
        shape = shapes[operation.name]
        channels = sum(traced.groups[group].size * count for group, count in built.channels)
        assert (operation.name, shape.kind, shape.operands) == (built.name, built.kind, built.operands)
        assert operation.channels == shape.in_channels == shape.out_channels == channels
        assert (shape.kernel_h, shape.kernel_w) == built.kernel_size
        assert (shape.stride_h, shape.stride_w) == built.stride
        assert (shape.batch * shape.in_h, shape.in_w) == built.input_size
        assert (shape.batch * shape.out_h, shape.out_w) == built.output_size


def check_activations(graph: ModelGraph, planned: NetworkPlan, built: fx.GraphModule, traced: ModelGraph) -> None:
    """A stored activation is found in the built network behind its quantiser, or at the layer that writes it."""
    written = {layer.target: traced.layer(layer.name).target for layer in graph.layers}
    found = {entry.name: entry for entry in traced.activations}
    jobs, tensors = list_layer_jobs(graph, planned), list_activation_tensors(graph, planned)
    assert note_widths([job.shape.name for job in jobs], layer_arrays(jobs), tensors) == []
    for stored, layer_plan, tensor in zip(graph.activations, planned.activations, tensors, strict=True):
        name = f"{stored.name}_quantizer" if stored.quantized else stored.name
        # What is stored wider than its one reader takes it goes by the name of the quantiser in front of that.
        narrowed = [f"{reader.replace('.', '_')}_input_quantizer" for reader in stored.readers]
        entry = next((found[key] for key in (name, *narrowed) if key in found), None)
        entry = entry or found[written[stored.name]]
        channels = sum(traced.groups[group].size * count for group, count in entry.channels)
        assert layer_plan.channels == channels
        assert tensor.elements == layer_plan.elements == channels * entry.size[0] * entry.size[1]
        assert tensor.bits == layer_plan.bits
        if stored.quantized:
            quantizer = built.get_submodule(name)
            assert isinstance(quantizer, ActivationQuantizer)
            assert quantizer.bits == layer_plan.bits
    read = {job.shape.name: job.input_bits for job in jobs}
    for layer in planned.layers:
        assert read_bits(built, layer.name) == layer.input_bits == read[layer.name]


def read_bits(built: fx.GraphModule, layer: str) -> int:
    """Width of the nearest quantiser in front of a layer."""
    node = next(node for node in built.graph.nodes if node.op == "call_module" and node.target == layer)
    while True:
        node = node.all_input_nodes[0]
        module = built.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            return module.bits


def check_weights(module: nn.Module, planned: NetworkPlan, name: str) -> None:
    layer = next(layer for layer in planned.layers if layer.name == name)
    codes, scale = module.get_buffer("weight_codes"), module.get_buffer("weight_scale")
    assert codes.dtype == torch.int8
    assert codes.abs().max() <= code_limit(layer.weight_bits)
    assert torch.count_nonzero(codes) <= layer.num_nonzero_weights
    if layer.codebook_size is not None:
        assert torch.bincount(codes.flatten().int() + 128).count_nonzero() <= layer.codebook_size
    assert (scale > 0).all()
    weight = module.get_parameter("weight")
    assert torch.equal(weight, codes.float() * scale.view(-1, *(1,) * (codes.ndim - 1)))


def random_candidate(graph: ModelGraph, draw: random.Random) -> Candidate:
    """A candidate for a network too large for Hypothesis: each choice is the simplest one half of the time."""
    return Candidate(
        layers=tuple(_random_choice(name, draw) for name in graph.weight_owners),
        filter_keep_ratio=tuple((group.name, draw.choice((1.0, draw.uniform(0.01, 1.0)))) for group in graph.prunable),
    )


def _random_choice(layer: str, draw: random.Random) -> LayerChoice:
    bits = draw.randint(2, 8)
    return LayerChoice(
        layer=layer,
        weight_bits=bits,
        activation_bits=draw.randint(2, 8),
        weight_density=draw.choice((1.0, draw.uniform(0.01, 1.0))),
        codebook_size=draw.choice((None, draw.randint(2, min(24, count_levels(bits) - 1)))),
        pattern=draw.choice((None, None, "2:4", "1:4")),
    )


def random_classes(graph: ModelGraph, draw: random.Random) -> frozenset[int]:
    """All locked channel classes, and some of every other group, at least one."""
    kept = set[int]()
    for group in graph.groups:
        kept.update(group.classes if group.locked else draw.sample(group.classes, draw.randint(1, group.size)))
    return frozenset(kept)


def double(model: fx.GraphModule) -> fx.GraphModule:
    """A copy in float64 that still knows its shapes."""
    copied = copy.deepcopy(model)
    for before, after in zip(model.graph.nodes, copied.graph.nodes, strict=True):
        after.meta = dict(before.meta)
    return copied.double()
