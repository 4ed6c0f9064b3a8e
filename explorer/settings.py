"""The settings of a study as records: one field for each key of the study file, with its rule and default."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from explorer.errors import StudyFileError
from explorer.paths import expand_variables, resolve_path
from explorer.records import named_tables, settle, table
from explorer.rules import (
    arguments,
    boolean,
    integer,
    many,
    number,
    one_of,
    or_none,
    refused,
    text,
)

REFERENCES = ("lenet5_digits", "lenet5", "resnet8", "resnet20", "resnet56")
SOURCES = ("digits", "mnist", "cifar10", "npz")
OBJECTIVES = ("accuracy", "energy", "latency", "weight_memory", "activation_memory")
RELEVANCE_METHODS = ("captum_deeplift",)
SAMPLERS = ("nsga2", "random", "tpe")

DEFAULT_SPLITS = {"digits": (997, 400, 400), "mnist": (None, 5000, 5000), "cifar10": (None, 5000, 5000)}
"""Images in train (None: all), search and held_out."""

DEFAULT_NORMALISATION = {
    "digits": ((0.0,), (1.0,)),
    "mnist": ((0.1307,), (0.3081,)),
    # ImageNet's statistics, which the published CIFAR-10 checkpoints of resnet20 and resnet56 expect.
    "cifar10": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of each channel, of pixels scaled to 0..1."""

