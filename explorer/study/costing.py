"""From the hardware models' figures to the cost that a run stores, budgets and reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import LayerPlan, OperationPlan, collect_choices, plan
from explorer.evaluate import hardware
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.pricing import Price
from explorer.graph.layers import Layer, ModelGraph
from explorer.objectives import SCORE, every_cost, score_named
from explorer.settings import BudgetSettings
from explorer.study.record import Cost, LayerSummary
from hwmodels import Accelerator, LayerCost, NetworkCost


def candidate_cost(
    graph: ModelGraph, candidate: Candidate, accelerator: Accelerator, entropies: hardware.Entropies | None = None
) -> Cost:
    """Return what a candidate costs, layer by layer, with what is to be said of it.

    `entropies` are those of its layers, for a device that reads weights coded by them.
    """
    cost = hardware.cost(graph, candidate, accelerator, entropies)
    rows = _rows(graph, candidate, cost, accelerator)
    return replace(summed_cost(graph, cost), layers=rows, notes=(*cost.notes, *_kept_in_float(graph)), fits=cost.fits)


def summed_cost(graph: ModelGraph, cost: Price | NetworkCost) -> Cost:
    """Return the sums alone, with what stays in float."""
    return Cost(
        energy_uj=cost.energy_pj * 1e-6,
        latency_ms=cost.latency_ms,
        latency_cycles=cost.latency_cycles,
        weight_bytes=cost.weight_bytes + hardware.count_kept_float_bytes(graph),
        activation_bytes=cost.peak_activation_bytes,
        macs=cost.macs,
        energy_uj_by_component={name: pj * 1e-6 for name, pj in cost.energy_pj_by_component.items() if pj},
        layers=(),
        notes=(),
    )


def _kept_in_float(graph: ModelGraph) -> tuple[str, ...]:
    kept = hardware.count_kept_float_bytes(graph)
    text = "bytes of weights and constants stay in float32: they count as weight memory, not in energy, latency or fits"
    return (f"{kept:,} {text}",) if kept else ()


def float_cost(graph: ModelGraph, accelerator: Accelerator) -> Cost:
    """Return what is known of the float32 network: its memory. No device here computes in floating point."""
    return Cost(
        energy_uj=None,
        latency_ms=None,
        latency_cycles=None,
        weight_bytes=hardware.count_float_weight_bytes(graph),
        activation_bytes=hardware.count_float_activation_bytes(graph),
        macs=graph.macs,
        energy_uj_by_component={},
        layers=(),
        notes=(f"{accelerator.title} has no floating-point units: energy and latency do not exist",),
    )


def cost_excesses(cost: Cost, budgets: BudgetSettings) -> tuple[tuple[str, float], ...]:
    """Return (budget key, cost / limit - 1) for every cost that is limited; above 0 is over budget."""
    limits = ((objective, budgets.limit(objective)) for objective in every_cost())
    found = ((objective.key, objective.value(cost, 0.0), limit) for objective, limit in limits if limit is not None)
    return tuple((key, value / limit - 1.0) for key, value, limit in found if not math.isnan(value))


def score_excess(score: float, budgets: BudgetSettings, objectives: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return (budget key, limit - score) where the score is limited; above 0 is too little."""
    limit = budgets.limit(SCORE)
    return () if limit is None else ((score_named(objectives).key, limit - score),)


def list_violations(
    cost: Cost, score: MeanScore | None, budgets: BudgetSettings, objectives: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    """Return (budget key, excess) for each limit that is not kept; that of a score that is not known is."""
    excesses = cost_excesses(cost, budgets)
    if score is not None:
        excesses += score_excess(score.value, budgets, objectives)
    return tuple((key, excess) for key, excess in excesses if excess > 0)


def _rows(
    graph: ModelGraph, candidate: Candidate, cost: NetworkCost, accelerator: Accelerator
) -> tuple[LayerSummary, ...]:
    planned, choices = plan(graph, candidate), collect_choices(graph, candidate)
    layers = {layer.name: (layer, built) for layer, built in zip(graph.layers, planned.layers, strict=True)}
    operations = {built.name: built for built in planned.operations}
    return tuple(
        _layer_row(*layers[spent.name], choices[spent.name], spent)
        if spent.name in layers
        else _operation_row(operations[spent.name], spent, accelerator)
        for spent in cost.layers
    )


def _layer_row(layer: Layer, built: LayerPlan, choice: LayerChoice, spent: LayerCost) -> LayerSummary:
    return LayerSummary(
        layer=layer.name,
        kind=_kind(layer),
        weight_bits=built.weight_bits,
        activation_bits=built.input_bits,
        filters=built.out_channels,
        filters_of=layer.out_channels,
        weight_density=choice.weight_density
        if choice.pattern is None
        else built.num_nonzero_weights / built.num_weights,
        codebook_size=built.codebook_size,
        macs=spent.macs,
        energy_uj=spent.energy_pj * 1e-6,
        latency_cycles=spent.latency_cycles,
        weight_bytes=spent.weight_bytes,
        weight_format=spent.weight_format,
        bound=spent.bound,
        memory_bits=_memory_bits(spent),
        step=choice.step,
    )


def _kind(layer: Layer) -> str:
    if layer.transposed:
        return "transposed conv"
    return "depthwise conv" if layer.depthwise else layer.kind


def _operation_row(built: OperationPlan, spent: LayerCost, accelerator: Accelerator) -> LayerSummary:
    return LayerSummary(
        layer=built.name,
        kind=spent.kind,
        activation_bits=built.input_bits,
        macs=spent.macs,
        vector_operations=spent.vector_operations,
        energy_uj=spent.energy_pj * 1e-6,
        latency_cycles=spent.latency_cycles,
        weight_bytes=spent.weight_bytes,
        bound="fused" if spent.kind in accelerator.vector.fused else spent.bound,
        memory_bits=_memory_bits(spent),
    )


def _memory_bits(spent: LayerCost) -> int:
    return int(spent.dram_weight_bits + spent.dram_input_bits + spent.dram_output_bits)
