"""Build the network that a candidate describes: a compressed copy, never the user's model."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import fx, nn

from explorer.compress.activations import insert_quantizers
from explorer.compress.calibrate import Calibration, calibrate
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.check import check_blocks
from explorer.compress.compensate import correct_copy
from explorer.compress.compiled.codes import NotFiniteError
from explorer.compress.norms import fold_norms
from explorer.compress.prune import (
    Order,
    copy_network,
    magnitude_order,
    narrow_weight,
    remove_filters,
)
from explorer.compress.resolve import ResolvedCandidate, resolve
from explorer.compress.shorten import EXAMPLES, shorten
from explorer.compress.static import StaticCodes, StaticMemory
from explorer.compress.weights import attach_codes, quantize_biases
from explorer.errors import CandidateError
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import Inputs, take
from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.modules import layer_module
from explorer.graph.trace import trace
from explorer.settings import QuantizerSettings

Importance = Mapping[str, torch.Tensor]
"""For every layer a tensor of its weight's shape, not negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionContext:
    """What every candidate is built from: the canonical float network, its graph, filter order, calibration."""

    model: fx.GraphModule
    graph: ModelGraph
    order: Order
    calibration: Calibration
    importance: Importance | None = None
    """What an error of each weight counts when weights share values; 1 by default."""
    quantizer: QuantizerSettings = field(default_factory=QuantizerSettings)
    orders: Mapping[str, Order] = field(default_factory=dict)
    """Filter orders of other criteria by name, for the candidates that ask for one."""
    step_units: Mapping[str, float] | None = None
    """For every layer what its step is divided by: the root of what a squared error of each of its weights counts."""
    images: Inputs | None = None
    """Those that the network was calibrated on, where these are more than `calibration.images`."""
    whole: CompressionContext | None = None
    """That of the network with all its blocks, where this is one without some of them."""
    memory: StaticMemory = field(default_factory=StaticMemory, repr=False, compare=False)
    """What `static` remembers, together with that of all contexts that are made of this one, within one limit."""
    _shortened: dict[tuple[str, ...], CompressionContext] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )
    _of_search: list[CompressionContext] = field(init=False, default_factory=list, repr=False, compare=False)
    static: StaticCodes = field(init=False, repr=False, compare=False)
    """Codes that are known without a pass of the candidate's network; those of this very network and settings."""

    @classmethod
    def of(
        cls,
        model: nn.Module,
        images: Inputs,
        order: Order | None = None,
        *,
        graph: ModelGraph | None = None,
        quantizer: QuantizerSettings | None = None,
        importance: Importance | None = None,
        orders: Mapping[str, Order] | None = None,
        step_units: Mapping[str, float] | None = None,
    ) -> CompressionContext:
        """Canonicalise, trace and calibrate a trained network on images, a tensor or one for each input.

        With `graph`, `model` is canonical already. The order of filters is that of their magnitudes unless it is
        given. The model itself stays as it is.
        """
        quantizer = quantizer or QuantizerSettings()
        example = take(images, slice(EXAMPLES))
        canonical = model if graph is not None and isinstance(model, fx.GraphModule) else canonicalise(model, example)
        graph = trace(canonical, example) if graph is None else graph
        return cls(
            model=canonical,
            graph=graph,
            order=magnitude_order(canonical, graph) if order is None else order,
            calibration=calibrate(canonical, graph, images, quantizer),
            importance=importance,
            quantizer=quantizer,
            orders={} if orders is None else orders,
            step_units=step_units,
            images=images,
        )

    @property
    def reference(self) -> fx.GraphModule:
        """The whole float network, which every candidate is to come close to."""
        return (self.whole or self).model

    def shortened(self, removed: Collection[str]) -> CompressionContext:
        """Return the context of the network without these of its blocks, of which it remembers each.

        Candidates that remove the blocks are planned, priced and built in it.

        Raises:
            CandidateError: A block that the whole network has not, or one that is locked.
        """
        whole = self.whole or self
        names = check_blocks(whole.graph, removed)
        if names == self.graph.removed_blocks:
            return self
        if not names:
            return whole
        if names not in whole._shortened:
            whole._shortened[names] = shorten(whole, names)
        return whole._shortened[names]

    def graph_without(self, removed: Collection[str]) -> ModelGraph:
        """Return the graph of the network without these of its blocks; CandidateError as `shortened`."""
        return self.shortened(removed).graph

    def resolve(self, candidate: Candidate) -> ResolvedCandidate:
        """Return what a candidate comes to in the network without its blocks, by the order of filters that it names.

        Raises:
            CandidateError: When it does not fit the network, or its criterion's order is not known.
        """
        own = self.shortened(candidate.removed_blocks)
        return resolve(own.graph, candidate, own.order_by(candidate.filters_by))

    def order_by(self, criterion: str | None) -> Order:
        """Return the order of filters by a criterion; None stands for the study's own.

        Raises:
            CandidateError: When it is not known.
        """
        if criterion is not None and criterion not in self.orders:
            raise CandidateError(
                f"candidate: filters_by: no order of filters by {criterion!r} is known; known are "
                f"{', '.join(self.orders) or 'none'}: name the criterion in space.filter_criteria"
            )
        return self.order if criterion is None else self.orders[criterion]

    def step(self, choice: LayerChoice) -> float | None:
        """Return the step of a layer in the units of its weights; None where the choice has none.

        Raises:
            CandidateError: When the relevance that steps are taken by is not known.
        """
        if choice.step is None:
            return None
        if self.quantizer.power_of_two:
            raise CandidateError(
                f"candidate: layer {choice.layer!r}: step: expected null, as scales are powers of two "
                f"(quantizer.power_of_two), received {choice.step:g}"
            )
        if self.step_units is None:
            raise CandidateError(
                f"candidate: layer {choice.layer!r}: step: expected null, as the relevance of weights that steps are "
                f"taken by is not known, received {choice.step:g}; order the filters by explorer.relevance(net)"
            )
        unit = self.step_units[choice.layer]
        return choice.step / unit if unit > 0 else math.inf

    def __post_init__(self) -> None:
        static = StaticCodes(self.model, self.graph, self.calibration, self.quantizer, self.reference, self.memory)
        object.__setattr__(self, "static", static)

    def for_search(self) -> CompressionContext:
        """Return the context by which a search builds candidates, where those of its front are built otherwise."""
        if self.quantizer.front_compensation is None:
            return self
        if not self._of_search:
            self._of_search.append(replace(self, quantizer=replace(self.quantizer, front_compensation=None)))
        return self._of_search[0]

    def find_static_codes(
        self, layer: Layer, choice: LayerChoice, kept: frozenset[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the codes and scales of a layer as far as they are known without a pass, each found once."""
        return self.static.find(layer, choice, kept, self.step(choice), lambda: self.narrow_importance(layer, kept))

    def narrow_importance(self, layer: Layer, kept: frozenset[int]) -> torch.Tensor | None:
        """Return the importance of the weights that are left of a layer; None where all count the same."""
        values = None if self.importance is None else self.importance.get(layer.name)
        return None if values is None else narrow_weight(values.float(), layer, kept)


def apply(context: CompressionContext, candidate: Candidate) -> fx.GraphModule:
    """Return a compressed copy of the network in evaluation mode.

    Filters are removed, weights pruned, shared and quantised, activations quantised, batch norms recalibrated and
    folded, in this order. Each convolution and linear module of the result carries the buffers `weight_codes` (int8,
    shape of the weight) and `weight_scale` (float32, one per output channel) with weight = codes * scale, and
    `bias_codes` (int32) where it has a bias.

    Raises:
        CandidateError: When the candidate does not fit the network.
    """
    context = context.shortened(candidate.removed_blocks)
    model, choices = compressed_copy(context, candidate), context.resolve(candidate).choices
    return finish(model, choices, context.quantizer)


def compressed_copy(context: CompressionContext, candidate: Candidate) -> fx.GraphModule:
    """Return the network of `apply` with its batch norms, corrected, still in it: what fine-tuning starts from.

    Raises:
        CandidateError: When the candidate does not fit the network.
    """
    context = context.shortened(candidate.removed_blocks)
    resolved = context.resolve(candidate)
    try:
        return _compressed_copy(context, resolved, integer=True)
    except NotFiniteError:  # which float numbers can hold
        return _compressed_copy(context, resolved, integer=False)


def _compressed_copy(context: CompressionContext, resolved: ResolvedCandidate, *, integer: bool) -> fx.GraphModule:
    model = without_filters(context, resolved.kept)
    compress_layers(model, context, resolved)
    insert_quantizers(model, context.graph, context.calibration, resolved)
    model.to(context.calibration.torch_device)
    correct_copy(model, context, resolved, integer=integer)
    return model


def finish(model: fx.GraphModule, choices: Mapping[str, LayerChoice], settings: QuantizerSettings) -> fx.GraphModule:
    """Fold the batch norms of a compressed network, in place, and quantise its biases.

    Scales at steps get few bits, and where the settings ask for it all get one.
    """
    stepped = {name for name, choice in choices.items() if choice.step is not None}
    fold_norms(model, stepped, settings)
    quantize_biases(model, stepped, settings)
    return model.eval()


def without_filters(context: CompressionContext, kept: frozenset[int]) -> fx.GraphModule:
    """Return a float copy of the network with the channel classes that are kept."""
    model = copy_network(context.model)
    remove_filters(model, context.graph, kept)
    return model


def compress_layers(model: fx.GraphModule, context: CompressionContext, resolved: ResolvedCandidate) -> None:
    """Prune, share and quantise, in place, the weights of a copy whose filters are removed.

    Layers that `correct_copy` solves for keep their float weights.
    """
    later = context.static.solvable if context.quantizer.fitting == "propagated" else frozenset()
    for layer in context.graph.layers:
        if layer.name not in later:
            module, choice = layer_module(model, layer.name), resolved.choices[layer.name]
            attach_codes(module, *context.find_static_codes(layer, choice, resolved.kept))
