"""What a criterion makes of a network: which filters or weights go, which values are shared, which widths there are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from explorer.comparison.bits import choose_widths
from explorer.comparison.points import Bools, ComparisonCell, Size
from explorer.comparison.sample import ComputeRelevance
from explorer.comparison.steps import build_at_entropy, make_choose_widths, measure_average, with_units
from explorer.compress.apply import CompressionContext, apply, without_filters
from explorer.compress.candidate import uniform
from explorer.compress.cluster import find_nearest, kmeans_1d
from explorer.compress.compensate import compensated_filters
from explorer.compress.correction import correct
from explorer.compress.plan import count_kept, plan
from explorer.compress.prune import find_kept_positions
from explorer.compress.sparsity import mask_largest
from explorer.digests import digest
from explorer.dotted import resolve
from explorer.graph.modules import layer_module
from explorer.relevance.scores import merge_weight_multipliers
from explorer.search.ranking import rank_filters
from explorer.settings.comparison import CASES
from explorer.study.prepare import PreparedStudy
from hwmodels import bitmap_bytes, codebook_bytes, huffman_bytes, measure_relative_index_bytes

FLOAT_BYTES, FLOAT_BITS = 4, 32
GLOBAL = {"global": "none", "global_normalised": "l2"}
"""What scores of a layer are divided by before those of all layers are compared (Molchanov et al., 2017)."""
Floating = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a criterion chose: a digest of it, how to build its network (recalibrated or not), and what that takes."""

    selection: str
    build: Callable[[bool], fx.GraphModule]
    size: Callable[[fx.GraphModule], Size]