FILE = text("a path", r"[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*")
BITS = many(integer(2, 8), distinct=True, ordered=True)
SHARES = many(number(above=0, highest=1), distinct=True, ordered=True)
CODEBOOKS = many(or_none(integer(2, 256)), distinct=True, ordered=True)
COUNT = integer(1)
POSITIVE = number(above=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a network without a checkpoint is trained.

    Images are augmented: moved, turned and zoomed by up to `shift_pixels`, `rotate_degrees` and the share `zoom`,
    and with `flip` mirrored half of the time.
    """

    SECTION: ClassVar[str] = "model.training"
    epochs: Annotated[int, integer(1, 10_000)] = 30
    optimizer: Annotated[str, one_of("adam", "sgd")] = "adam"
    learning_rate: Annotated[float, POSITIVE] = 0.003
    batch_size: Annotated[int, COUNT] = 64
    weight_decay: Annotated[float, number(lowest=0)] = 0.0001
    shift_pixels: Annotated[float, number(lowest=0, highest=64)] = 0.0
    rotate_degrees: Annotated[float, number(lowest=0, highest=180)] = 0.0
    zoom: Annotated[float, number(lowest=0, highest=0.5)] = 0.0
    flip: Annotated[bool, boolean()] = False

    def __post_init__(self) -> None:
        settle(self, self.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which network: a reference network or the user's own factory, with its weights or how to train them.

    `input_shape` is (C, H, W), taken from the data when None. `study_folder`, no key of the file, is where
    relative paths start and where the factory's module is looked for first.
    """

    SECTION: ClassVar[str] = "model"
    reference: Annotated[str | None, one_of(*REFERENCES)] = None
    factory: Annotated[str | None, text('"module:callable"', r"[\w.]+:[A-Za-z_]\w*")] = None
    arguments: Annotated[tuple[tuple[str, Any], ...], arguments()] = ()
    checkpoint: Annotated[str | None, FILE] = None
    input_shape: Annotated[tuple[int, int, int] | None, many(COUNT, length=3)] = None
    training: Annotated[TrainingSettings | None, table(TrainingSettings)] = None
    study_folder: str = field(default=".", compare=False)

    def __post_init__(self) -> None:
        settle(self, self.SECTION)
        problems = []
        if (self.reference is None) == (self.factory is None):
            received = "neither" if self.reference is None else "both"
            problems.append(f"model: expected exactly one of reference and factory, received {received}")
        if self.reference is not None and self.arguments:
            problems.append("model.arguments: only a factory takes arguments; remove them, or name a factory")
        if self.checkpoint is None and self.training is None:
            problems.append("model: the network has no weights; give checkpoint, or how to train in [model.training]")
        if problems:
            raise StudyFileError(tuple(problems))

    @property
    def checkpoint_path(self) -> Path | None:
        """The checkpoint's full path; StudyFileError when a variable in it is not set."""
        if self.checkpoint is None:
            return None
        return resolve_path(self.checkpoint, self.study_folder, "model.checkpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which images, how they are normalised, and how many go where.

    `train` None means all training images. `calibration` and `relevance` images are drawn from train. All
    draws are fixed by `split_seed`.
    """

    SECTION: ClassVar[str] = "data"
    source: Annotated[str, one_of(*SOURCES)]
    path: Annotated[str | None, FILE] = None
    mean: Annotated[tuple[float, ...] | None, many(number())] = None
    std: Annotated[tuple[float, ...] | None, many(POSITIVE)] = None
    train: Annotated[int | None, COUNT] = None
    search: Annotated[int | None, COUNT] = None
    held_out: Annotated[int | None, COUNT] = None
    calibration: Annotated[int, COUNT] = 256
    relevance: Annotated[int, COUNT] = 64
    split_seed: Annotated[int, integer(0, 2**32 - 1)] = 0
    study_folder: str = field(default=".", compare=False)

    def __post_init__(self) -> None:
        settle(self, self.SECTION)
        self._fill_defaults()
        problems = []
        if self.source == "npz" and self.path is None:
            problems.append('data.path: missing; source "npz" needs the path of a .npz file')
        if self.source == "digits" and self.path is not None:
            problems.append('data.path: source "digits" is built in and takes no path; remove it')
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            counts = f"{len(self.mean)}), received {len(self.std)}"
            problems.append(f"data.std: expected as many values as in data.mean ({counts}")
        for key in ("search", "held_out"):
            if getattr(self, key) is None:
                problems.append(f'data.{key}: missing; source "npz" needs the number of images')
        for key in ("calibration", "relevance"):
            if self.train is not None and getattr(self, key) > self.train:
                problems.append(
                    f"data.{key}: expected at most data.train ({self.train}), received {getattr(self, key)}"
                )
        if problems:
            raise StudyFileError(tuple(problems))

    def _fill_defaults(self) -> None:
        splits = DEFAULT_SPLITS.get(self.source, (None, None, None))
        mean, std = DEFAULT_NORMALISATION.get(self.source, (None, None))
        defaults = {
            **dict(zip(("train", "search", "held_out"), splits, strict=True)),
            "mean": mean,
            "std": std,
        }
        for key, value in defaults.items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)

    @property
    def file_path(self) -> Path | None:
        """The .npz file: `path`, else EXPLORER_DATA/<source>.npz, else None (digits, or variable unset)."""
        if self.path is not None:
            return resolve_path(self.path, self.study_folder, "data.path")
        folder = os.environ.get("EXPLORER_DATA")
        return Path(folder) / f"{self.source}.npz" if folder and self.source in ("mnist", "cifar10") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """Which device: the name of a profile, or the path of a TOML device file."""

    SECTION: ClassVar[str] = "device"
    profile: Annotated[str, text("the name of a device, or the path of a .toml file")]
    study_folder: str = field(default=".", compare=False)

    def __post_init__(self) -> None:
        settle(self, self.SECTION)

    @property
    def location(self) -> str:
        """The name, or the full path where `profile` is a .toml file."""
        if not self.profile.endswith(".toml"):
            return self.profile
        return str(resolve_path(self.profile, self.study_folder, "device.profile"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """What is traded off: accuracy is maximised, all else is minimised."""

    SECTION: ClassVar[str] = "objectives"
    names: Annotated[tuple[str, ...], many(one_of(*OBJECTIVES), distinct=True)]

    def __post_init__(self) -> None:
        settle(self, self.SECTION)
        if len(self.names) < 2 or "accuracy" not in self.names:
            raise refused("objectives.names", 'a list of "accuracy" and at least one other', self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """Limits that a candidate must keep; None is no limit.

    Costs are those of one image. `accuracy` is the least share of the search images to be right, in (0, 1]; it
    is the only limit that takes a scored network to be seen.
    """

    SECTION: ClassVar[str] = "budgets"
    energy_uj: Annotated[float | None, POSITIVE] = None
    latency_ms: Annotated[float | None, POSITIVE] = None
    weight_bytes: Annotated[int | None, COUNT] = None
    activation_bytes: Annotated[int | None, COUNT] = None
    accuracy: Annotated[float | None, number(above=0, highest=1)] = None

    def __post_init__(self) -> None:
        settle(self, self.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpace:
    """What differs from the rest of the space for the layer of that name; None is as everywhere."""

    layer: str
    weight_bits: Annotated[tuple[int, ...] | None, BITS] = None
    activation_bits: Annotated[tuple[int, ...] | None, BITS] = None
    kept_filters: Annotated[tuple[float, ...] | None, SHARES] = None
    kept_weights: Annotated[tuple[float, ...] | None, SHARES] = None
    codebook_sizes: Annotated[tuple[int | None, ...] | None, CODEBOOKS] = None

    def __post_init__(self) -> None:
        settle(self, f"space.layers.{self.layer}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSettings:
    """What may be chosen for a layer; a codebook size None is a layer without shared weights."""

    SECTION: ClassVar[str] = "space"
    weight_bits: Annotated[tuple[int, ...], BITS] = (2, 3, 4, 5, 6, 7, 8)
    activation_bits: Annotated[tuple[int, ...], BITS] = (4, 6, 8)
    kept_filters: Annotated[tuple[float, ...], SHARES] = (1.0,)
    kept_weights: Annotated[tuple[float, ...], SHARES] = (1.0,)
    codebook_sizes: Annotated[tuple[int | None, ...], CODEBOOKS] = (None,)
    layers: Annotated[tuple[LayerSpace, ...], named_tables(LayerSpace)] = ()

    def __post_init__(self) -> None:
        settle(self, self.SECTION)

    def for_layer(self, name: str) -> SpaceSettings:
        """The space of one layer, its own settings filled in."""
        own = next((entry for entry in self.layers if entry.layer == name), None)
        keys = ("weight_bits", "activation_bits", "kept_filters", "kept_weights", "codebook_sizes")
        values = {key: getattr(self, key) if (value := getattr(own, key, None)) is None else value for key in keys}
        return SpaceSettings(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceSettings:
    """How the relevance of filters and weights is computed, and how complete it must be."""

    SECTION: ClassVar[str] = "relevance"
    method: Annotated[str, one_of(*RELEVANCE_METHODS)] = "captum_deeplift"
    target: Annotated[str, one_of("true", "predicted")] = "predicted"
    tolerance: Annotated[float, POSITIVE] = 1e-3
    reference: Annotated[str, one_of("shuffled", "zero")] = "shuffled"

    def __post_init__(self) -> None:
        settle(self, self.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How long and how the space is searched.

    `seeds` counts the candidates that start the search; a search of fewer trials evaluates the first of them, and
    goes on with the others once it is given more trials.
    """

    SECTION: ClassVar[str] = "search"
    trials: Annotated[int, integer(1, 1_000_000)] = 400
    population: Annotated[int, integer(2, 10_000)] = 20
    seeds: Annotated[int, integer(0, 10_000)] = 20
    sampler: Annotated[str, one_of(*SAMPLERS)] = "nsga2"
    storage: Annotated[str, text('"journal" or a database URL', r"journal|\$\{\w+\}|[a-z0-9+]+://\S*")] = "journal"
    device: Annotated[str, one_of("cpu", "cuda", "auto")] = "auto"
    batch_size: Annotated[int, COUNT] = 256

    def __post_init__(self) -> None:
        settle(self, self.SECTION)

    @property
    def storage_url(self) -> str:
        """`storage` with its environment variables filled in; StudyFileError when one is not set."""
        return expand_variables(self.storage, "search.storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """Where the results go."""

    SECTION: ClassVar[str] = "output"
    folder: Annotated[str, FILE] = "results"
    study_folder: str = field(default=".", compare=False)

    def __post_init__(self) -> None:
        settle(self, self.SECTION)

    @property
    def path(self) -> Path:
        """The full path of the results' folder."""
        return resolve_path(self.folder, self.study_folder, "output.folder")
