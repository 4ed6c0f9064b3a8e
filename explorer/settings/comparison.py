"""The [comparison] section: which criteria are compared, in what they decide, and at which levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.model import TrainingSettings
from explorer.settings.records import table, validate
from explorer.settings.rules import entry_of, integer, many, number, one_of, refused, text
from explorer.settings.values import COUNT

STATES = ("uncorrected", "recalibrated", "fine_tuned")
COMPARISON_SCOPES = ("layer", "global", "global_normalised")
SHARED_VALUES = (2, 256)
WIDTHS = (2.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a criterion decides: by which function, what it must say something of, and what a study may ask for."""

    path: str
    """Dotted path of the function that makes a choice of a place."""
    needs: str
    """Subject of the criterion."""
    levels: tuple[float, ...]
    """The levels where none are named."""
    level_text: str
    is_level: Callable[[float], bool]
    states: tuple[str, ...]
    """The first ones that need no training are the default."""
    scopes: tuple[str, ...] = ("layer",)
    rules: tuple[str, ...] = ()
    """What decides beside the criteria of relevance, and needs no table of its own."""
    axis: str
    """Title of the levels."""
    shown: str
    """Format of a level in a title, after `factor`."""
    factor: float = 1.0
    logarithmic: bool = False
    state_titles: Mapping[str, str] = field(default_factory=dict)
    """Of states that are called otherwise than in other cases."""
    widths_of_space: bool = False
    """Whether it chooses among the widths in [space]."""


def _is_share(level: float) -> bool:
    return 0 < level < 1


CASES: Mapping[str, Case] = {
    "filters": Case(
        path="explorer.comparison.cases:choose_filters",
        needs="filters",
        levels=(0.1, 0.25, 0.4, 0.5),
        level_text="shares removed, above 0 and below 1",
        is_level=_is_share,
        states=STATES,
        scopes=COMPARISON_SCOPES,
        axis="Filters removed (%)",
        shown="{:g} % removed",
        factor=100.0,
    ),
    "weights": Case(
        path="explorer.comparison.cases:choose_weights",
        needs="weights",
        levels=(0.5, 0.7, 0.8, 0.9),
        level_text="shares removed, above 0 and below 1",
        is_level=_is_share,
        states=STATES[:2],
        scopes=COMPARISON_SCOPES[:2],
        rules=("magnitude",),
        axis="Weights removed (%)",
        shown="{:g} % removed",
        factor=100.0,
    ),
    "sharing": Case(
        path="explorer.comparison.cases:choose_sharing",
        needs="weights",
        levels=(4, 8, 16, 32),
        level_text="whole numbers of shared values in {}..{}".format(*SHARED_VALUES),
        is_level=lambda level: SHARED_VALUES[0] <= level <= SHARED_VALUES[1] and float(level).is_integer(),
        states=STATES[:2],
        rules=("plain", "saliency"),
        axis="Values shared in a layer",
        shown="{:g} values",
        logarithmic=True,
    ),
    "bits": Case(
        path="explorer.comparison.cases:choose_bits",
        needs="weights",
        levels=(2.5, 3, 4),
        level_text="average widths in {:g}..{:g}".format(*WIDTHS),
        is_level=lambda level: WIDTHS[0] <= level <= WIDTHS[1],
        states=("recalibrated",),
        rules=("uniform", "proportional", "measured_kl"),
        axis="Average width of a weight (bits)",
        shown="{:g} bits",
        state_titles={"recalibrated": "quantised, recalibrated"},
        widths_of_space=True,
    ),
    "steps": Case(
        path="explorer.comparison.cases:choose_steps",
        needs="weights",
        levels=(1.5, 2, 2.5),
        level_text=f"bits a weight above 0, at most {WIDTHS[1]:g}",
        is_level=lambda level: 0 < level <= WIDTHS[1],
        states=("recalibrated",),
        rules=("equal", "widths", "nearest", "ecq", "ecqx"),
        axis="Entropy of a weight (bits)",
        shown="{:g} bits",
        state_titles={"recalibrated": "quantised, recalibrated"},
    ),
}
"""Name in a study file to case. A new one is a function and an entry here."""

_LEVELS = many(number(0, SHARED_VALUES[1], above=True), distinct=True, ordered=True)
_NAMES = many(text("the name of a criterion", r"[a-z0-9_]+"), distinct=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """Networks compressed as each criterion says, otherwise alike, and scored on the same search images.

    `case`: which "filters" or single "weights" are removed, what an error of a weight counts when weights come to
    share values ("sharing"), which widths weights have ("bits"), or which steps, coded at their entropy ("steps").
    `levels` are the shares removed, the values that a layer shares, or the average widths or entropies in bits.
    `criteria` are methods of relevance that say something of the case, or its own rules; all of both where None, but
    for Captum's form of DeepLIFT. `focus` is the one whose differences to all others are reported.

    `seeds` draw the images that relevance is computed on, and what a criterion draws. `scopes`: the same share of
    every "layer" (channel group), the least of the whole network ("global"), or that after the scores of each layer
    were divided by their l2 norm ("global_normalised", of filters only). `states`: as it is then, with batch
    norms recalibrated on the calibration images, or trained for `training` on `tuned_images` (None: all) of the
    training images, at `tuned_levels` for `tuned_criteria` (None: all).
    """

    SECTION: ClassVar[str] = "comparison"
    AFFECTS_RESULTS: ClassVar[bool] = False
    case: Annotated[str, entry_of(CASES)] = "filters"
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
        problems = [*self._level_problems(), *self._state_problems()]
        if problems:
            raise StudyFileError(tuple(problems))

    @property
    def of_case(self) -> Case:
        """What the case is."""
        return CASES[self.case]

    @property
    def at_levels(self) -> tuple[float, ...]:
        """The levels, those of the case where none are named."""
        return self.of_case.levels if self.levels is None else self.levels

    @property
    def in_states(self) -> tuple[str, ...]:
        """The states, those without training where none are named."""
        named = self.states or tuple(state for state in self.of_case.states if state != "fine_tuned")
        return tuple(state for state in STATES if state in named)

    def _level_problems(self) -> list[str]:
        problems = []
        if not all(self.of_case.is_level(level) for level in self.at_levels):
            expected = f"{self.of_case.level_text} (case {self.case!r})"
            problems.append(str(refused("comparison.levels", expected, self.levels)))
        stray = [level for level in self.tuned_levels or () if level not in self.at_levels]
        if stray:
            problems.append(str(refused("comparison.tuned_levels", "only values of comparison.levels", stray)))
        return problems

    def _state_problems(self) -> list[str]:
        problems = []
        stray = [state for state in self.states or () if state not in self.of_case.states]
        if stray:
            known = " or ".join(self.of_case.states)
            problems.append(str(refused("comparison.states", f"{known} (case {self.case!r})", stray)))
        if "fine_tuned" in self.in_states and self.training is None:
            problems.append('comparison.training: missing; the state "fine_tuned" needs [comparison.training]')
        scopes = self.of_case.scopes
        beyond = [scope for scope in self.scopes if scope not in scopes]
        if beyond:
            problems.append(str(refused("comparison.scopes", f"{' or '.join(scopes)} (case {self.case!r})", beyond)))
        return problems
