"""What candidates of one network cost in sum, each priced by what it differs in from the candidate before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import count_channels, count_kept_classes, derive_stored_bits, plan_layer, plan_operation
from explorer.evaluate import hardware
from explorer.evaluate.changes import Plan, Touched
from explorer.evaluate.known_entropies import LayerEntropies
from explorer.evaluate.staying import Staying
from explorer.graph.layers import Layer, ModelGraph, Operation
from explorer.settings.records import get_rules
from hwmodels import (
    ENERGY_COMPONENTS,
    Accelerator,
    LayerError,
    LayerJob,
    Memory,
    NetworkCost,
    Residency,
    evaluate,
    peak_alive,
    stack,
)

REMEMBERED = 4096
"""Sets of widths of activations whose consequences are remembered."""
_decisions = attrgetter(*get_rules(LayerChoice))
_MACS, _CYCLES, _BYTES, _HELD = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The sums of `hwmodels.NetworkCost`, and nothing of its layers."""

    energy_pj: float
    energy_pj_by_component: Mapping[str, float]
    latency_ms: float
    latency_cycles: int
    weight_bytes: int
    peak_activation_bytes: int
    macs: int


class Pricing:
    """Prices the candidates of a network on an accelerator; every figure is the very one of `hardware.cost`.

    Between two candidates only the layers, operations and activations are looked at whose choice, channels or widths
    differ, and what such a part costs is remembered by its shape and its choices. That is exact since a part costs
    the same in any network in which the same of its activations stays on chip, which is decided anew where any of them,
    or a tile of weights, differs; where weights overflow a memory, and so slow each other down, the network is priced
    whole.
    With `entropies`, for a device that reads weights coded by theirs, a layer's is one of its choices.
    """

    def __init__(self, graph: ModelGraph, accelerator: Accelerator, entropies: LayerEntropies | None = None) -> None:
        self.graph, self.accelerator, self.entropies = graph, accelerator, entropies
        self._parts = hardware.list_parts(graph)
        self._fused = hardware.find_fusible(graph)
        numbers: dict[Layer | Operation | tuple[Operation, bool], int] = {}
        kinds = [_kind(part, part.name in self._fused) for part in self._parts]
        self._kinds = [numbers.setdefault(kind, len(numbers)) for kind in kinds]
        self._touched = Touched(graph, self._parts)
        self._figures: dict[tuple[Any, ...], _Figures] = {}
        self._keys: list[tuple[Any, ...]] = [()] * len(self._parts)
        self._stays = None if accelerator.map_buffer is None else Staying(graph, accelerator)
        self._widths: dict[tuple[int, ...], Mapping[str, int]] = {}
        self._before: Plan | None = None
        self._uncounted = bool(accelerator.maximum_layers)
        self._real = np.zeros((len(ENERGY_COMPONENTS) + 1, len(self._parts)))
        self._whole = np.zeros((4, len(self._parts)), dtype=np.int64)
        self._sizes = np.zeros(len(graph.activations), dtype=np.int64)
        self._alive = np.array([(item.first_step, item.last_step) for item in graph.activations], dtype=np.int64).T
        self._peak = 0
        self._room = min((size for size in map(_overflows, accelerator.memories) if size), default=math.inf)

    def price(self, candidate: Candidate) -> Price:
        """Return the cost of one inference of the candidate's network.

        Raises:
            CandidateError: Where the candidate chooses nothing for a layer.
            LayerError: Where the device cannot run it.
        """
        before, self._before = self._before, None  # so that a candidate that is refused leaves nothing behind
        if self._uncounted:
            self._price_whole(candidate)  # which counts the layers; they are the same of every candidate
            self._uncounted = False
        planned = self._plan(candidate, before)
        try:
            self._update(planned, before)
        except LayerError:
            self._price_whole(candidate)  # which names the layer
            raise
        self._before = planned
        whole = self._whole.sum(axis=1).tolist()
        if whole[_HELD] > self._room:
            return _summed(self._price_whole(candidate))
        *parts, energy_pj = self._real.sum(axis=1).tolist()
        return Price(
            energy_pj=energy_pj,
            energy_pj_by_component=dict(zip(ENERGY_COMPONENTS, parts, strict=True)),
            latency_ms=whole[_CYCLES] / self.accelerator.clock_hz * 1e3,
            latency_cycles=whole[_CYCLES],
            weight_bytes=whole[_BYTES],
            peak_activation_bytes=self._peak,
            macs=whole[_MACS],
        )

    def _price_whole(self, candidate: Candidate) -> NetworkCost:
        entropies = None if self.entropies is None else self.entropies.of_candidate(candidate)
        return hardware.cost(self.graph, candidate, self.accelerator, entropies)

    def _plan(self, candidate: Candidate, before: Plan | None) -> Plan:
        choices = candidate.layers
        if [choice.layer for choice in choices] != self._touched.owners:
            choices = candidate.choices(self._touched.owners)
        same = before is not None and candidate.filter_keep_ratio == before.filter_keep_ratio
        kept = before.kept if before is not None and same else count_kept_classes(self.graph, candidate)
        widths = tuple([choice.activation_bits for choice in choices])
        if widths not in self._widths:
            if len(self._widths) >= REMEMBERED:
                self._widths.clear()
            by_layer = {layer.name: choices[self._touched.owner[layer.chosen_by]] for layer in self.graph.layers}
            self._widths[widths] = derive_stored_bits(self.graph, by_layer)
        return Plan(choices, candidate.filter_keep_ratio, candidate.filters_by, kept, self._widths[widths])

    def _update(self, planned: Plan, before: Plan | None) -> None:
        """Put in the figures of all parts, and the sizes of all activations, that differ from those before."""
        parts, activations = self._touched.between(planned, before)
        for index in parts:
            self._keys[index] = self._key(index, planned)
        for index in activations:
            stored = self.graph.activations[index]
            elements = count_channels(stored.channels, planned.kept) * stored.size[0] * stored.size[1]
            bits = self.accelerator.contain(planned.bits[stored.name], "activations")
            self._sizes[index] = -(-elements * bits // 8)
            if self._stays is not None:
                self._stays.sizes[index] = elements * self._stays.held[bits]
        if activations:
            self._peak = peak_alive(self._sizes, *self._alive)
        self._put(parts, planned)
        if self._stays is not None and (parts or activations):
            self._put(self._stays.decide(), planned)

    def _put(self, parts: Iterable[int], planned: Plan) -> None:
        """Put in the figures of parts, given what stays of what they read and write."""
        stays = self._stays
        keys = {
            index: self._keys[index] if stays is None else (self._keys[index], stays.codes[index]) for index in parts
        }
        missing = {key: index for index, key in keys.items() if key not in self._figures}
        if missing:
            jobs = [self._job(self._keys[index], index, planned) for index in missing.values()]
            residency = None if stays is None else stays.residency(list(missing.values()))
            self._figures.update(zip(missing, _list_figures(jobs, self.accelerator, residency), strict=True))
        for index, key in keys.items():
            found = self._figures[key]
            self._real[:, index], self._whole[:, index] = found.real, found.whole
            if stays is not None:
                stays.room[:, index] = found.room

    def _key(self, index: int, planned: Plan) -> tuple[Any, ...]:
        """Return all that a part's cost depends on."""
        part, kept, bits = self._parts[index], planned.kept, planned.bits
        if isinstance(part, Layer):
            channels = (count_channels(part.reads, kept), count_channels(part.produces, kept))
            choice = planned.choices[self._touched.owner[part.chosen_by]]
            entropy = (
                None if self.entropies is None else self.entropies.of_layer(part, choice, kept, planned.filters_by)
            )
            return (self._kinds[index], _decisions(choice), channels, bits[part.source], bits[part.target], entropy)
        return (
            self._kinds[index],
            count_channels(part.channels, kept),
            max(bits[name] for name in part.sources),
            bits[part.target],
        )

    def _job(self, key: tuple[Any, ...], index: int, planned: Plan) -> LayerJob:
        part = self._parts[index]
        if isinstance(part, Layer):
            choice = planned.choices[self._touched.owner[part.chosen_by]]
            return hardware.build_layer_job(part, plan_layer(part, choice, planned.kept, planned.bits), key[-1])
        built = plan_operation(part, planned.kept, planned.bits)
        return hardware.build_operation_job(part, built, part.name in self._fused)


class _Figures(NamedTuple):
    """What a part costs."""

    real: np.ndarray
    """Energies, in the order of the tables' rows."""
    whole: np.ndarray
    room: np.ndarray
    """What it needs of the buffer that keeps activations: tile, all weights, lines, in bits."""


def _kind(part: Layer | Operation, fused: bool) -> Layer | Operation | tuple[Operation, bool]:
    """Return a part without what its cost does not depend on: equal ones cost the same at equal choices."""
    if isinstance(part, Layer):
        shared = "elsewhere" if part.shares_weights else ""
        nothing: Any = {"output_classes": (), "input_classes": (), "produces": (), "reads": ()}
        return replace(part, name="", step=0, source="", target="", shares_weights=shared, **nothing)
    return replace(part, name="", step=0, sources=(), target="", channels=()), fused


def _list_figures(jobs: list[LayerJob], accelerator: Accelerator, residency: Residency | None) -> list[_Figures]:
    """Return what each job costs."""
    arrays = stack([[job] for job in jobs])
    costs = evaluate(arrays, accelerator, residency=residency)
    held = costs.terms.dram.weight_bits * arrays.stores_weights // costs.terms.dram.weight_passes
    real = np.array([*costs.energy_pj_by_component().values(), costs.energy_pj])
    whole = np.array([costs.macs, costs.latency_cycles, costs.weight_bytes, held[:, 0]])
    found = costs.terms.kept.room
    shape = (3, *arrays.shape)
    room = np.zeros(shape) if found is None else np.array([np.broadcast_to(each, arrays.shape) for each in found[:3]])
    return list(map(_Figures, real.T, whole.T, room[:, :, 0].T))


def _overflows(memory: Memory) -> int:
    """Return the bits of weights from which on they slow each other down in this memory; 0 where they never do."""
    return memory.size_bytes * 8 if memory.overflow_bandwidth_bits_per_s and "weights" in memory.operands else 0


def _summed(cost: NetworkCost) -> Price:
    return Price(
        energy_pj=cost.energy_pj,
        energy_pj_by_component=cost.energy_pj_by_component,
        latency_ms=cost.latency_ms,
        latency_cycles=cost.latency_cycles,
        weight_bytes=cost.weight_bytes,
        peak_activation_bytes=cost.peak_activation_bytes,
        macs=cost.macs,
    )
