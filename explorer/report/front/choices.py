"""What the members of a front choose for every layer and group of filters, as columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.search.axes import FILTER_KEEP_RATIO, LAYER_KNOBS
from explorer.study.record import Outcome

TYPES = {
    "weight_bits": "Int64",
    "activation_bits": "Int64",
    "weight_density": "float64",
    "codebook_size": "Int64",
    "pattern": "str",
    "step": "float64",
}
"""Of the columns of a layer, by the field of LayerChoice."""
SETTINGS = {knob.name: knob.setting for knob in (*LAYER_KNOBS, FILTER_KEEP_RATIO)} | {"step": "steps"}
"""Keys of [space] that hold the values of these, and of the shares of filters."""
DEFAULTS = {field.name: field.default for field in fields(LayerChoice)} | {FILTER_KEEP_RATIO.name: 1.0}
FILTERS_BY, REMOVED_BLOCKS = "filters_by", "removed_blocks"


def list_choice_columns(outcome: Outcome) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the types of the columns by name, and a row for each member of the front; what is not chosen is missing.

    A layer's columns are called as "conv1.weight_bits", the share kept of a group's filters as
    "conv1.filter_keep_ratio". Widths are always among them; of the other kinds those that the study's space leaves
    open, or that a member chooses otherwise than an uncompressed layer has it.
    """
    candidates = [point.evaluation.candidate for point in outcome.front]
    kinds = _list_kinds(outcome.study.get("space") or {}, candidates)
    types: dict[str, str] = {}
    layers = dict.fromkeys(choice.layer for candidate in candidates for choice in candidate.layers)
    types |= {f"{layer}.{key}": kind for layer in layers for key, kind in TYPES.items() if key in kinds}
    groups = dict.fromkeys(group for candidate in candidates for group, _ in candidate.filter_keep_ratio)
    types |= {_name_ratio(group): "float64" for group in groups if FILTER_KEEP_RATIO.name in kinds}
    types |= {FILTERS_BY: "str"} if any(candidate.filters_by for candidate in candidates) else {}
    types |= {REMOVED_BLOCKS: "str"} if any(candidate.removed_blocks for candidate in candidates) else {}
    return types, [_make_row(candidate, types) for candidate in candidates]


def _list_kinds(space: Mapping[str, Any], candidates: Sequence[Candidate]) -> set[str]:
    parts = [space, *(space.get("layers") or {}).values()]
    open_kinds = {name for name, key in SETTINGS.items() if any(len(part.get(key) or ()) > 1 for part in parts)}
    choices = {choice for candidate in candidates for choice in candidate.layers}
    chosen = {key for key in TYPES if any(getattr(choice, key) != DEFAULTS[key] for choice in choices)}
    ratios = {ratio for candidate in candidates for _, ratio in candidate.filter_keep_ratio}
    chosen |= {FILTER_KEEP_RATIO.name} if ratios - {1.0} else set()
    return open_kinds | chosen | {"weight_bits", "activation_bits"}


def _make_row(candidate: Candidate, types: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: "" for name, kind in types.items() if kind == "str"}
    found = {f"{choice.layer}.{key}": getattr(choice, key) for choice in candidate.layers for key in TYPES}
    found |= {_name_ratio(group): ratio for group, ratio in candidate.filter_keep_ratio}
    found |= {FILTERS_BY: candidate.filters_by, REMOVED_BLOCKS: "; ".join(candidate.removed_blocks)}
    return row | {name: value for name, value in found.items() if name in types and value is not None}


def _name_ratio(group: str) -> str:
    return f"{group}.{FILTER_KEEP_RATIO.name}"
