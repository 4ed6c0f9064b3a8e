"""One point of the design space: what is chosen for every layer and every channel group."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from explorer.errors import CandidateError
from explorer.graph.layers import ModelGraph
from explorer.settings.values import parse_pattern
from hwmodels.checks import shown

MINIMUM_BITS, MAXIMUM_BITS = 2, 8
MINIMUM_WEIGHT_BITS = 1
Granularity = Literal["layer", "channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """What is chosen for one layer.

    `weight_bits` lie in 1..8, `activation_bits` (of the tensor that the layer reads) in 2..8; `weight_density` is the
    share of weights not pruned, in (0, 1], and 1 for 1-bit weights, which are -1 or 1 times a scale and never 0;
    `codebook_size` is the number of shared weight values, or None, and `codebook_granularity` what has them: the
    "layer", or each output "channel" of it as many of its own. `pattern` is None, or "n:m": of every m consecutive
    weights along the input at most n stay, before `weight_density` removes more.
    """

    layer: str
    weight_bits: int = 8
    activation_bits: int = 8
    weight_density: float = 1.0
    codebook_size: int | None = None
    codebook_granularity: Granularity = "layer"
    pattern: str | None = None

    def __post_init__(self) -> None:
        problems = []
        for key, lowest in (("weight_bits", MINIMUM_WEIGHT_BITS), ("activation_bits", MINIMUM_BITS)):
            value = getattr(self, key)
            if not _is_integer(value) or not lowest <= value <= MAXIMUM_BITS:
                problems.append(f"{key} must be an integer in {lowest}..{MAXIMUM_BITS}, received {shown(value)}")
        if not is_share(self.weight_density):
            problems.append(f"weight_density must be a share in (0, 1], received {shown(self.weight_density)}")
        elif self.weight_bits == 1 and (self.weight_density < 1 or self.pattern is not None):
            problems.append(
                "1-bit weights cannot be pruned, since none of their two values is 0: weight_density must be 1 and "
                f"pattern None, received {shown(self.weight_density)} and {shown(self.pattern)}; or use 2 bits"
            )
        problems.extend(self._codebook_problems())
        try:
            if self.pattern is not None:
                parse_pattern(self.pattern)
        except ValueError as error:
            problems.append(f"pattern: {error}")
        if problems:
            raise CandidateError(f"candidate: layer {shown(self.layer)}: {'; '.join(problems)}")

    def _codebook_problems(self) -> list[str]:
        size = self.codebook_size
        if self.codebook_granularity not in ("layer", "channel"):
            return [f'codebook_granularity must be "layer" or "channel", received {shown(self.codebook_granularity)}']
        if size is None:
            return []
        if not _is_integer(size) or size < 2:
            return [f"codebook_size must be None or an integer of at least 2, received {shown(size)}"]
        bits = self.weight_bits
        if _is_integer(bits) and MINIMUM_WEIGHT_BITS <= bits <= MAXIMUM_BITS and size >= levels(bits):
            return [
                f"codebook_size {shown(size)} shares nothing: {self.weight_bits}-bit weights have only "
                f"{levels(self.weight_bits)} values; use None"
            ]
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A choice for every layer, and the share of filters kept of every channel group that may be pruned.

    `filters_by` names the criterion by whose order filters are removed; None is the study's own, and what it is set
    to where no filter is removed, so that one network has one digest.
    """

    layers: tuple[LayerChoice, ...]
    filter_keep_ratio: tuple[tuple[str, float], ...]
    filters_by: str | None = None

    def __post_init__(self) -> None:
        if self.filters_by is not None and (not isinstance(self.filters_by, str) or not self.filters_by):
            raise CandidateError(
                f"candidate: filters_by must be None or the name of a criterion, received {shown(self.filters_by)}"
            )
        for group, share in self.filter_keep_ratio:
            if not is_share(share):
                raise CandidateError(
                    f"candidate: group {shown(group)}: filter_keep_ratio must be a share in (0, 1], "
                    f"received {shown(share)}"
                )
        for kind, names in (
            ("layer", [choice.layer for choice in self.layers]),
            ("group", [group for group, _ in self.filter_keep_ratio]),
        ):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise CandidateError(f"candidate: {kind} {shown(repeated[0])} is chosen more than once")
        if all(share == 1.0 for _, share in self.filter_keep_ratio):
            object.__setattr__(self, "filters_by", None)

    def choice(self, layer: str) -> LayerChoice:
        """What is chosen for a layer; CandidateError when nothing is."""
        return self.choices((layer,))[0]

    def choices(self, layers: Iterable[str]) -> tuple[LayerChoice, ...]:
        """What is chosen for each of these layers; CandidateError when nothing is chosen for one."""
        chosen = {choice.layer: choice for choice in self.layers}
        try:
            return tuple(chosen[layer] for layer in layers)
        except KeyError as error:
            raise CandidateError(f"candidate: nothing is chosen for layer {error.args[0]!r}") from None

    def with_choice(self, choice: LayerChoice) -> Candidate:
        """The candidate with another choice for one of its layers; each part was checked before, and is not again."""
        changed = copy.copy(self)
        layers = tuple([choice if entry.layer == choice.layer else entry for entry in self.layers])
        object.__setattr__(changed, "layers", layers)
        return changed

    def share(self, group: str) -> float:
        """Share of a group's channel classes that is kept; 1 for a group that is not listed."""
        return dict(self.filter_keep_ratio).get(group, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Plain data: {"layers": {name: choices}, "filter_keep_ratio": {group: ratio}}; "filters_by" where stated."""
        return {
            "layers": {
                choice.layer: {
                    "weight_bits": choice.weight_bits,
                    "activation_bits": choice.activation_bits,
                    "weight_density": choice.weight_density,
                    "codebook_size": choice.codebook_size,
                    **(
                        {}
                        if choice.codebook_granularity == "layer"
                        else {"codebook_granularity": choice.codebook_granularity}
                    ),
                    **({} if choice.pattern is None else {"pattern": choice.pattern}),
                }
                for choice in self.layers
            },
            "filter_keep_ratio": dict(self.filter_keep_ratio),
            **({} if self.filters_by is None else {"filters_by": self.filters_by}),
        }

    @classmethod
    def from_json(cls, data: object) -> Candidate:
        """Rebuild a candidate; CandidateError names the part that is missing, unknown or out of range."""
        if not isinstance(data, Mapping) or set(data) - {"filters_by"} != {"layers", "filter_keep_ratio"}:
            received = shown(sorted(map(str, data))) if isinstance(data, Mapping) else type(data).__name__
            keys = "'layers' and 'filter_keep_ratio' ('kept_filters' before version 0.6)"
            raise CandidateError(f"candidate: expected an object with {keys}, received {received}")
        layers, filter_keep_ratio = data["layers"], data["filter_keep_ratio"]
        if not isinstance(layers, Mapping) or not isinstance(filter_keep_ratio, Mapping):
            raise CandidateError("candidate: 'layers' and 'filter_keep_ratio' must be objects keyed by name")
        return cls(
            layers=tuple(_choice_from_json(str(name), entry) for name, entry in layers.items()),
            filter_keep_ratio=tuple((str(name), share) for name, share in filter_keep_ratio.items()),
            filters_by=data.get("filters_by"),
        )

    def digest(self) -> str:
        """SHA-256 over the canonical JSON text, first 16 hexadecimal digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def levels(bits: int) -> int:
    """How many values a symmetric `bits`-bit weight takes: 2^bits - 1, zero included; at 1 bit the two -1 and 1."""
    return 2 if bits == 1 else (1 << bits) - 1


def uniform(graph: ModelGraph, weight_bits: int = 8, activation_bits: int = 8) -> Candidate:
    """The same widths everywhere, nothing pruned or shared."""
    return Candidate(
        layers=tuple(
            LayerChoice(layer=name, weight_bits=weight_bits, activation_bits=activation_bits)
            for name in graph.weight_owners
        ),
        filter_keep_ratio=tuple((group.name, 1.0) for group in graph.prunable),
    )


def check(candidate: Candidate, graph: ModelGraph) -> None:
    """Raise CandidateError unless the candidate chooses for exactly the layers and groups of the network."""
    chosen = {choice.layer for choice in candidate.layers}
    known = set(graph.weight_owners)
    prunable = {group.name for group in graph.prunable}
    locked = {group.name: group.locked for group in graph.groups if group.locked}
    problems = [f"unknown layer {name!r}" for name in sorted(chosen - known)]
    problems += [f"nothing is chosen for layer {name!r}" for name in sorted(known - chosen)]
    for name, share in candidate.filter_keep_ratio:
        if name in locked and share < 1.0:
            problems.append(f"filters of {name!r} cannot be removed: {locked[name]}")
        elif name not in prunable and name not in locked:
            problems.append(f"unknown channel group {name!r}; the groups are {', '.join(sorted(prunable))}")
    if problems:
        raise CandidateError(f"candidate does not fit the network: {'; '.join(problems)}")


def is_share(value: object) -> bool:
    """True for a number in (0, 1]."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value <= 1.0


def kept_count(share: float, size: int) -> int:
    """How many of `size` things a share keeps: the nearest integer, halves up, and at least one."""
    return max(1, math.floor(share * size + 0.5))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _choice_from_json(layer: str, entry: object) -> LayerChoice:
    known = {"weight_bits", "activation_bits", "weight_density", "codebook_size", "codebook_granularity", "pattern"}
    if not isinstance(entry, Mapping) or set(entry) - known:
        received = sorted(set(entry) - known) if isinstance(entry, Mapping) else entry
        raise CandidateError(f"candidate: layer {shown(layer)}: unknown {shown(received)}; known are {sorted(known)}")
    return LayerChoice(layer=layer, **entry)
