"""The shapes, widths and counts that a candidate gives a network, derived without building it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.graph.layers import Activation, GroupCount, Layer, ModelGraph, Operation
from explorer.settings.pattern import pattern_count
from explorer.settings.records import get_rules
from explorer.settings.values import MAXIMUM_BITS

LOGIT_BITS = 32
"""Logits leave as the 32-bit sums that they are accumulated in."""
decide_weights: Callable[[LayerChoice], tuple[Any, ...]] = attrgetter(
    *(key for key in get_rules(LayerChoice) if key != "activation_bits")
)
"""What of a choice the weights of a layer depend on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """One layer as a candidate will have it built."""

    name: str
    in_channels: int
    out_channels: int
    groups: int
    num_weights: int
    num_nonzero_weights: int
    macs: int
    """Multiply-accumulate operations for one image."""
    weight_bits: int
    input_bits: int
    stored_input_bits: int
    """Width at which its input is stored, for this and all other readers."""
    output_bits: int
    codebook_size: int | None
    codebooks: int
    """Tables of that size: 1, or one for each output channel."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights at their width, packed and rounded up, scales and biases aside."""
        return -(-self.num_weights * self.weight_bits // 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPlan:
    """One pooling, addition or activation function as a candidate will have it run.

    `input_bits` is the width of the widest activation that it reads, at which a device that joins several has to
    compute, `output_bits` that of the one that it writes.
    """

    name: str
    channels: int
    input_bits: int
    output_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationPlan:
    """One stored activation as a candidate will have it built: its elements for one image, and their width."""

    name: str
    channels: int
    elements: int
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """All layers, operations and activations of a network as a candidate will have them built."""

    layers: tuple[LayerPlan, ...]
    operations: tuple[OperationPlan, ...]
    activations: tuple[ActivationPlan, ...]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights of all layers, each layer's rounded up."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all layers for one image."""
        return sum(layer.macs for layer in self.layers)


def plan(graph: ModelGraph, candidate: Candidate) -> NetworkPlan:
    """Derive every shape and width. Kept inputs follow from the channel groups, they are never stated."""
    kept, choices = count_kept_classes(graph, candidate), collect_choices(graph, candidate)
    bits = derive_stored_bits(graph, choices)
    return NetworkPlan(
        layers=tuple(plan_layer(layer, choices[layer.name], kept, bits) for layer in graph.layers),
        operations=tuple(plan_operation(operation, kept, bits) for operation in graph.operations),
        activations=tuple(_activation(activation, kept, bits) for activation in graph.activations),
    )


def plan_layer(layer: Layer, choice: LayerChoice, kept: Sequence[int], bits: Mapping[str, int]) -> LayerPlan:
    """Derive one layer, given how many classes of every group are `kept`, and the `bits` of activations by name."""
    out_channels, in_channels = count_channels(layer.produces, kept), count_channels(layer.reads, kept)
    groups = in_channels if layer.depthwise else layer.groups
    weights = out_channels * (in_channels // groups) * layer.kernel_size[0] * layer.kernel_size[1]
    return LayerPlan(
        name=layer.name,
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        num_weights=weights,
        num_nonzero_weights=_nonzero(choice, weights, in_channels // groups),
        macs=weights * layer.output_size[0] * layer.output_size[1],
        weight_bits=choice.weight_bits,
        input_bits=choice.activation_bits,
        stored_input_bits=bits[layer.source],
        output_bits=bits[layer.target],
        codebook_size=choice.codebook_size,
        codebooks=out_channels if choice.codebook_granularity == "channel" else 1,
    )


def plan_operation(operation: Operation, kept: Sequence[int], bits: Mapping[str, int]) -> OperationPlan:
    """Derive one operation, as `plan_layer` a layer."""
    return OperationPlan(
        name=operation.name,
        channels=count_channels(operation.channels, kept),
        input_bits=max(bits[source] for source in operation.sources),
        output_bits=bits[operation.target],
    )


def _nonzero(choice: LayerChoice, num_weights: int, row: int) -> int:
    """Return weights that stay of rows of `row` weights along the input."""
    kept = count_kept(choice.weight_density, num_weights)
    return kept if choice.pattern is None else min(kept, pattern_count(choice.pattern, num_weights // row, row))


def _activation(activation: Activation, kept: Sequence[int], bits: Mapping[str, int]) -> ActivationPlan:
    channels = count_channels(activation.channels, kept)
    return ActivationPlan(
        name=activation.name,
        channels=channels,
        elements=channels * activation.size[0] * activation.size[1],
        bits=bits[activation.name],
    )


def count_kept_classes(graph: ModelGraph, candidate: Candidate) -> tuple[int, ...]:
    """Return how many channel classes are kept of every group of the graph."""
    ratios = dict(candidate.filter_keep_ratio)
    return tuple(
        group.size if group.locked else count_kept(ratios.get(group.name, 1.0), group.size) for group in graph.groups
    )


def collect_choices(graph: ModelGraph, candidate: Candidate) -> dict[str, LayerChoice]:
    """Return what is chosen for every layer, by its name; for one that has its weights of another layer, as for that.

    Raises:
        CandidateError: Where nothing is chosen for a layer.
    """
    choices = candidate.choices(layer.chosen_by for layer in graph.layers)
    return {
        layer.name: choice if choice.layer == layer.name else replace(choice, layer=layer.name)
        for layer, choice in zip(graph.layers, choices, strict=True)
    }


def derive_stored_bits(graph: ModelGraph, choices: Mapping[str, LayerChoice]) -> dict[str, int]:
    """Return the stored width of every activation: that of the widest layer that reads it.

    Where no layer reads an activation, only an addition or a pooling, it is as wide as what these derive from
    it; what nothing reads are the logits. Activations that share a scale have the width of the widest.
    """
    activations = {activation.name: activation for activation in graph.activations}
    known: dict[str, int] = {}

    def width(activation: Activation) -> int:
        if activation.name not in known:
            if activation.readers:
                known[activation.name] = max(choices[reader].activation_bits for reader in activation.readers)
            elif activation.feeds:
                fed = max(width(activations[name]) for name in activation.feeds)
                known[activation.name] = min(fed, MAXIMUM_BITS)
            else:
                known[activation.name] = LOGIT_BITS
        return known[activation.name]

    joined: defaultdict[str, int] = defaultdict(int)
    for activation in graph.activations:
        bits = width(activation)
        if activation.quantized:
            joined[activation.scale_of] = max(joined[activation.scale_of], bits)
    # What is concatenated has one scale, so that it needs one width; logits stay the sums that they are.
    settled: dict[str, int] = {}
    for activation in reversed(graph.activations):
        if activation.quantized:
            settled[activation.name] = joined[activation.scale_of]
        else:  # the quantiser of what is pooled from it serves for it
            fed = [settled[name] for name in activation.feeds]
            settled[activation.name] = min(max(fed), MAXIMUM_BITS) if fed else known[activation.name]
    return settled


def count_kept(ratio: float, size: int) -> int:
    """Return how many of `size` things a ratio keeps: the nearest integer, halves up, and at least one."""
    return max(1, math.floor(ratio * size + 0.5))


def count_channels(shares: Sequence[GroupCount], kept: Sequence[int]) -> int:
    """Return channels that are left of these shares of groups of which so many classes are `kept`."""
    total = 0
    for group, count in shares:  # a search asks for every part of every candidate, and sum() takes twice as long
        total += kept[group] * count
    return total
