"""The design space of one network: its axes, and the way between their values and a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from explorer.compress.candidate import Candidate, Granularity, LayerChoice, levels
from explorer.errors import SearchError
from explorer.graph.layers import ModelGraph
from explorer.settings import SpaceSettings
from explorer.settings.pattern import pattern_density

Value = int | float | str | None
Kind = Literal[
    "activation_bits", "codebook_size", "filters_by", "filter_keep_ratio", "weight_density", "pattern", "weight_bits"
]
_KINDS: tuple[Kind, ...] = get_args(Kind)
NETWORK = "network"
"""What an axis is of that decides for all layers and groups at once."""
_SETTING = {"codebook_size": "codebook_sizes", "pattern": "patterns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One decision: what is decided, for which layer, channel group or NETWORK, and the admissible values in order.

    The values of "filters_by" are in no order; None, the study's own criterion, is the first.
    """

    kind: Kind
    of: str
    values: tuple[Value, ...]

    @property
    def name(self) -> str:
        """Name of the axis in the search's storage.

        Optuna draws in the order of the names: the number keeps it whatever a decision comes to be called.
        """
        return f"{_KINDS.index(self.kind)} {self.kind}/{self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """All decisions; a point is one index into the values of every axis."""

    layers: tuple[str, ...]
    axes: tuple[Axis, ...]
    codebook_granularity: Granularity = "layer"

    @property
    def size(self) -> float:
        """Number of points (a float: it soon exceeds what an integer is good for)."""
        product = 1.0
        for axis in self.axes:
            product *= len(axis.values)
        return product

    def candidate(self, point: Mapping[str, int]) -> Candidate:
        """The candidate at a point {axis name: index}.

        A codebook that could not share anything, since the chosen width has no more values, becomes none, so
        that one network has one digest; and 1-bit weights, which cannot be 0, are not pruned.
        """
        chosen: dict[str, dict[str, Value]] = {layer: {} for layer in self.layers}
        filter_keep_ratio: list[tuple[str, float]] = []
        filters_by: Value = None
        for axis in self.axes:
            value = axis.values[point[axis.name]]
            if axis.kind == "filters_by":
                filters_by = value
            elif axis.kind == "filter_keep_ratio":
                filter_keep_ratio.append((axis.of, float(value or 0.0)))
            else:
                chosen[axis.of][axis.kind] = value
        return Candidate(
            layers=tuple(_choice(layer, values, self.codebook_granularity) for layer, values in chosen.items()),
            filter_keep_ratio=tuple(filter_keep_ratio),
            filters_by=None if filters_by is None else str(filters_by),
        )

    def point(self, candidate: Candidate) -> dict[str, int]:
        """The point of a candidate: the nearest admissible value on every axis.

        Where None is not admissible, the largest codebook and the densest pattern are the nearest; nearest to an
        unknown criterion is the study's own.
        """
        indices = {}
        for axis in self.axes:
            if axis.kind == "filters_by":
                wanted: Value = candidate.filters_by if candidate.filters_by in axis.values else None
            elif axis.kind == "filter_keep_ratio":
                wanted = candidate.share(axis.of)
            else:
                wanted = getattr(candidate.choice(axis.of), axis.kind)
            indices[axis.name] = _nearest(axis.values, wanted)
        return indices


def search_space(
    graph: ModelGraph, settings: SpaceSettings, codebook_granularity: Granularity = "layer", method: str | None = None
) -> SearchSpace:
    """The axes that the study's settings give this network; SearchError for settings of an unknown layer.

    `method` is the study's own criterion, by whose order filters are removed unless a candidate names another.
    """
    known = {*graph.weight_owners, *(group.name for group in graph.prunable)}
    unknown = [entry.layer for entry in settings.layers if entry.layer not in known]
    if unknown:
        raise SearchError(
            f"space.layers.{unknown[0]!r}: the network has no such layer or group; it has {', '.join(sorted(known))}"
        )
    axes: list[Axis] = []
    kinds: tuple[Kind, ...] = ("weight_bits", "activation_bits", "weight_density", "codebook_size")
    scales = {layer.name for layer in graph.layers if layer.weights == layer.out_channels}
    for layer in graph.weight_owners:
        own = settings.for_layer(layer)
        of = _values_of_scales if layer in scales else _values
        axes += [Axis(kind=kind, of=layer, values=of(own, kind)) for kind in kinds]
        if own.patterns != (None,):
            axes.append(Axis(kind="pattern", of=layer, values=_values(own, "pattern")))
    axes += [
        Axis(
            kind="filter_keep_ratio", of=group.name, values=_values(settings.for_layer(group.name), "filter_keep_ratio")
        )
        for group in graph.prunable
    ]
    others = tuple(name for name in settings.filter_criteria or () if name != method)
    if others and any(share != 1.0 for axis in axes if axis.kind == "filter_keep_ratio" for share in axis.values):
        axes.append(Axis(kind="filters_by", of=NETWORK, values=(None, *others)))
    return SearchSpace(layers=graph.weight_owners, axes=tuple(axes), codebook_granularity=codebook_granularity)


def _values(settings: SpaceSettings, kind: Kind) -> tuple[Value, ...]:
    """Ascending; no codebook is the first of its axis, no pattern, which is the densest, the last."""
    values: tuple[Value, ...] = getattr(settings, _SETTING.get(kind, kind))
    return tuple(sorted(values, key=lambda value: _size(value, 2.0 if kind == "pattern" else -1.0)))


def _size(value: Value, of_none: float) -> float:
    """A value as a number: of a pattern its density."""
    if value is None:
        return of_none
    return pattern_density(value) if isinstance(value, str) else value


def _values_of_scales(settings: SpaceSettings, kind: Kind) -> tuple[Value, ...]:
    """One value where a filter has one weight: any width holds it exactly, and without it the filter is gone."""
    values = _values(settings, kind)
    if kind == "activation_bits":
        return values
    return (None,) if kind == "codebook_size" else values[-1:] if kind == "weight_density" else values[:1]


def _choice(layer: str, values: Mapping[str, Value], granularity: Granularity) -> LayerChoice:
    bits, size, pattern = int(values["weight_bits"] or 0), values["codebook_size"], values.get("pattern")
    shared = size if isinstance(size, int) and size < levels(bits) else None
    return LayerChoice(
        layer=layer,
        weight_bits=bits,
        activation_bits=int(values["activation_bits"] or 0),
        weight_density=1.0 if bits == 1 else float(values["weight_density"] or 0.0),
        codebook_size=shared,
        codebook_granularity=granularity if shared else "layer",
        pattern=None if pattern is None or bits == 1 else str(pattern),
    )


def _nearest(values: tuple[Value, ...], wanted: Value) -> int:
    if wanted in values:
        return values.index(wanted)
    if wanted is None:
        return len(values) - 1
    target = _size(wanted, 0.0)
    numbers = [(abs(_size(value, 0.0) - target), index) for index, value in enumerate(values) if value is not None]
    return min(numbers)[1] if numbers else 0