def choose(case: str, prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Selection:
    """Return what the criterion of a cell chooses in a case of CASES."""
    choice: Selection = resolve(CASES[case].path)(prepared, cell, compute_relevance)
    return choice


def choose_filters(prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Selection:
    """Remove the share `level` of the filters of every channel group, or of the network, of least relevance."""
    graph, relevance = prepared.context.graph, compute_relevance(cell.criterion, cell.seed)
    scope, normalised = ("layer", "none") if cell.scope == "layer" else ("global", GLOBAL[cell.scope])
    ranking = rank_filters(graph, relevance, cell.level, scope=scope, normalised=normalised)
    context, candidate = replace(prepared.context, order=ranking.order), ranking.candidate
    kept = context.resolve(candidate).kept

    def build(recalibrated: bool) -> fx.GraphModule:
        if recalibrated and context.quantizer.compensation != "none":
            return compensated_filters(context, kept)
        return _finished(without_filters(context, kept), context, kept, recalibrated)

    def size(model: fx.GraphModule) -> Size:
        planned = plan(graph, candidate)
        return Size(
            parameters=_parameters(model),
            weight_bytes=FLOAT_BYTES * planned.weight_bytes,  # of 8-bit widths, a byte for each weight
            coded_bytes=None,
            macs=planned.macs,
        )

    return Selection(selection=_digest({"kept": np.array(sorted(kept))}), build=build, size=size)


def choose_weights(prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Selection:
    """Set the share `level` of the weights of every layer, or of the network, to zero: those of least saliency.

    That is |w| ("magnitude"), |M w| with M the multipliers of a criterion, or the draw of the control ("random").
    """
    context = prepared.context
    saliency = _saliency(context, cell, compute_relevance)
    fixed = _one_weight_each(context)
    masks = _masks({name: values for name, values in saliency.items() if name not in fixed}, cell)
    masks.update({name: np.ones_like(saliency[name], dtype=np.bool_) for name in fixed})
    positions = _positions(context)

    def build(recalibrated: bool) -> fx.GraphModule:
        return _with_weights(context, {n: w * masks[n] for n, w in _weights(context).items()}, recalibrated)

    def size(model: fx.GraphModule) -> Size:
        left = {name: int(mask.sum()) for name, mask in masks.items()}
        gone = sum(mask.size - left[name] for name, mask in masks.items())
        return Size(
            parameters=_parameters(model) - gone,
            weight_bytes=sum(_sparse_bytes(mask) for mask in masks.values()),
            coded_bytes=None,
            macs=sum(left[name] * positions[name] for name in masks),
        )

    return Selection(selection=_digest(masks), build=build, size=size)


def choose_sharing(prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Selection:
    """Let each layer share `level` values, of least error with every weight's square counted as the criterion says.

    It counts 1 ("plain"), the multiplier of a criterion, or |M w| of DeepLIFT ("saliency").
    """
    context, values = prepared.context, int(cell.level)
    weights = _weights(context)
    counts = _counts(prepared, cell, compute_relevance)
    shared, indices = {}, {}
    for name, weight in weights.items():
        flat = weight.astype(np.float64).ravel()
        centroids = kmeans_1d(flat, values, None if counts is None else counts[name].astype(np.float64).ravel())
        indices[name] = find_nearest(flat, centroids)
        shared[name] = centroids[indices[name]].reshape(weight.shape).astype(np.float32)

    def build(recalibrated: bool) -> fx.GraphModule:
        return _with_weights(context, shared, recalibrated)

    def size(model: fx.GraphModule) -> Size:
        tables = [(index.size, np.bincount(index, minlength=values)) for index in indices.values()]
        return Size(
            parameters=_parameters(model),
            weight_bytes=sum(int(codebook_bytes(count, FLOAT_BITS, values)) for count, _ in tables),
            coded_bytes=sum(huffman_bytes(occurs, FLOAT_BITS) for _, occurs in tables),
            macs=context.graph.macs,
        )

    return Selection(selection=_digest(shared), build=build, size=size)


def choose_bits(prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Selection:
    """Give layers widths of `level` bits on average, by the knapsack or by a rule; activations have 8 bits."""
    context = prepared.context
    candidate = choose_widths(prepared, cell, compute_relevance)

    def build(recalibrated: bool) -> fx.GraphModule:
        return apply(context, candidate)

    def size(model: fx.GraphModule) -> Size:
        return Size(
            parameters=_parameters(context.model),
            weight_bytes=plan(context.graph, candidate).weight_bytes,
            coded_bytes=None,
            macs=context.graph.macs,
        )

    return Selection(selection=candidate.digest(), build=build, size=size)


def choose_steps(prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Selection:
    """Give layers steps, by a criterion's multipliers or all the same, that make `level` bits a weight on average.

    With "widths" they get widths by the knapsack over DeepLIFT's estimates, coded at their entropy as steps are.
    """
    context, choose, decided_by = prepared.context, None, ""
    if cell.criterion == "widths":
        relevance = compute_relevance("deeplift", cell.seed)
        choose, decided_by = make_choose_widths(prepared, relevance), relevance.digest()
    else:
        context = with_units(context, cell, compute_relevance)

    def build(recalibrated: bool) -> fx.GraphModule:
        return build_at_entropy(context, cell.level, choose)

    def size(built: fx.GraphModule) -> Size:
        entropy_bytes = math.ceil(measure_average(context, built) * graph_weights / 8)
        return Size(
            parameters=_parameters(context.model), weight_bytes=entropy_bytes, coded_bytes=None, macs=context.graph.macs
        )

    graph_weights = sum(layer.weights for layer in context.graph.layers if layer.chosen_by == layer.name)
    described = json.dumps([cell.level, context.quantizer.rounding, dict(context.step_units or {}), decided_by])
    return Selection(selection=digest(described), build=build, size=size)


def measure_float_size(context: CompressionContext) -> Size:
    """Return what the network takes as it is given, in float32."""
    graph = context.graph
    return Size(
        parameters=_parameters(context.model),
        weight_bytes=FLOAT_BYTES * graph.weights,
        coded_bytes=None,
        macs=graph.macs,
    )


def _finished(
    model: fx.GraphModule, context: CompressionContext, kept: frozenset[int], recalibrated: bool
) -> fx.GraphModule:
    model.to(context.calibration.torch_device).eval()
    if recalibrated:
        correct(model, context.calibration, find_kept_positions(context.graph, kept))
    return model


def _with_weights(context: CompressionContext, weights: Mapping[str, Floating], recalibrated: bool) -> fx.GraphModule:
    """Return a copy of the float network with other weights in all layers."""
    kept = context.resolve(uniform(context.graph)).kept
    model = without_filters(context, kept)
    for name, values in weights.items():
        weight = layer_module(model, name).weight
        weight.data.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
    return _finished(model, context, kept, recalibrated)


def _saliency(
    context: CompressionContext, cell: ComparisonCell, compute_relevance: ComputeRelevance
) -> dict[str, Floating]:
    weights = _weights(context)
    if cell.criterion == "magnitude":
        return {name: np.abs(weight) for name, weight in weights.items()}
    relevance = compute_relevance(cell.criterion, cell.seed)
    multipliers = {name: merge_weight_multipliers(context.graph, relevance, name) for name in weights}
    if cell.criterion == "random":  # times |w| it would not be chance alone
        return multipliers
    return {name: np.abs(weight * multipliers[name]) for name, weight in weights.items()}


def _masks(saliency: Mapping[str, Floating], cell: ComparisonCell) -> dict[str, Bools]:
    """Return True for what stays; ties go by layer and position, and one weight of every layer stays."""
    if cell.scope == "layer":
        return {name: _largest(values, 1.0 - cell.level) for name, values in saliency.items()}
    together = _largest(np.concatenate([values.ravel() for values in saliency.values()]), 1.0 - cell.level)
    ends = np.cumsum([values.size for values in saliency.values()])[:-1]
    parts = zip(saliency.items(), np.split(together, ends), strict=True)
    return {name: _one_at_least(part, values).reshape(values.shape) for (name, values), part in parts}


def _one_at_least(mask: Bools, values: Floating) -> Bools:
    if not mask.any():
        mask[values.argmax()] = True
    return mask


def _largest(values: Floating, ratio: float) -> Bools:
    return mask_largest(torch.from_numpy(values), count_kept(ratio, values.size)).numpy()


def _counts(
    prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance
) -> dict[str, Floating] | None:
    if cell.criterion == "plain":
        return None
    context = prepared.context
    if cell.criterion != "saliency":
        relevance = compute_relevance(cell.criterion, cell.seed)
        return {name: merge_weight_multipliers(context.graph, relevance, name) for name in context.graph.weight_owners}
    relevance = compute_relevance("deeplift", cell.seed)
    return {
        name: np.abs(weight * merge_weight_multipliers(context.graph, relevance, name))
        for name, weight in _weights(context).items()
    }


def _weights(context: CompressionContext) -> dict[str, Floating]:
    return {
        name: layer_module(context.model, name).weight.detach().cpu().numpy() for name in context.graph.weight_owners
    }


def _one_weight_each(context: CompressionContext) -> frozenset[str]:
    """Return layers of one weight for each channel, which scale channels: without it a channel would be gone."""
    return frozenset(layer.name for layer in context.graph.layers if layer.weights == layer.out_channels)


def _positions(context: CompressionContext) -> dict[str, int]:
    """Return how often each layer with weights is multiplied for an image, over all calls."""
    found = dict.fromkeys(context.graph.weight_owners, 0)
    for layer in context.graph.layers:
        found[layer.chosen_by] += layer.macs // layer.weights
    return found


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _sparse_bytes(mask: Bools) -> int:
    """Return bytes of float32 weights: of all, a bitmap with the others, or runs of zeros (Han et al., 2016)."""
    left = int(mask.sum())
    runs = measure_relative_index_bytes(mask, FLOAT_BITS)
    return min(FLOAT_BYTES * mask.size, int(bitmap_bytes(mask.size, left, FLOAT_BITS)), runs)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return digest of arrays in the order of their names."""
    return digest(*(part for name in sorted(arrays) for part in (name, arrays[name])))
