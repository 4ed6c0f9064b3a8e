"""The [comparison] section: which criteria are compared, in what they decide, and at which levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.model import TrainingSettings
from explorer.settings.records import table, validate
from explorer.settings.relevance import RELEVANCE_METHODS
from explorer.settings.rules import integer, many, number, one_of, refused, suggestion, text
from explorer.settings.values import COUNT

CASES = ("filters", "weights", "sharing", "bits")
CASE_RULES: Mapping[str, tuple[str, ...]] = {
    "filters": (),
    "weights": ("magnitude",),
    "sharing": ("plain", "saliency"),
    "bits": ("uniform", "proportional", "measured_kl"),
}
"""What decides in a case beside the criteria of relevance, and needs no table of its own."""
CASE_LEVELS: Mapping[str, tuple[float, ...]] = {
    "filters": (0.1, 0.25, 0.4, 0.5),
    "weights": (0.5, 0.7, 0.8, 0.9),
    "sharing": (4, 8, 16, 32),
    "bits": (2.5, 3, 4),
}
STATES = ("uncorrected", "recalibrated", "fine_tuned")
CASE_STATES: Mapping[str, tuple[str, ...]] = {
    "filters": STATES,
    "weights": STATES[:2],
    "sharing": STATES[:2],
    "bits": ("recalibrated",),
}
"""States that a case knows; the first ones that need no training are its default."""
COMPARISON_SCOPES = ("layer", "global", "global_normalised")
CASE_SCOPES: Mapping[str, tuple[str, ...]] = {
    "filters": COMPARISON_SCOPES,
    "weights": COMPARISON_SCOPES[:2],
    "sharing": ("layer",),
    "bits": ("layer",),
}
SHARED_VALUES = (2, 256)
WIDTHS = (2.0, 8.0)

_LEVELS = many(number(0, SHARED_VALUES[1], above=True), distinct=True, ordered=True)
_NAMES = many(text("the name of a criterion", r"[a-z0-9_]+"), distinct=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """Networks compressed as each criterion says, otherwise alike, and scored on the same search images.

    `case`: which "filters" or single "weights" are removed, what an error of a weight counts when weights come to
    share values ("sharing"), or which widths weights have ("bits"). `levels` are the shares removed, the values that
    a layer shares, or the average widths in bits. `criteria` are methods of relevance that say something of the
    case, or its own rules (CASE_RULES); all of both where None, but for Captum's form of DeepLIFT. `focus` is the one
    whose differences to all others are reported.

    `seeds` draw the images that relevance is computed on, and what a criterion draws. `scopes`: the same share of
    every "layer" (channel group), the least of the whole network ("global"), or that after the scores of each layer
    were divided by their l2 norm ("global_normalised", of filters only). `states`: as it is then, with batch
    norms recalibrated on the calibration images, or trained for `training` on `tuned_images` (None: all) of the
    training images, at `tuned_levels` for `tuned_criteria` (None: all).
    """

    SECTION: ClassVar[str] = "comparison"
    AFFECTS_RESULTS: ClassVar[bool] = False
    case: Annotated[str, one_of(*CASES)] = "filters"
    criteria: Annotated[tuple[str, ...] | None, _NAMES] = None
    focus: Annotated[str, text("the name of a criterion", r"[a-z0-9_]+")] = "deeplift"
    levels: Annotated[tuple[float, ...] | None, _LEVELS] = None
    seeds: Annotated[tuple[int, ...], many(integer(0, 2**31 - 1), distinct=True)] = (0,)
    scopes: Annotated[tuple[str, ...], many(one_of(*COMPARISON_SCOPES), distinct=True)] = ("layer",)
    states: Annotated[tuple[str, ...] | None, many(one_of(*STATES), distinct=True)] = None
    training: Annotated[TrainingSettings | None, table(TrainingSettings)] = None
    tuned_levels: Annotated[tuple[float, ...] | None, _LEVELS] = None
    tuned_criteria: Annotated[tuple[str, ...] | None, _NAMES] = None
    tuned_images: Annotated[int | None, COUNT] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
        problems = [*self._level_problems(), *self._name_problems(), *self._state_problems()]
        if problems:
            raise StudyFileError(tuple(problems))

    @property
    def compared(self) -> tuple[str, ...]:
        """The criteria, all that the case knows where none are named."""
        if self.criteria is not None:
            return self.criteria
        return (*(name for name in RELEVANCE_METHODS if name != "captum_deeplift"), *CASE_RULES[self.case])

    @property
    def at_levels(self) -> tuple[float, ...]:
        """The levels, those of the case where none are named."""
        return CASE_LEVELS[self.case] if self.levels is None else self.levels

    @property
    def in_states(self) -> tuple[str, ...]:
        """The states, those without training where none are named."""
        named = self.states or tuple(state for state in CASE_STATES[self.case] if state != "fine_tuned")
        return tuple(state for state in STATES if state in named)

    def _level_problems(self) -> list[str]:
        problems = []
        if not all(_is_level(self.case, level) for level in self.at_levels):
            expected = f"{_LEVEL_TEXTS[self.case]} (case {self.case!r})"
            problems.append(str(refused("comparison.levels", expected, self.levels)))
        stray = [level for level in self.tuned_levels or () if level not in self.at_levels]
        if stray:
            problems.append(str(refused("comparison.tuned_levels", "only values of comparison.levels", stray)))
        return problems

    def _name_problems(self) -> list[str]:
        known = (*RELEVANCE_METHODS, *CASE_RULES[self.case])
        problems = [
            f"comparison.criteria: case {self.case!r} knows no {name!r}; {suggestion(name, known)}"
            for name in self.criteria or ()
            if name not in known
        ]
        within = f"one of comparison.criteria ({', '.join(self.compared)})"
        if self.focus not in self.compared:
            problems.append(str(refused("comparison.focus", within, self.focus)))
        stray = [name for name in self.tuned_criteria or () if name not in self.compared]
        if stray:
            problems.append(str(refused("comparison.tuned_criteria", within, stray)))
        return problems

    def _state_problems(self) -> list[str]:
        problems = []
        stray = [state for state in self.states or () if state not in CASE_STATES[self.case]]
        if stray:
            known = " or ".join(CASE_STATES[self.case])
            problems.append(str(refused("comparison.states", f"{known} (case {self.case!r})", stray)))
        if "fine_tuned" in self.in_states and self.training is None:
            problems.append('comparison.training: missing; the state "fine_tuned" needs [comparison.training]')
        scopes = CASE_SCOPES[self.case]
        beyond = [scope for scope in self.scopes if scope not in scopes]
        if beyond:
            problems.append(str(refused("comparison.scopes", f"{' or '.join(scopes)} (case {self.case!r})", beyond)))
        return problems


_LEVEL_TEXTS = {
    "filters": "shares removed, above 0 and below 1",
    "weights": "shares removed, above 0 and below 1",
    "sharing": "whole numbers of shared values in {}..{}".format(*SHARED_VALUES),
    "bits": "average widths in {:g}..{:g}".format(*WIDTHS),
}


def _is_level(case: str, level: float) -> bool:
    if case == "sharing":
        return SHARED_VALUES[0] <= level <= SHARED_VALUES[1] and float(level).is_integer()
    return WIDTHS[0] <= level <= WIDTHS[1] if case == "bits" else 0 < level < 1
