"""Of an earlier tuning of a network and a new one, the better on images that neither was trained on is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from explorer.digests import digest
from explorer.errors import SearchError
from explorer.settings import FineTuningSettings
from explorer.settings.records import write_record
from explorer.training.tuned import Tuned

MEASURE = (
    *("seed", "train", "held_aside", "batch_size", "evaluated"),
    *("loss code", "teacher", "teacher_weight", "temperature", "coded_share"),
)
"""What has to be equal for two tunings to hold the same images aside, and to be chosen on them by the same loss."""
BEATEN = "beaten"
"""Of a description: tunings that were tried and are not kept, by the digest of their conditions."""

DEFAULTS = write_record(FineTuningSettings())

Description = Mapping[str, Any]


def is_made(description: Description, conditions: Description) -> bool:
    """Whether a tuning was made under these conditions, or is kept before one that was."""
    return not list_other_conditions(description, conditions) or _key(conditions) in description.get(BEATEN, {})


def list_other_conditions(description: Description, conditions: Description) -> list[str]:
    """Return which conditions a tuning was not made under."""
    return [key for key, value in conditions.items() if _read(description, key) != value]


def refuse_incomparable(name: str, file: Path, earlier: Description, conditions: Description) -> None:
    """Raise SearchError where it cannot be told whether a tuning under these conditions will be better."""
    differ = [key for key in MEASURE if _read(earlier, key) != conditions[key]]
    if differ:
        why = f"with another {', '.join(differ)}"
    elif not conditions["held_aside"]:
        why = "with finetuning.held_aside = 0, which leaves no images to compare by"
    elif earlier.get("aside_loss") is None:
        why = "and no loss on images held aside is recorded of it"
    else:
        return
    raise SearchError(
        f"{file}: {name} was tuned before, {why}: which is better cannot be told; move the file away to tune {name} "
        "anew"
    )


def is_better(made: Description, earlier: Description) -> bool:
    """Whether a new tuning is better than an earlier one: less over the bytes it may take, then of less loss."""
    return made["aside_loss"] is not None and _rank(made) < _rank(earlier)


def keep_before(kept: Tuned, other: Tuned, conditions: Description) -> Tuned:
    """Return the tuning that is kept, which remembers the other one, so that it is not made again."""
    told = {key: other.description.get(key) for key in ("epochs", "aside_loss", "aside_excess")}
    theirs = {key: _read(other.description, key) for key in conditions}
    beaten = {**kept.description.get(BEATEN, {}), **other.description.get(BEATEN, {}), _key(theirs): told}
    return replace(kept, description={**kept.description, BEATEN: beaten})


def tell_kept(description: Description, conditions: Description) -> str:
    """Return that an earlier tuning is kept before one under these conditions, and why; else nothing."""
    other = description.get(BEATEN, {}).get(_key(conditions))
    if other is None:
        return ""
    key, what = "aside_loss", "loss on the images held aside"
    if description["aside_excess"] != other["aside_excess"]:
        key, what = "aside_excess", "share of bytes above those asked for"
    ours, theirs = (("not finite" if each[key] is None else f"{each[key]:.4g}") for each in (description, other))
    epochs, tried = (f"{each['epochs']} epoch{'s' if each['epochs'] > 1 else ''}" for each in (description, other))
    return f"the earlier tuning of {epochs} is kept, whose {what} is {ours}; that of the new one of {tried} is {theirs}"


def _read(description: Description, key: str) -> Any:
    """Return an entry; a setting that was not there yet had what is its default now."""
    return description.get(key, DEFAULTS.get(key))


def _rank(description: Description) -> tuple[float, float]:
    return description["aside_excess"], description["aside_loss"]


def _key(conditions: Description) -> str:
    return digest(json.dumps(dict(conditions), sort_keys=True))
