"""The design space of one network: its axes, and the way between their values and a candidate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.compress.candidate import Candidate, Granularity, LayerChoice, canonicalise_choice
from explorer.errors import SearchError
from explorer.graph.layers import ModelGraph
from explorer.search.axes import (
    FILTER_KEEP_RATIO,
    FILTERS_BY,
    LAYER_KNOBS,
    NETWORK,
    REMOVED_BLOCKS,
    STEP_OFFSET,
    STEPS,
    WEIGHT_BITS,
    WEIGHT_KNOBS,
    Axis,
    Knob,
    T,
)
from explorer.settings import SpaceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A network without some of its blocks: what there is left to choose for."""

    removed_blocks: tuple[str, ...]
    layers: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, graph: ModelGraph) -> Depth:
        """Return the depth of a network."""
        groups = frozenset(group.name for group in graph.prunable)
        return cls(removed_blocks=graph.removed_blocks, layers=frozenset(graph.weight_owners), groups=groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """All decisions; a point is one index into the values of every axis."""

    layers: tuple[str, ...]
    axes: tuple[Axis[Any], ...]
    codebook_granularity: Granularity = "layer"
    scales: frozenset[str] = frozenset()
    """Layers of one weight for each filter, whose scales hold it exactly: they have no steps."""
    depths: tuple[Depth, ...] = ()
    """The networks that blocks are removed to; of the whole one alone where it is empty."""
    _by_knob: Mapping[tuple[str, str], Axis[Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_knob", {(axis.knob.name, axis.of): axis for axis in self.axes})

    @property
    def size(self) -> float:
        """Number of points (a float: it soon exceeds what an integer is good for)."""
        product = 1.0
        for axis in self.axes:
            product *= len(axis.values)
        return product

    def values(self, knob: Knob[T], of: str = NETWORK) -> tuple[T, ...]:
        """Return the admissible values of a knob for a layer or channel group, or the network; none without an axis."""
        axis: Axis[T] | None = self._by_knob.get((knob.name, of))
        return () if axis is None else axis.values

    @property
    def steps(self) -> tuple[float | None, ...]:
        """The steps of the network, the finest last; None where its widths are decided, as everywhere without any."""
        return self.values(STEPS) or (None,)

    def weight_choices(self, layer: str, *steps: float | None) -> tuple[LayerChoice, ...]:
        """Return all distinct choices for the weights of a layer, at 8-bit activations.

        Args:
            steps: The steps of the network at which they are; all that it has where none is given.
        """
        known = [(knob.name, self.values(knob, layer)) for knob in (*WEIGHT_KNOBS, STEP_OFFSET)]
        names = [name for name, values in known if values]
        options = itertools.product(steps or self.steps, *(values for _, values in known if values))
        return tuple(
            dict.fromkeys(self._choice(layer, step, dict(zip(names, option, strict=True))) for step, *option in options)
        )

    def list_weight_choices(self, layer: str) -> tuple[tuple[int, ...], tuple[LayerChoice, ...]]:
        """Return the positions of the axes that decide a layer's weights, and its choice at all their values.

        The choices are in row-major order of the axes' indices, at 8-bit activations.
        """
        found = [
            (place, axis)
            for place, axis in enumerate(self.axes)
            if axis.knob is STEPS or (axis.of == layer and axis.knob in (*WEIGHT_KNOBS, STEP_OFFSET))
        ]
        names = [axis.knob.name for _, axis in found]
        choices = []
        for option in itertools.product(*(axis.values for _, axis in found)):
            values = dict(zip(names, option, strict=True))
            choices.append(self._choice(layer, values.pop(STEPS.name, None), values))
        return tuple(place for place, _ in found), tuple(choices)

    def candidate(self, point: Mapping[str, int]) -> Candidate:
        """Return the candidate at a point {axis name: index}, without what a width makes void."""
        chosen: dict[str, dict[str, Any]] = {layer: {} for layer in self.layers}
        filter_keep_ratio: list[tuple[str, float]] = []
        filters_by: str | None = None
        step: float | None = None
        removed = 0
        for axis in self.axes:
            value = axis.values[point[axis.name]]
            if axis.knob is FILTERS_BY:
                filters_by = value
            elif axis.knob is REMOVED_BLOCKS:
                removed = value
            elif axis.knob is STEPS:
                step = value
            elif axis.knob is FILTER_KEEP_RATIO:
                filter_keep_ratio.append((axis.of, value))
            else:
                chosen[axis.of][axis.knob.name] = value
        whole = Candidate(
            layers=tuple(self._choice(layer, step, values) for layer, values in chosen.items()),
            filter_keep_ratio=tuple(filter_keep_ratio),
            filters_by=filters_by,
        )
        return self.at_depth(whole, removed)

    def at_depth(self, candidate: Candidate, removed: int) -> Candidate:
        """Return a candidate of the whole network without so many blocks, and without choices for what is gone."""
        depth = next((each for each in self.depths if len(each.removed_blocks) == removed), None)
        if depth is None or not removed:
            return candidate
        return replace(
            candidate,
            layers=tuple(choice for choice in candidate.layers if choice.layer in depth.layers),
            filter_keep_ratio=tuple(entry for entry in candidate.filter_keep_ratio if entry[0] in depth.groups),
            removed_blocks=depth.removed_blocks,
        )

    def point(self, candidate: Candidate) -> dict[str, int]:
        """Return the point of a candidate: the nearest admissible value on every axis.

        Where None is not admissible, the largest codebook and the densest pattern are the nearest; nearest to an
        unknown criterion is the study's own. The step of the network is the one that layers' offsets take nearest to
        their own steps.
        """
        stated = {choice.layer for choice in candidate.layers}
        gone = [LayerChoice(layer=layer) for layer in self.layers if layer not in stated and candidate.removed_blocks]
        filled = replace(candidate, layers=(*candidate.layers, *gone)) if gone else candidate
        choices = dict(zip(self.layers, filled.choices(self.layers), strict=True))
        step = self._nearest_step(choices)
        indices = {}
        for axis in self.axes:
            if axis.knob is FILTERS_BY:
                wanted: Any = candidate.filters_by if candidate.filters_by in axis.values else None
            elif axis.knob is FILTER_KEEP_RATIO:
                wanted = candidate.keep_ratio(axis.of)
            elif axis.knob is STEPS:
                wanted = step
            elif axis.knob is REMOVED_BLOCKS:
                wanted = len(candidate.removed_blocks)
            elif axis.knob is STEP_OFFSET:
                own = choices[axis.of].step
                wanted = 0.0 if own is None or step is None else math.log2(own / step)
            else:
                wanted = getattr(choices[axis.of], axis.knob.name)
            indices[axis.name] = axis.nearest(wanted)
        return indices

    def _choice(self, layer: str, step: float | None, values: Mapping[str, Any]) -> LayerChoice:
        """Return the choice of a layer that has these values on its axes, at a step of the network."""
        values = dict(values)
        offset = values.pop(STEP_OFFSET.name, 0.0)
        own = None if step is None or layer in self.scales else step * 2**offset
        return canonicalise_choice(layer=layer, codebook_granularity=self.codebook_granularity, step=own, **values)

    def _nearest_step(self, choices: Mapping[str, LayerChoice]) -> float | None:
        own = [(layer, choice.step) for layer, choice in choices.items() if choice.step is not None]
        if not own:
            return None

        def distance(step: float) -> float:
            return sum(
                min(abs(math.log2(wanted / step) - offset) for offset in self.values(STEP_OFFSET, layer) or (0.0,))
                for layer, wanted in own
            )

        return min((step for step in self.steps if step is not None), key=distance, default=None)


def make_search_space(
    graph: ModelGraph,
    settings: SpaceSettings,
    codebook_granularity: Granularity = "layer",
    method: str | None = None,
    depths: Sequence[Depth] = (),
) -> SearchSpace:
    """Return the axes that the study's settings give this network.

    Args:
        method: The study's own criterion, by whose order filters are removed unless a candidate names another.
        depths: One for each number of blocks that may be removed; without them none is.

    Raises:
        SearchError: For settings of an unknown layer, and for more blocks than can be removed.
    """
    refuse_too_many_blocks(graph, settings.removed_blocks)
    known = {*graph.weight_owners, *(group.name for group in graph.prunable)}
    unknown = [entry.layer for entry in settings.layers if entry.layer not in known]
    if unknown:
        raise SearchError(
            f"space.layers.{unknown[0]!r}: the network has no such layer or group; it has {', '.join(sorted(known))}"
        )
    offsets = [("space", settings.step_offsets)]
    offsets += [(f"space.layers.{entry.layer}", entry.step_offsets or STEP_OFFSET.unused) for entry in settings.layers]
    for where, values in offsets:
        if settings.steps == STEPS.unused and values != STEP_OFFSET.unused:
            raise SearchError(
                f"{where}.step_offsets: expected [0.0] without space.steps, received {list(values)}; state the steps "
                "that these are offsets of"
            )
    axes: list[Axis[Any]] = []
    scales = {layer.name for layer in graph.layers if layer.weights == layer.out_channels}
    for layer in graph.weight_owners:
        own = settings.for_layer(layer)
        for knob in (*LAYER_KNOBS, STEP_OFFSET):
            values = knob.values(own)
            void = knob is WEIGHT_BITS and None not in settings.steps and layer not in scales
            if values != knob.unused and not void:
                axes.append(Axis(knob=knob, of=layer, values=knob.for_scales(values) if layer in scales else values))
    ratios = [
        Axis(knob=FILTER_KEEP_RATIO, of=group.name, values=FILTER_KEEP_RATIO.values(settings.for_layer(group.name)))
        for group in graph.prunable
    ]
    axes += ratios
    steps = STEPS.values(settings)
    if steps != STEPS.unused:
        axes.append(Axis(knob=STEPS, of=NETWORK, values=steps))
    if depths and settings.removed_blocks != REMOVED_BLOCKS.unused:
        axes.append(Axis(knob=REMOVED_BLOCKS, of=NETWORK, values=REMOVED_BLOCKS.values(settings)))
    others = tuple(name for name in settings.filter_criteria or () if name != method)
    if others and any(ratio != 1.0 for axis in ratios for ratio in axis.values):
        axes.append(Axis(knob=FILTERS_BY, of=NETWORK, values=(None, *others)))
    return SearchSpace(
        layers=graph.weight_owners,
        axes=tuple(axes),
        codebook_granularity=codebook_granularity,
        scales=frozenset(scales),
        depths=tuple(depths),
    )


def list_decided(space: SearchSpace) -> tuple[Axis[Any], ...]:
    """Return the axes of more than one value: no trial has a parameter of another."""
    return tuple(axis for axis in space.axes if len(axis.values) > 1)


def refuse_too_many_blocks(graph: ModelGraph, counts: Sequence[int]) -> None:
    """Raise SearchError for a larger number than a network has blocks that can be removed."""
    most = len(graph.removable)
    if max(counts) > most:
        locked = [f"{block.name}: {block.locked}" for block in graph.blocks if block.locked]
        more = f"; its others stay: {locked[0]}" if locked else ""
        raise SearchError(
            f"space.removed_blocks: expected at most {most}, the blocks of this network that can be removed, received "
            f"{max(counts)}{more}"
        )
