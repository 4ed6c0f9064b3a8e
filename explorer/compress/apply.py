"""Build the network that a candidate describes: a compressed copy, never the user's model."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import fx, nn

from explorer.compress.activations import insert_quantizers
from explorer.compress.calibrate import Calibration
from explorer.compress.candidate import Candidate, check
from explorer.compress.norms import fold_norms, recalibrate_norms
from explorer.compress.prune import Order, kept_classes_of, kept_positions, remove_filters
from explorer.compress.weights import compress_weights, quantize_biases
from explorer.graph.layers import ModelGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What every candidate is built from: the canonical float network, its graph, filter order, calibration."""

    model: fx.GraphModule
    graph: ModelGraph
    order: Order
    calibration: Calibration


def apply(basis: Basis, candidate: Candidate) -> fx.GraphModule:
    """Return a compressed copy of the network in evaluation mode.

    Filters are removed, weights pruned, shared and quantised, activations quantised, batch norms recalibrated
    and folded, in this order. Each convolution and linear module of the result carries the buffers
    `weight_codes` (int8, shape of the weight) and `weight_scale` (float32, one per output channel) with
    weight = codes * scale, and `bias_codes` (int32) where it has a bias. Raises CandidateError when the
    candidate does not fit the network.
    """
    check(candidate, basis.graph)
    model = _copy(basis.model)
    kept = kept_classes_of(basis.graph, candidate, basis.order)
    remove_filters(model, basis.graph, kept)
    for layer in basis.graph.layers:
        compress_weights(_layer_module(model, layer.name), candidate.choice(layer.name))
    insert_quantizers(model, basis.graph, basis.calibration, candidate)
    model.to(basis.calibration.images.device)
    recalibrate_norms(model, basis.calibration, kept_positions(basis.graph, kept))
    fold_norms(model)
    quantize_biases(model)
    return model.eval()


def _copy(model: fx.GraphModule) -> fx.GraphModule:
    copied = copy.deepcopy(model)
    for before, after in zip(model.graph.nodes, copied.graph.nodes, strict=True):
        after.meta = dict(before.meta)
    return copied


def _layer_module(model: fx.GraphModule, name: str) -> nn.Conv2d | nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module
