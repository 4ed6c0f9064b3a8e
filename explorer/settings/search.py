"""What is searched, for which device and objectives, within which budgets, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from explorer.errors import StudyFileError
from explorer.objectives import SCORE, Objective, every_cost
from explorer.settings.records import get_rules, named_tables, read_record, read_values, validate
from explorer.settings.rules import (
    Rule,
    integer,
    many,
    number,
    one_of,
    or_none,
    refused,
    suggestion,
    text,
    without_effect,
)
from explorer.settings.values import (
    BITS,
    BLOCK_COUNTS,
    CODEBOOKS,
    FILE,
    OFFSETS,
    PATTERNS,
    SHARE,
    SHARES,
    STEPS,
    WEIGHT_BITS,
)

LIMIT = number(1e-9, 1e12)
"""From femtojoules and picoseconds to a megajoule and thirty years, for one image."""
BYTES = integer(1, 2**50)
"""Up to a data centre's memory."""
BLOCK_CRITERIA = ("relevance", "features", "measured_kl")
RENAMED = {"kept_filters": "filter_keep_ratio", "kept_weights": "weight_density"}
"""Keys of a choice that had another name before version 0.6."""
NAMES = Rule(
    "a list of the score's name and at least one cost",
    lambda names, where: tuple(names) if isinstance(names, list) else names,
    schema=lambda: {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
)
"""Anything: which names there are depends on what the study calls its score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """Which device: the name of a profile, or the path of a TOML device file."""

    SECTION: ClassVar[str] = "device"
    AFFECTS_RESULTS: ClassVar[bool] = True
    profile: Annotated[str, text("the name of a device, or the path of a .toml file")]

    def __post_init__(self) -> None:
        validate(self, self.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """What is traded off: the score is maximised, costs are minimised."""

    SECTION: ClassVar[str] = "objectives"
    AFFECTS_RESULTS: ClassVar[bool] = True
    names: Annotated[tuple[str, ...], NAMES]

    def __post_init__(self) -> None:
        validate(self, self.SECTION)

    def check(self, score: str) -> None:
        """Raise StudyFileError unless these are the score, by its name, and at least one cost."""
        known = one_of(score, *(cost.name for cost in every_cost()))
        names = many(known, distinct=True).read(self.names, "objectives.names")
        if len(names) < 2 or score not in names:
            raise refused("objectives.names", f'a list of "{score}" and at least one other', names)


def rename_key(entries: Mapping[str, Any], key: str, other: str) -> dict[str, Any]:
    """Return the entries with another name for one key."""
    return {other if name == key else name: value for name, value in entries.items()}


@dataclass(frozen=True, slots=True, init=False)
class BudgetSettings:
    """Limits that a candidate must keep, each by the key of an objective; None is no limit.

    Costs are those of one image. That of the score is the least share, in (0, 1]; it is the only limit that takes
    a scored network to be seen.
    """

    SECTION: ClassVar[str] = "budgets"
    AFFECTS_RESULTS: ClassVar[bool] = True
    limits: tuple[tuple[str, float], ...]
    """(key, limit) of those that are set."""

    def __init__(self, **limits: float | None) -> None:
        rules = self.key_rules()
        unknown = [f"budgets.{key}: unknown key; {suggestion(key, rules)}" for key in limits if key not in rules]
        if unknown:
            raise StudyFileError(tuple(unknown))
        given = {key: limits[key] for key in rules if limits.get(key) is not None}
        object.__setattr__(self, "limits", tuple(read_values(rules, given, self.SECTION).items()))

    @staticmethod
    def key_rules() -> Mapping[str, Rule]:
        """Return the rule of each key."""
        counted = {objective.key: BYTES if objective.whole else LIMIT for objective in every_cost()}
        return {**counted, SCORE.key: SHARE}

    @classmethod
    def read(cls, entries: Mapping[str, Any], score: str = SCORE.key) -> BudgetSettings:
        """Read the section of a study whose score is called `score`, which is also the key of its limit.

        Raises:
            StudyFileError: Holds every problem.
        """
        if score == SCORE.key:
            return read_record(cls, entries, cls.SECTION)
        if SCORE.key in entries:
            raise StudyFileError((f"budgets.{SCORE.key}: unknown key; the score is called {score}",))
        try:
            return read_record(cls, rename_key(entries, score, SCORE.key), cls.SECTION)
        except StudyFileError as error:
            raise StudyFileError(tuple(problem.replace(SCORE.key, score) for problem in error.problems)) from None

    def limit(self, objective: Objective) -> float | None:
        """Return the limit of an objective, None where it has none."""
        return dict(self.limits).get(objective.key)

    def __getattr__(self, key: str) -> float | None:
        """Return the limit of a key, so that keys are attributes as in other sections."""
        if key not in self.key_rules():
            raise AttributeError(key)
        return dict(self.limits).get(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpace:
    """What differs from the rest of the space for the layer of that name; None is as everywhere.

    Example:
        >>> import explorer
        >>> first = explorer.LayerSpace(layer="conv1", weight_bits=(8,))
        >>> explorer.Space(layers=(first,)).for_layer("conv1").weight_bits
        (8,)
    """

    RENAMED: ClassVar[Mapping[str, str]] = RENAMED
    layer: str
    weight_bits: Annotated[tuple[int, ...] | None, WEIGHT_BITS] = None
    activation_bits: Annotated[tuple[int, ...] | None, BITS] = None
    filter_keep_ratio: Annotated[tuple[float, ...] | None, SHARES] = None
    weight_density: Annotated[tuple[float, ...] | None, SHARES] = None
    codebook_sizes: Annotated[tuple[int | None, ...] | None, CODEBOOKS] = None
    patterns: Annotated[tuple[str | None, ...] | None, PATTERNS] = None
    step_offsets: Annotated[tuple[float, ...] | None, OFFSETS] = None

    def __post_init__(self) -> None:
        validate(self, f"space.layers.{self.layer}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSettings:
    """What may be chosen for a layer; a codebook size None is a layer without shared weights, a pattern None any.

    `filter_criteria` are criteria by whose order a candidate may remove its filters beside that of the study's
    own, `relevance.method`: one more choice for the network as a whole.

    `steps` are values of one number for the network, in which all layers' weights are stored at their entropy instead
    of a width; None is the widths. Each layer's step is that number times 2 to one of its `step_offsets`.

    `removed_blocks` are numbers of blocks, residual ones or layers between equal shapes, that a candidate may lack:
    those that are least by `block_criterion`, the "relevance" of their filters, what they add to the "features"
    that a linear classifier reads, or, one after the other, the divergence of the outputs that is measured without
    them, "measured_kl".

    Example:
        >>> import explorer
        >>> space = explorer.Space(weight_bits=(2, 4, 8), layers={"fc": {"weight_bits": (8,)}})
        >>> space.for_layer("fc").weight_bits, space.for_layer("conv1").weight_bits
        ((8,), (2, 4, 8))
    """

    SECTION: ClassVar[str] = "space"
    AFFECTS_RESULTS: ClassVar[bool] = True
    RENAMED: ClassVar[Mapping[str, str]] = RENAMED
    weight_bits: Annotated[tuple[int, ...], WEIGHT_BITS] = (2, 3, 4, 5, 6, 7, 8)
    activation_bits: Annotated[tuple[int, ...], BITS] = (4, 6, 8)
    filter_keep_ratio: Annotated[tuple[float, ...], SHARES] = (1.0,)
    weight_density: Annotated[tuple[float, ...], SHARES] = (1.0,)
    codebook_sizes: Annotated[tuple[int | None, ...], CODEBOOKS] = (None,)
    patterns: Annotated[tuple[str | None, ...], PATTERNS] = (None,)
    steps: Annotated[tuple[float | None, ...], STEPS] = (None,)
    step_offsets: Annotated[tuple[float, ...], OFFSETS] = (0.0,)
    removed_blocks: Annotated[tuple[int, ...], BLOCK_COUNTS] = (0,)
    block_criterion: Annotated[str, one_of(*BLOCK_CRITERIA)] = "measured_kl"
    filter_criteria: Annotated[
        tuple[str, ...] | None, or_none(many(text("the name of a criterion"), distinct=True))
    ] = None
    layers: Annotated[tuple[LayerSpace, ...], named_tables(LayerSpace)] = ()

    def __post_init__(self) -> None:
        validate(self, self.SECTION)

    def for_layer(self, name: str) -> SpaceSettings:
        """Return the space of one layer, its own settings filled in."""
        own = next((entry for entry in self.layers if entry.layer == name), None)
        values = {key: getattr(own, key, None) for key in get_rules(LayerSpace)}
        return SpaceSettings(**{key: getattr(self, key) if value is None else value for key, value in values.items()})


_STORAGE = text('"journal" or a database URL', r"journal|\$\{\w+\}|[a-z0-9+]+://\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How long and how the space is searched.

    `seeds` counts the candidates that start the search; a search of fewer trials evaluates the first of them, and
    goes on with the others once it is given more trials. `lag` is how many candidates may be evaluated at once: trial n
    is proposed from the results of trials 0 to n - lag, whoever evaluates them. `sampling_error` is the largest
    standard error of a score as an estimate of that on all search images, in shares: where these are 1,024 or more, a
    candidate is scored on as few as that takes, members of the front on all of them; 0 scores every candidate on all.
    With `least_gain` the search ends before its last trial once a further one is expected to add less than this share
    to the hypervolume of the front, by a sampler that predicts it; 0 ends it by `trials` alone.
    So many `beacons` are tuned for an epoch once the search is over, to tell what the others would gain.
    """

    SECTION: ClassVar[str] = "search"
    AFFECTS_RESULTS: ClassVar[bool] = True
    RENAMED: ClassVar[Mapping[str, str]] = {"device": "compute.device", "batch_size": "compute.batch_size"}
    trials: Annotated[int, without_effect(integer(1, 1_000_000))] = 400
    population: Annotated[int, integer(2, 10_000)] = 20
    seeds: Annotated[int, integer(0, 10_000)] = 20
    lag: Annotated[int, integer(1, 10_000)] = 8
    sampling_error: Annotated[float, number(0.0, 0.5)] = 0.007
    least_gain: Annotated[float, without_effect(number(0.0, 1.0))] = 0.0
    sampler: Annotated[str, text("the name of a sampler")] = "bayes"
    beacons: Annotated[int, without_effect(integer(0, 1_000))] = 0
    storage: Annotated[str, without_effect(_STORAGE)] = "journal"

    def __post_init__(self) -> None:
        validate(self, self.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Where the results go."""

    SECTION: ClassVar[str] = "output"
    AFFECTS_RESULTS: ClassVar[bool] = False
    folder: Annotated[str, FILE] = "results"

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
