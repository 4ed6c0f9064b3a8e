"""What candidates of one network cost in sum, each priced by what it differs in from the candidate before."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import count_channels, count_kept_classes, derive_stored_bits, plan_layer, plan_operation
from explorer.evaluate import hardware
from explorer.graph.layers import Layer, ModelGraph, Operation
from explorer.settings.records import get_rules
from hwmodels import (
    ENERGY_COMPONENTS,
    Accelerator,
    LayerError,
    LayerJob,
    Memory,
    NetworkCost,
    evaluate,
    peak_alive,
    stack,
)

if TYPE_CHECKING:
    from explorer.evaluate.weight_entropy import WeightEntropies

REMEMBERED = 4096
"""Sets of widths of activations whose consequences are remembered."""
_decisions = attrgetter(*get_rules(LayerChoice))
_MACS, _CYCLES, _BYTES, _HELD = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The sums of `hwmodels.NetworkCost`, and nothing of its layers."""

    energy_uj: float
    energy_pj_by_component: Mapping[str, float]
    latency_ms: float
    latency_cycles: int
    weight_bytes: int
    peak_activation_bytes: int
    macs: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all parts of a candidate follow from: choices by owner, classes kept by group, widths of activations."""

    choices: tuple[LayerChoice, ...]
    filter_keep_ratio: tuple[tuple[str, float], ...]
    filters_by: str | None
    kept: tuple[int, ...]
    bits: Mapping[str, int]


class Pricing:
    """Prices the candidates of a network on an accelerator; every figure is the very one of `hardware.cost`.

    Between two candidates only the layers, operations and activations are looked at whose choice, channels or widths
    differ, and what such a part costs is remembered by its shape and its choices. That is exact since a part costs
    the same in any network; where weights overflow a memory, and so slow each other down, the network is priced whole.
    With `entropies`, for a device that reads weights coded by theirs, a layer's is one of its choices.
    """

    def __init__(self, graph: ModelGraph, accelerator: Accelerator, entropies: WeightEntropies | None = None) -> None:
        self.graph, self.accelerator, self.entropies = graph, accelerator, entropies
        self._parts = hardware.list_parts(graph)
        self._fused = hardware.find_fusible(graph)
        self._kinds = [_kind(part, part.name in self._fused) for part in self._parts]
        self._touched = _Touched(graph, self._parts)
        self._figures: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._widths: dict[tuple[int, ...], Mapping[str, int]] = {}
        self._before: _Plan | None = None
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
            energy_uj=energy_pj * 1e-6,
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

    def _plan(self, candidate: Candidate, before: _Plan | None) -> _Plan:
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
        return _Plan(choices, candidate.filter_keep_ratio, candidate.filters_by, kept, self._widths[widths])

    def _update(self, planned: _Plan, before: _Plan | None) -> None:
        """Put in the figures of all parts, and the sizes of all activations, that differ from those before."""
        parts, activations = self._touched.between(planned, before)
        keys = {index: self._key(index, planned) for index in parts}
        missing = {key: index for index, key in keys.items() if key not in self._figures}
        if missing:
            figures = _figures([self._job(key, index, planned) for key, index in missing.items()], self.accelerator)
            self._figures.update(zip(missing, figures, strict=True))
        for index, key in keys.items():
            self._real[:, index], self._whole[:, index] = self._figures[key]
        for index in activations:
            stored = self.graph.activations[index]
            elements = count_channels(stored.channels, planned.kept) * stored.size[0] * stored.size[1]
            self._sizes[index] = -(-elements * planned.bits[stored.name] // 8)
        if activations:
            self._peak = peak_alive(self._sizes, *self._alive)

    def _key(self, index: int, planned: _Plan) -> tuple[Any, ...]:
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

    def _job(self, key: tuple[Any, ...], index: int, planned: _Plan) -> LayerJob:
        part = self._parts[index]
        if isinstance(part, Layer):
            choice = planned.choices[self._touched.owner[part.chosen_by]]
            return hardware.build_layer_job(part, plan_layer(part, choice, planned.kept, planned.bits), key[-1])
        built = plan_operation(part, planned.kept, planned.bits)
        return hardware.build_operation_job(part, built, part.name in self._fused)


class _Touched:
    """Which parts and activations, by their positions, a change of a choice, a group or a width touches."""

    def __init__(self, graph: ModelGraph, parts: tuple[Layer | Operation, ...]) -> None:
        self.owners = list(graph.weight_owners)
        self.owner = {name: index for index, name in enumerate(self.owners)}
        self._by_owner: defaultdict[int, list[int]] = defaultdict(list)
        self._by_width: defaultdict[str, list[int]] = defaultdict(list)
        self._by_group: defaultdict[int, list[int]] = defaultdict(list)
        self._stored_by_group: defaultdict[int, list[int]] = defaultdict(list)
        self._stored = {stored.name: index for index, stored in enumerate(graph.activations)}
        self._parts = range(len(parts))
        for index, part in enumerate(parts):
            if isinstance(part, Layer):
                self._by_owner[self.owner[part.chosen_by]].append(index)
            shares = (*part.reads, *part.produces) if isinstance(part, Layer) else part.channels
            for group, _ in shares:
                self._by_group[group].append(index)
            for name in (part.target, *((part.source,) if isinstance(part, Layer) else part.sources)):
                self._by_width[name].append(index)
        for index, stored in enumerate(graph.activations):
            for group, _ in stored.channels:
                self._stored_by_group[group].append(index)

    def between(self, planned: _Plan, before: _Plan | None) -> tuple[Iterable[int], Iterable[int]]:
        """Return positions of the parts and of the activations that may differ; all where there is nothing before."""
        if before is None or planned.filters_by != before.filters_by:  # other filters may have another entropy
            return self._parts, self._stored.values()
        chosen = _differing(planned.choices, before.choices)
        groups = [] if planned.kept is before.kept else _differing(planned.kept, before.kept)
        widths: list[str] = []
        if planned.bits is not before.bits:
            widths = [name for name, bits in planned.bits.items() if bits != before.bits[name]]
        parts = {index for owner in chosen for index in self._by_owner[owner]}
        parts.update(index for group in groups for index in self._by_group[group])
        parts.update(index for name in widths for index in self._by_width[name])
        stored = {index for group in groups for index in self._stored_by_group[group]}
        stored.update(self._stored[name] for name in widths)
        return parts, stored


def _differing(values: tuple[Any, ...], before: tuple[Any, ...]) -> list[int]:
    pairs = enumerate(zip(values, before, strict=True))
    return [index for index, (new, old) in pairs if new is not old and new != old]


def _kind(part: Layer | Operation, fused: bool) -> Layer | Operation | tuple[Operation, bool]:
    """Return a part without what its cost does not depend on: equal ones cost the same at equal choices."""
    if isinstance(part, Layer):
        shared = "elsewhere" if part.shares_weights else ""
        nothing: Any = {"output_classes": (), "input_classes": (), "produces": (), "reads": ()}
        return replace(part, name="", step=0, source="", target="", shares_weights=shared, **nothing)
    return replace(part, name="", step=0, sources=(), target="", channels=()), fused


def _figures(jobs: list[LayerJob], accelerator: Accelerator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the energies and the whole numbers of each job, in the order of the tables' rows."""
    arrays = stack([[job] for job in jobs])
    costs = evaluate(arrays, accelerator)
    held = costs.terms.dram.weight_bits * arrays.stores_weights // costs.terms.dram.weight_passes
    real = np.array([*costs.energy_pj_by_component().values(), costs.energy_pj])
    whole = np.array([costs.macs, costs.latency_cycles, costs.weight_bytes, held[:, 0]])
    return list(zip(real.T, whole.T, strict=True))


def _overflows(memory: Memory) -> int:
    """Return the bits of weights from which on they slow each other down in this memory; 0 where they never do."""
    return memory.size_bytes * 8 if memory.overflow_bandwidth_bits_per_s and "weights" in memory.operands else 0


def _summed(cost: NetworkCost) -> Price:
    return Price(
        energy_uj=cost.energy_uj,
        energy_pj_by_component=cost.energy_pj_by_component,
        latency_ms=cost.latency_ms,
        latency_cycles=cost.latency_cycles,
        weight_bytes=cost.weight_bytes,
        peak_activation_bytes=cost.peak_activation_bytes,
        macs=cost.macs,
    )
