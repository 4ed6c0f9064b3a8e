"""The [data] section: which images, how they are normalised, and how many go where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.paths import resolve_path
from explorer.settings.records import validate
from explorer.settings.rules import integer, many, number, one_of
from explorer.settings.values import COUNT, FILE

SOURCES = ("digits", "mnist", "cifar10", "npz", "folder")

DEFAULT_SPLITS = {"digits": (997, 400, 400), "mnist": (None, 5000, 5000), "cifar10": (None, 5000, 5000)}
"""Images in train (None: all), search and held_out."""

DEFAULT_NORMALISATION = {
    "digits": ((0.0,), (1.0,)),
    "mnist": ((0.1307,), (0.3081,)),
    # ImageNet's statistics, which the published CIFAR-10 checkpoints of resnet20 and resnet56 expect.
    "cifar10": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of each channel, of pixels scaled to 0..1."""

FOLDER_NORMALISATION = {1: ((0.5,), (0.5,)), 3: DEFAULT_NORMALISATION["cifar10"]}
"""The same of a folder's images, by channels: RGB as torchvision's networks expect it, grey to -1..1 (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which images, how they are normalised, and how many go where.

    `train` None means all training images; of a folder's test images, `search` and `held_out` are half each where
    they are None. `calibration` and `relevance` images are drawn from train. `test_share` is the share of each class
    that is for testing in a folder without a test part of its own. All draws are fixed by `split_seed`.
    """

    SECTION: ClassVar[str] = "data"
    AFFECTS_RESULTS: ClassVar[bool] = True
    source: Annotated[str, one_of(*SOURCES)]
    path: Annotated[str | None, FILE] = None
    mean: Annotated[tuple[float, ...] | None, many(number(-1e6, 1e6))] = None
    std: Annotated[tuple[float, ...] | None, many(number(1e-6, 1e6))] = None
    train: Annotated[int | None, COUNT] = None
    search: Annotated[int | None, COUNT] = None
    held_out: Annotated[int | None, COUNT] = None
    calibration: Annotated[int, COUNT] = 256
    relevance: Annotated[int, COUNT] = 64
    split_seed: Annotated[int, integer(0, 2**32 - 1)] = 0
    test_share: Annotated[float | None, number(0, 0.9, above=True)] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
        self._fill_defaults()
        problems = []
        if self.source == "npz" and self.path is None:
            problems.append('data.path: missing; source "npz" needs the path of a .npz file')
        if self.source == "folder" and self.path is None:
            problems.append('data.path: missing; source "folder" needs the path of a folder of images')
        if self.source != "folder" and self.test_share is not None:
            problems.append('data.test_share: only source "folder" takes it; remove it')
        if self.source == "digits" and self.path is not None:
            problems.append('data.path: source "digits" is built in and takes no path; remove it')
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            counts = f"{len(self.mean)}), received {len(self.std)}"
            problems.append(f"data.std: expected as many values as in data.mean ({counts}")
        for key in ("search", "held_out"):
            if getattr(self, key) is None and self.source != "folder":
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

    def find_file(self, study_folder: str | Path) -> Path | None:
        """Return the file or folder: `path`, else EXPLORER_DATA/<source>.npz, else None (digits, or variable unset)."""
        if self.path is not None:
            return resolve_path(self.path, study_folder, "data.path")
        folder = os.environ.get("EXPLORER_DATA")
        return Path(folder) / f"{self.source}.npz" if folder and self.source in ("mnist", "cifar10") else None
