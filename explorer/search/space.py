"""The design space of one network: its axes, and the way between their values and a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from explorer.compress.candidate import Candidate, LayerChoice, levels
from explorer.errors import SearchError
from explorer.graph.layers import ModelGraph
from explorer.settings import SpaceSettings

Value = int | float | None
Kind = Literal["weight_bits", "activation_bits", "kept_weights", "codebook_size", "kept_filters"]
_SETTING = {"codebook_size": "codebook_sizes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One decision: what is decided, for which layer (or channel group), and the admissible values in order."""

    kind: Kind
    of: str
    values: tuple[Value, ...]

    @property
    def name(self) -> str:
        """Name of the axis in the search's storage."""
        return f"{self.kind}/{self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """All decisions; a point is one index into the values of every axis."""

    layers: tuple[str, ...]
    axes: tuple[Axis, ...]

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
        that one network has one digest.
        """
        chosen: dict[str, dict[str, Value]] = {layer: {} for layer in self.layers}
        kept_filters: list[tuple[str, float]] = []
        for axis in self.axes:
            value = axis.values[point[axis.name]]
            if axis.kind == "kept_filters":
                kept_filters.append((axis.of, float(value or 0.0)))
            else:
                chosen[axis.of][axis.kind] = value
        return Candidate(
            layers=tuple(_choice(layer, values) for layer, values in chosen.items()),
            kept_filters=tuple(kept_filters),
        )

    def point(self, candidate: Candidate) -> dict[str, int]:
        """The point of a candidate: the nearest admissible value on every axis.

        None is the first value of its axis; where it is not admissible, the largest codebook is the nearest.
        """
        indices = {}
        for axis in self.axes:
            if axis.kind == "kept_filters":
                wanted: Value = candidate.share(axis.of)
            else:
                wanted = getattr(candidate.choice(axis.of), axis.kind)
            indices[axis.name] = _nearest(axis.values, wanted)
        return indices


def search_space(graph: ModelGraph, settings: SpaceSettings) -> SearchSpace:
    """The axes that the study's settings give this network; SearchError for settings of an unknown layer."""
    known = {*graph.layer_names, *(group.name for group in graph.prunable)}
    unknown = [entry.layer for entry in settings.layers if entry.layer not in known]
    if unknown:
        raise SearchError(
            f"space.layers.{unknown[0]!r}: the network has no such layer or group; it has {', '.join(sorted(known))}"
        )
    axes: list[Axis] = []
    kinds: tuple[Kind, ...] = ("weight_bits", "activation_bits", "kept_weights", "codebook_size")
    for layer in graph.layer_names:
        own = settings.for_layer(layer)
        axes += [Axis(kind=kind, of=layer, values=_values(own, kind)) for kind in kinds]
    axes += [
        Axis(kind="kept_filters", of=group.name, values=_values(settings.for_layer(group.name), "kept_filters"))
        for group in graph.prunable
    ]
    return SearchSpace(layers=graph.layer_names, axes=tuple(axes))


def _values(settings: SpaceSettings, kind: Kind) -> tuple[Value, ...]:
    values: tuple[Value, ...] = getattr(settings, _SETTING.get(kind, kind))
    return tuple(sorted(values, key=lambda value: -1 if value is None else value))


def _choice(layer: str, values: Mapping[str, Value]) -> LayerChoice:
    bits, size = int(values["weight_bits"] or 0), values["codebook_size"]
    shares = size is not None and size < levels(bits)
    return LayerChoice(
        layer=layer,
        weight_bits=bits,
        activation_bits=int(values["activation_bits"] or 0),
        kept_weights=float(values["kept_weights"] or 0.0),
        codebook_size=int(size) if shares and size is not None else None,
    )


def _nearest(values: tuple[Value, ...], wanted: Value) -> int:
    if wanted in values:
        return values.index(wanted)
    if wanted is None:
        return len(values) - 1
    numbers = [(abs(value - wanted), index) for index, value in enumerate(values) if value is not None]
    return min(numbers)[1] if numbers else 0
