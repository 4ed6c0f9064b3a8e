"""The [data] section: which images, how they are normalised, and how many go where."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.settings.paths import resolve_path
from explorer.settings.records import validate
from explorer.settings.rules import entry_of, integer, many, number
from explorer.settings.sources import SOURCES, Normalisation, Source
from explorer.settings.values import COUNT, FILE, FUNCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which images, how they are normalised, and how many go where.

    `train` None means all training images; of the test images, `search` and `held_out` are half each where
    they are None. `calibration` and `relevance` images are drawn from train. `test_share` is the share of each class
    that is for testing in a folder without a test part of its own. `function` names the user's own, which returns the
    images and what the network is to give for them (`explorer.data.function`). All draws are fixed by `split_seed`.
    """

    SECTION: ClassVar[str] = "data"
    AFFECTS_RESULTS: ClassVar[bool] = True
    source: Annotated[str, entry_of(SOURCES)]
    path: Annotated[str | None, FILE] = None
    function: Annotated[str | None, FUNCTION] = None
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
        source = SOURCES[self.source]
        self._fill_defaults(source)
        problems = [
            f'data.{key}: missing; source "{self.source}" needs {what}'
            for key, what in source.needs.items()
            if getattr(self, key) is None
        ]
        for key in ("path", "function", "test_share"):
            if getattr(self, key) is not None and key not in {*source.needs, *source.takes}:
                takers = [name for name, each in SOURCES.items() if key in {*each.needs, *each.takes}]
                problems.append(f"data.{key}: only source {' or '.join(map(json.dumps, takers))} takes it; remove it")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            counts = f"{len(self.mean)}), received {len(self.std)}"
            problems.append(f"data.std: expected as many values as in data.mean ({counts}")
        for key in ("search", "held_out"):
            if getattr(self, key) is None and not source.optional_splits:
                problems.append(f'data.{key}: missing; source "{self.source}" needs the number of images')
        for key in ("calibration", "relevance"):
            if self.train is not None and getattr(self, key) > self.train:
                problems.append(
                    f"data.{key}: expected at most data.train ({self.train}), received {getattr(self, key)}"
                )
        if problems:
            raise StudyFileError(tuple(problems))

    def _fill_defaults(self, source: Source) -> None:
        """Put in the source's splits, and its normalisation where that depends on nothing else."""
        (mean, std) = next(iter(source.normalisation.values())) if len(source.normalisation) == 1 else (None, None)
        splits = dict(zip(("train", "search", "held_out"), source.splits, strict=True))
        for key, value in {**splits, "mean": mean, "std": std}.items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)

    def normalisation(self, channels: int) -> Normalisation:
        """Return mean and standard deviation of each channel that images are normalised by."""
        mean, std = SOURCES[self.source].normalise(channels)
        return self.mean or mean, self.std or std

    def find_file(self, start: str | Path) -> Path | None:
        """Return the file or folder: `path`, relative to `start`, else EXPLORER_DATA/<source>.npz, else None."""
        if self.path is not None:
            return resolve_path(self.path, start, "data.path")
        folder = os.environ.get("EXPLORER_DATA")
        return Path(folder) / f"{self.source}.npz" if folder and "path" in SOURCES[self.source].takes else None
