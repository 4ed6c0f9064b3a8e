"""The commuting square: what `apply` builds is what `plan` and the cost model were told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from explorer.compress.apply import Basis, apply
from explorer.compress.candidate import Candidate, LayerChoice, levels
from explorer.compress.plan import NetworkPlan, plan
from explorer.compress.quantize import ActivationQuantizer, code_limit
from explorer.evaluate.hardware import activation_tensors, layer_jobs
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace

SHARES = st.one_of(st.sampled_from([0.01, 0.5, 1.0]), st.floats(0.01, 1.0))
BITS = st.integers(2, 8)


@st.composite
def choices(draw: st.DrawFn, layer: str) -> LayerChoice:
    bits = draw(BITS)
    size = draw(st.one_of(st.none(), st.integers(2, min(24, levels(bits) - 1))))
    return LayerChoice(
        layer=layer,
        weight_bits=bits,
        activation_bits=draw(BITS),
        kept_weights=draw(SHARES),
        codebook_size=size,
    )


@st.composite
def candidates(draw: st.DrawFn, graph: ModelGraph) -> Candidate:
    return Candidate(
        layers=tuple(draw(choices(name)) for name in graph.layer_names),
        kept_filters=tuple((group.name, draw(SHARES)) for group in graph.prunable),
    )


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed", "gated"])
def test_what_is_built_is_what_was_costed(
    name: str, basis: Callable[[str], Basis], images: Callable[[str, int], Tensor]
) -> None:
    base, example = basis(name), images(name, 2)
    before = {key: tensor.clone() for key, tensor in base.model.state_dict().items()}
    code = base.model.code

    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(candidates(base.graph))
    def square(candidate: Candidate) -> None:
        built = apply(base, candidate)
        planned = plan(base.graph, candidate)
        traced = trace(built, example, (ActivationQuantizer,))
        check_layers(base.graph, planned, traced)
        check_operations(base.graph, planned, traced)
        check_activations(base.graph, planned, built, traced)
        for layer in planned.layers:
            check_weights(built.get_submodule(layer.name), planned, layer.name)
        assert built(example).isfinite().all()

    square()
    assert base.model.code == code
    after = base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


def check_layers(graph: ModelGraph, planned: NetworkPlan, traced: ModelGraph) -> None:
    jobs = [job for job in layer_jobs(graph, planned) if job.shape.kind in ("conv", "linear")]
    assert [job.shape.name for job in jobs] == list(traced.layer_names)
    for job, layer, built in zip(jobs, planned.layers, traced.layers, strict=True):
        shape = job.shape
        expected = (built.in_channels, built.out_channels, built.groups, built.weights)
        assert (layer.in_channels, layer.out_channels, layer.groups, layer.weights) == expected
        assert (shape.in_channels, shape.out_channels, shape.groups, shape.weights) == expected
        assert (shape.kernel_h, shape.kernel_w) == built.kernel_size
        assert (shape.in_h, shape.in_w) == built.input_size
        assert (shape.out_h, shape.out_w) == built.output_size
        assert shape.macs == built.macs


def check_operations(graph: ModelGraph, planned: NetworkPlan, traced: ModelGraph) -> None:
    """Every pooling, addition and function of the built network is costed as it is, in its order, and no other."""
    jobs = layer_jobs(graph, planned)
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
        assert (shape.in_h, shape.in_w) == built.input_size
        assert (shape.out_h, shape.out_w) == built.output_size


def check_activations(graph: ModelGraph, planned: NetworkPlan, built: fx.GraphModule, traced: ModelGraph) -> None:
    """A stored activation is found in the built network behind its quantiser, or at the layer that writes it."""
    written = {layer.target: traced.layer(layer.name).target for layer in graph.layers}
    found = {entry.name: entry for entry in traced.activations}
    tensors = activation_tensors(graph, planned)
    for stored, layer_plan, tensor in zip(graph.activations, planned.activations, tensors, strict=True):
        name = f"{stored.name}_quantizer" if stored.quantized else stored.name
        entry = found[name] if name in found else found[written[stored.name]]
        channels = sum(traced.groups[group].size * count for group, count in entry.channels)
        assert layer_plan.channels == channels
        assert tensor.elements == layer_plan.elements == channels * entry.size[0] * entry.size[1]
        assert tensor.bits == layer_plan.bits
        if stored.quantized:
            quantizer = built.get_submodule(name)
            assert isinstance(quantizer, ActivationQuantizer)
            assert quantizer.bits == layer_plan.bits
    for layer in planned.layers:
        assert read_bits(built, layer.name) == layer.input_bits
        assert {job.shape.name: job.input_bits for job in layer_jobs(graph, planned)}[layer.name] == layer.input_bits


def read_bits(built: fx.GraphModule, layer: str) -> int:
    """Width of the nearest quantiser in front of a layer."""
    node = next(node for node in built.graph.nodes if node.target == layer)
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
    assert torch.count_nonzero(codes) <= layer.nonzero_weights
    if layer.codebook_size is not None:
        assert len(set(codes.flatten().tolist())) <= layer.codebook_size
    assert (scale > 0).all()
    weight = module.get_parameter("weight")
    assert torch.equal(weight, codes.float() * scale.view(-1, *(1,) * (codes.ndim - 1)))


def test_one_class_of_every_group_stays_at_least(basis: Callable[[str], Basis]) -> None:
    """Each stage of option A adds a group of its own to the padded stream: 1, 2 and 3 channels stay."""
    base = basis("option_a")
    candidate = Candidate(
        layers=tuple(LayerChoice(layer=name) for name in base.graph.layer_names),
        kept_filters=tuple((group.name, 0.001) for group in base.graph.prunable),
    )
    outputs = [layer.out_channels for layer in plan(base.graph, candidate).layers]
    assert outputs == [1, 1, 1, 1, 2, 1, 3, 5]
