"""One point of the design space: what is chosen for every layer and every channel group."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

from explorer.digests import digest
from explorer.errors import CandidateError, StudyFileError
from explorer.graph.layers import ModelGraph
from explorer.settings.records import get_rules
from explorer.settings.rules import one_of, shown, suggestion
from explorer.settings.sharing import GRANULARITIES
from explorer.settings.values import BLOCKS, CODEBOOK, MAXIMUM_BITS, PATTERN, SHARE, STEP, WEIGHT_WIDTH, WIDTH

Granularity = Literal["layer", "channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """What is chosen for one layer; each field but the name has the rule that its value follows.

    `weight_bits` lie in 1..8, `activation_bits` (of the tensor that the layer reads) in 2..8; `weight_density` is the
    share of weights not pruned, in (0, 1], and 1 for 1-bit weights, which are -1 or 1 times a scale and never 0;
    `codebook_size` is the number of shared weight values, or None, and `codebook_granularity` what has them: the
    "layer", or each output "channel" of it as many of its own. `pattern` is None, or "n:m": of every m consecutive
    weights along the input at most n stay, before `weight_density` removes more. With a `step` all weights of the layer
    lie on one grid, `step` over the root mean square of their relevance multipliers, and are stored at their entropy.

    Raises:
        CandidateError: A value that does not follow its rule, or values that contradict each other.

    Example:
        >>> import explorer
        >>> explorer.LayerChoice(layer="conv1", weight_bits=4, codebook_size=8).activation_bits
        8
    """

    layer: str
    weight_bits: Annotated[int, WEIGHT_WIDTH] = 8
    activation_bits: Annotated[int, WIDTH] = 8
    weight_density: Annotated[float, SHARE] = 1.0
    codebook_size: Annotated[int | None, CODEBOOK] = None
    codebook_granularity: Annotated[Granularity, one_of(*GRANULARITIES)] = "layer"
    pattern: Annotated[str | None, PATTERN] = None
    step: Annotated[float | None, STEP] = None

    def __post_init__(self) -> None:
        problems: list[str] = []
        for key, rule in get_rules(LayerChoice).items():
            value = getattr(self, key)
            try:
                if (read := rule.read(value, key)) is not value:
                    object.__setattr__(self, key, read)
            except StudyFileError as error:
                problems.extend(error.problems)
        problems = problems or self._contradictions()
        if problems:
            raise CandidateError(f"candidate: layer {shown(self.layer)}: {'; '.join(problems)}")

    def _contradictions(self) -> list[str]:
        problems = []
        if self.weight_bits == 1 and (self.weight_density < 1 or self.pattern is not None):
            problems.append(
                "expected weight_density 1 and pattern null with 1-bit weights, none of whose two values is 0, "
                f"received {shown(self.weight_density)} and {shown(self.pattern)}; or use 2 bits"
            )
        if self.step is not None and self.weight_bits != MAXIMUM_BITS:
            problems.append(f"weight_bits: expected 8 with a step, received {self.weight_bits}; use a step of null")
        if self.codebook_size is not None and self.codebook_size >= count_levels(self.weight_bits):
            problems.append(
                f"codebook_size: expected fewer than the {count_levels(self.weight_bits)} values that "
                f"{self.weight_bits}-bit weights have anyway, received {self.codebook_size}; use null"
            )
        return problems

    def to_json(self) -> dict[str, Any]:
        """Return plain data without the name; later additions are left out at their default, so that digests stay."""
        return dict(_write_choice(self))


_DEFAULTS = {field.name: field.default for field in fields(LayerChoice)}
_WRITTEN = ("weight_bits", "activation_bits", "weight_density", "codebook_size")
"""What candidates have stated since the first version."""
REMEMBERED = 2**16
"""Choices that are remembered: a search meets the same ones in thousands of candidates, which share them."""
_share_pair = lru_cache(REMEMBERED)(tuple[str, float])


@lru_cache(REMEMBERED)
def _write_choice(choice: LayerChoice) -> dict[str, Any]:
    values = {key: getattr(choice, key) for key in get_rules(LayerChoice)}
    return {key: value for key, value in values.items() if key in _WRITTEN or value != _DEFAULTS[key]}


@lru_cache(REMEMBERED, typed=True)
def canonicalise_choice(**values: Any) -> LayerChoice:
    """Return the choice for a layer, given as to LayerChoice, without what its width makes void.

    A codebook that could share nothing, since the width has no more values, becomes none, and 1-bit weights, which
    cannot be 0, are not pruned; a step makes any width void: one network has one digest.
    """
    if values.get("step") is not None:
        values["weight_bits"] = MAXIMUM_BITS
    bits, size = values.get("weight_bits", 8), values.get("codebook_size")
    if bits == 1:
        values |= {"weight_density": 1.0, "pattern": None}
    if size is None or size >= count_levels(bits):
        values |= {"codebook_size": None, "codebook_granularity": "layer"}
    return LayerChoice(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A choice for every layer, and the share of filters kept of every channel group that may be pruned.

    `filters_by` names the criterion by whose order filters are removed; None is the study's own, and what it is set
    to where no filter is removed, so that one network has one digest. `removed_blocks` are names of
    `ModelGraph.blocks`, in any order: for their layers nothing is chosen.

    Example:
        >>> import explorer
        >>> wide, narrow = (explorer.LayerChoice(layer="conv1", weight_bits=bits) for bits in (8, 2))
        >>> point = explorer.Candidate(layers=(wide,), filter_keep_ratio=(("conv1", 1.0),))
        >>> point.with_choice(narrow).with_filters(conv1=0.5).to_json()["filter_keep_ratio"]
        {'conv1': 0.5}
    """

    layers: tuple[LayerChoice, ...]
    filter_keep_ratio: tuple[tuple[str, float], ...]
    filters_by: str | None = None
    removed_blocks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            blocks = BLOCKS.read(self.removed_blocks, "removed_blocks") if self.removed_blocks else ()
        except StudyFileError as error:
            raise CandidateError(f"candidate: {error}") from None
        object.__setattr__(self, "removed_blocks", tuple(sorted(blocks)))  # in an order that no network is needed for
        if self.filters_by is not None and (not isinstance(self.filters_by, str) or not self.filters_by):
            raise CandidateError(
                f"candidate: filters_by: expected null or the name of a criterion, received {shown(self.filters_by)}"
            )
        ratios = []
        for group, ratio in self.filter_keep_ratio:
            try:
                ratios.append(_share_pair((group, SHARE.read(ratio, "filter_keep_ratio"))))
            except StudyFileError as error:
                raise CandidateError(f"candidate: group {shown(group)}: {error}") from None
        object.__setattr__(self, "filter_keep_ratio", tuple(ratios))
        for kind, names in (
            ("layer", [choice.layer for choice in self.layers]),
            ("group", [group for group, _ in self.filter_keep_ratio]),
        ):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise CandidateError(
                    f"candidate: expected one choice for each {kind}, received several for {shown(repeated[0])}"
                )
        if all(ratio == 1.0 for _, ratio in ratios):
            object.__setattr__(self, "filters_by", None)

    def choice(self, layer: str) -> LayerChoice:
        """Return what is chosen for a layer.

        Raises:
            CandidateError: When nothing is.
        """
        return self.choices((layer,))[0]

    def choices(self, layers: Iterable[str]) -> tuple[LayerChoice, ...]:
        """Return what is chosen for each of these layers.

        Raises:
            CandidateError: When nothing is chosen for one.
        """
        chosen = {choice.layer: choice for choice in self.layers}
        try:
            return tuple(chosen[layer] for layer in layers)
        except KeyError as error:
            name = shown(error.args[0])
            raise CandidateError(f"candidate: expected a choice for layer {name}, received none") from None

    def with_choice(self, choice: LayerChoice) -> Candidate:
        """Return the candidate with another choice for one of its layers; parts that were checked are not again.

        Raises:
            CandidateError: A layer that it does not choose for.
        """
        if all(entry.layer != choice.layer for entry in self.layers):
            known = suggestion(choice.layer, [entry.layer for entry in self.layers])
            raise CandidateError(f"candidate: expected one of its layers, received {choice.layer!r}: {known}")
        changed = copy.copy(self)
        layers = tuple([choice if entry.layer == choice.layer else entry for entry in self.layers])
        object.__setattr__(changed, "layers", layers)
        return changed

    def with_filters(self, ratios: Mapping[str, float] | None = None, /, **more: float) -> Candidate:
        """Return the candidate with other shares of filters kept, by the names of their groups.

        Raises:
            CandidateError: A group that it does not choose for, or a share outside (0, 1].
        """
        if not isinstance(ratios, Mapping | None):
            raise CandidateError(f"candidate: expected shares of filters by group, received {type(ratios).__name__}")
        wanted = {**(ratios or {}), **more}
        known = dict(self.filter_keep_ratio)
        for name in wanted:
            if name not in known:
                raise CandidateError(
                    f"candidate: expected a group of filters that can be removed, received {name!r}: "
                    f"{suggestion(name, sorted(known))}"
                )
        return replace(self, filter_keep_ratio=tuple({**known, **wanted}.items()))

    def keep_ratio(self, group: str) -> float:
        """Return the share of a group's channel classes that is kept; 1 for a group that is not listed."""
        return dict(self.filter_keep_ratio).get(group, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: {"layers": ..., "filter_keep_ratio": {group: ratio}}, and the others where stated."""
        return {
            "layers": {choice.layer: choice.to_json() for choice in self.layers},
            "filter_keep_ratio": dict(self.filter_keep_ratio),
            **({} if self.filters_by is None else {"filters_by": self.filters_by}),
            **({"removed_blocks": list(self.removed_blocks)} if self.removed_blocks else {}),
        }

    @classmethod
    def from_json(cls, data: object) -> Candidate:
        """Rebuild a candidate.

        Raises:
            CandidateError: Names the part that is missing, unknown or out of range.
        """
        if not isinstance(data, Mapping) or set(data) - {"filters_by", "removed_blocks"} != {
            "layers",
            "filter_keep_ratio",
        }:
            received = shown(sorted(map(str, data))) if isinstance(data, Mapping) else type(data).__name__
            keys = "'layers' and 'filter_keep_ratio' ('kept_filters' before version 0.6)"
            raise CandidateError(f"candidate: expected an object with {keys}, received {received}")
        layers, filter_keep_ratio = data["layers"], data["filter_keep_ratio"]
        if not isinstance(layers, Mapping) or not isinstance(filter_keep_ratio, Mapping):
            kinds = f"{type(layers).__name__} and {type(filter_keep_ratio).__name__}"
            raise CandidateError(
                f"candidate: expected 'layers' and 'filter_keep_ratio' as objects keyed by name, received {kinds}"
            )
        return cls(
            layers=tuple(_choice_from_json(str(name), entry) for name, entry in layers.items()),
            filter_keep_ratio=tuple((str(name), share) for name, share in filter_keep_ratio.items()),
            filters_by=data.get("filters_by"),
            removed_blocks=data.get("removed_blocks", ()),
        )

    def digest(self) -> str:
        """Return SHA-256 over the canonical JSON text, first 16 hexadecimal digits."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return digest(text)


def count_levels(bits: int) -> int:
    """Return how many values a symmetric `bits`-bit weight takes: 2^bits - 1 with zero; at 1 bit the two -1 and 1."""
    return 2 if bits == 1 else (1 << bits) - 1


def uniform(graph: ModelGraph, weight_bits: int = 8, activation_bits: int = 8) -> Candidate:
    """Return the same widths everywhere, nothing pruned or shared."""
    return Candidate(
        layers=tuple(
            LayerChoice(layer=name, weight_bits=weight_bits, activation_bits=activation_bits)
            for name in graph.weight_owners
        ),
        filter_keep_ratio=tuple((group.name, 1.0) for group in graph.prunable),
        removed_blocks=graph.removed_blocks,
    )


def _choice_from_json(layer: str, entry: object) -> LayerChoice:
    if not isinstance(entry, Mapping):
        raise CandidateError(f"candidate: layer {shown(layer)}: expected an object, received {shown(entry)}")
    try:
        return _read_choice(layer, tuple(entry), *entry.values())
    except TypeError:  # an unknown key, or a value that cannot be looked up, which is none that a choice may have
        rules = get_rules(LayerChoice)
        unknown = [str(key) for key in entry if key not in rules]
        if unknown:
            hint = f"received {shown(unknown[0])}: {suggestion(unknown[0], rules)}"
            raise CandidateError(f"candidate: layer {shown(layer)}: expected keys of a choice, {hint}") from None
        return LayerChoice(layer=layer, **entry)


@lru_cache(REMEMBERED, typed=True)
def _read_choice(layer: str, keys: tuple[str, ...], *values: Any) -> LayerChoice:
    return LayerChoice(layer=layer, **dict(zip(keys, values, strict=True)))
