"""What can be decided: the knobs of a layer, of a channel group and of the network, and the axes of a space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from explorer.errors import SearchError, StudyFileError
from explorer.settings import SpaceSettings
from explorer.settings.pattern import pattern_density
from explorer.settings.rules import Rule, or_none, text
from explorer.settings.values import BLOCK_COUNT, CODEBOOK, OFFSET, SHARE, STEP, WEIGHT_WIDTH, WIDTH
from explorer.settings.values import PATTERN as PATTERN_RULE

T = TypeVar("T")

NETWORK = "network"
"""What an axis is of that decides for all layers and groups at once."""


def _all(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob(Generic[T]):
    """One kind of decision; `T` is the type of what is decided.

    `name` is the field that it decides: of LayerChoice, or of Candidate for what is decided for a channel group or the
    network. `setting` is the key of [space] that holds its values, and `rule` what each has to be.

    `number` stands before the name in the search's storage: Optuna draws in the order of the names, so that the numbers
    keep that order whatever a knob comes to be called. A new knob takes the next one.
    """

    name: str
    setting: str
    rule: Rule
    number: int
    size: Callable[[T], float]
    """A value as a number: values ascend by it, and the nearest is so by it."""
    for_scales: Callable[[tuple[T, ...]], tuple[T, ...]] = _all
    """Of the values those for a layer that has one weight for each filter."""
    unused: tuple[T, ...] = ()
    """Values that need no axis, since nothing is to be decided."""

    def values(self, settings: SpaceSettings) -> tuple[T, ...]:
        """Return the values in a study's [space], ascending."""
        values: tuple[T, ...] = getattr(settings, self.setting)
        return tuple(sorted(values, key=self.size))


def _narrowest(values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the least width alone: any holds a single weight exactly."""
    return values[:1]


def _densest(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the largest share alone: without its only weight a filter is gone."""
    return values[-1:]


def _not_shared(values: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (None,)


def _codebook_values(size: int | None) -> float:
    """Return the place of a size of codebooks on its axis, where no codebook comes first."""
    return -1.0 if size is None else size


def _density(pattern: str | None) -> float:
    """Return the place of a pattern on its axis, where no pattern, the densest, comes last."""
    return 2.0 if pattern is None else pattern_density(pattern)


WEIGHT_BITS: Knob[int] = Knob(
    name="weight_bits", setting="weight_bits", rule=WEIGHT_WIDTH, number=6, size=float, for_scales=_narrowest
)
ACTIVATION_BITS: Knob[int] = Knob(name="activation_bits", setting="activation_bits", rule=WIDTH, number=0, size=float)
WEIGHT_DENSITY: Knob[float] = Knob(
    name="weight_density", setting="weight_density", rule=SHARE, number=4, size=float, for_scales=_densest
)
CODEBOOK_SIZE: Knob[int | None] = Knob(
    name="codebook_size",
    setting="codebook_sizes",
    rule=CODEBOOK,
    number=1,
    size=_codebook_values,
    for_scales=_not_shared,
)
PATTERN: Knob[str | None] = Knob(
    name="pattern", setting="patterns", rule=PATTERN_RULE, number=5, size=_density, unused=(None,)
)
WEIGHT_KNOBS: tuple[Knob[Any], ...] = (WEIGHT_BITS, WEIGHT_DENSITY, CODEBOOK_SIZE, PATTERN)
"""What is decided for the weights of a layer."""
LAYER_KNOBS: tuple[Knob[Any], ...] = (WEIGHT_BITS, ACTIVATION_BITS, *WEIGHT_KNOBS[1:])
"""What is decided for a layer, in the order of its axes."""
FILTER_KEEP_RATIO: Knob[float] = Knob(
    name="filter_keep_ratio", setting="filter_keep_ratio", rule=SHARE, number=3, size=float
)
"""What is decided for a channel group."""
STEP_OFFSET: Knob[float] = Knob(
    name="step_offset",
    setting="step_offsets",
    rule=OFFSET,
    number=7,
    size=lambda offset: -offset,
    for_scales=lambda values: values[-1:],
    unused=(0.0,),
)
"""What is decided for a layer where the network has steps: its own is larger by 2 to the power of that; finest last."""
STEPS: Knob[float | None] = Knob(
    name="step",
    setting="steps",
    rule=STEP,
    number=8,
    size=lambda step: math.inf if step is None else -math.log2(step),
    unused=(None,),
)
"""What is decided for the network: the step of all layers, the finest last, None where widths are decided instead."""
REMOVED_BLOCKS: Knob[int] = Knob(
    name="removed_blocks",
    setting="removed_blocks",
    rule=BLOCK_COUNT,
    number=9,
    size=lambda count: -count,
    unused=(0,),
)
"""What is decided for the network: how many of its blocks are removed, the least important first; none is last."""
FILTERS_BY: Knob[str | None] = Knob(
    name="filters_by",
    setting="filter_criteria",
    rule=or_none(text("the name of a criterion")),
    number=2,
    size=lambda criterion: 0.0,
)
"""What is decided for the network; in no order, but None, the study's own criterion, is the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis(Generic[T]):
    """One decision: the knob, the layer, channel group or NETWORK that it is `of`, and the admissible values in order.

    Raises:
        SearchError: A value that the knob does not take, such as None for a width.
    """

    knob: Knob[T]
    of: str
    values: tuple[T, ...]
    name: str = field(init=False, compare=False, repr=False)
    """Name of the axis in the search's storage."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.knob.number} {self.knob.name}/{self.of}")
        try:
            values = tuple(self.knob.rule.read(value, f"axis {self.name!r}") for value in self.values)
        except StudyFileError as error:
            raise SearchError(*error.problems) from None
        if not values:
            raise SearchError(f"axis {self.name!r}: expected at least one value, received none")
        object.__setattr__(self, "values", values)

    def nearest(self, wanted: T) -> int:
        """Return the index of the value nearest to one that may not be admissible; of None that is the last."""
        if wanted in self.values:
            return self.values.index(wanted)
        if wanted is None:
            return len(self.values) - 1
        size, target = self.knob.size, self.knob.size(wanted)
        distances = [(abs(size(value) - target), i) for i, value in enumerate(self.values) if value is not None]
        return min(distances)[1] if distances else 0
