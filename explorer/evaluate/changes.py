"""What of a network a candidate differs in from the one before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from explorer.compress.candidate import LayerChoice
from explorer.graph.layers import Layer, ModelGraph, Operation


@dataclass(frozen=True, slots=True)
class Plan:
    """What all parts of a candidate follow from: choices by owner, classes kept by group, widths of activations."""

    choices: tuple[LayerChoice, ...]
    filter_keep_ratio: tuple[tuple[str, float], ...]
    filters_by: str | None
    kept: tuple[int, ...]
    bits: Mapping[str, int]


class Touched:
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

    def between(self, planned: Plan, before: Plan | None) -> tuple[Iterable[int], Iterable[int]]:
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
