"""Which images a handed-over network is scored on, and how they are made into what it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer.data.archive import read_archive, scale_pixels
from explorer.data.images import ImageSet, ReadSets
from explorer.data.load import normalise
from explorer.dotted import resolve
from explorer.errors import DataError
from explorer.export.record import SPLITS, Record, tell_numbers
from explorer.settings import SOURCES, DataSettings
from explorer.study.study_file import FILE_NAME, Study, load_study

FUNCTION = re.compile(r"[\w.]+:[A-Za-z_]\w*")
KNOWN = tuple(name for name, source in SOURCES.items() if not source.needs and name != "given")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredImages:
    """Images as a network reads them, and the targets that its outputs are scored by.

    `told` says which they are, `are_held_out` that they are the very ones that the export was checked on.
    `normalised` says how they are made of pixels in 0..1, or of what a function returns. `study` is what they were
    named by, if by a study.
    """

    images: ImageSet
    told: str
    are_held_out: bool
    normalised: str
    classes: tuple[str, ...] = ()
    study: Study | None = None


def read_images(given: str, record: Record | None, shapes: tuple[tuple[int, ...], ...] | None) -> ScoredImages:
    """Return the images that `given` names: a data set, an .npz file, a folder, "module:function", or a study file.

    Those that the export held out where they are among them; else what a study holds out, or all images of a test
    part, or of a folder without one. They are normalised as the record says; without one as [data] would.

    Args:
        shapes: Of the network's inputs, channels first: images of a folder are resized to the only one.

    Raises:
        DataError: There is nothing like that, or the images are not what the network reads.
    """
    settings, study = _find_settings(given)
    folder = "." if study is None else study.folder
    shape = shapes[0] if shapes is not None and len(shapes) == 1 and len(shapes[0]) == 3 else None
    told_by = record if record is not None and record.mean is not None else None
    if told_by is not None:
        settings = replace(settings, mean=told_by.mean, std=told_by.std)
    found = None
    if record is not None and record.data is not None and record.data["source"] == settings.source:
        found = _read_held_out(replace(settings, **_split(record.data)), folder, shape, record.images)
    are_held_out = found is not None
    if found is None:
        found = _read_all(settings, folder, shape, held_out=study is not None)
    images, classes, told = found
    if record is not None and record.classes and classes and not are_held_out:
        images = _number_as(images, classes, record.classes, given)
    if not are_held_out:
        are_held_out = record is not None and images.digest() == record.images
    mean, std = settings.normalisation(images.inputs[0].shape[1]) if len(images.inputs) == 1 else ((), ())
    by = "as the artefact says" if told_by is not None else f"as data.source {settings.source!r} does"
    plain = not any(mean) and all(value == 1 for value in std)
    pixels = "pixels in 0..1" if settings.function is None else f"what {settings.function} returns"
    normalised = "as they are" if plain else f"less {tell_numbers(mean)}, through {tell_numbers(std)}"
    return ScoredImages(
        images=images,
        told="those that it was exported on" if are_held_out else told,
        are_held_out=are_held_out,
        normalised=f"{pixels}, {normalised}, {by}",
        classes=classes,
        study=study,
    )


def _find_settings(given: str) -> tuple[DataSettings, Study | None]:
    """Return the section [data] that a text stands for, and the study that it is of."""
    path = Path(given)
    if given in KNOWN:
        return DataSettings(source=given, calibration=1, relevance=1), None
    if FUNCTION.fullmatch(given):
        return DataSettings(source="function", function=given, calibration=1, relevance=1), None
    if path.suffix == ".toml" or (path / FILE_NAME).is_file():
        study = load_study(path)
        return study.data, study
    if path.suffix == ".npz":
        return DataSettings(source="npz", path=given, search=1, held_out=1, calibration=1, relevance=1), None
    if path.is_dir():
        return DataSettings(source="folder", path=given, calibration=1, relevance=1), None
    raise DataError(
        f"data: expected {', '.join(KNOWN)}, a folder of images, an .npz file, module:function or a study file, "
        f"received {given!r}"
    )


def _split(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded split, in which only the held-out images matter: others train where that moves none."""
    kept = {key: data[key] for key in SPLITS if key != "source"}
    return kept if data["source"] in {"digits", "function"} else {**kept, "train": 1, "calibration": 1, "relevance": 1}


def _read(settings: DataSettings, folder: str | Path, shape: tuple[int, ...] | None) -> ReadSets:
    sets: ReadSets = resolve(SOURCES[settings.source].read)(settings, folder, shape)
    return sets


Found = tuple[ImageSet, tuple[str, ...], str]
"""Normalised images, the names of their classes, and what they are in words."""


def _read_held_out(
    settings: DataSettings, folder: str | Path, shape: tuple[int, ...] | None, digest: str
) -> Found | None:
    """Return the held-out images if they are those of the digest."""
    try:
        sets = _read(settings, folder, shape)
    except DataError:  # other images, of which there are too few: they are read as they are
        return None
    images = normalise(sets.held_out, settings)
    return (images, sets.class_names, "") if images.digest() == digest else None


def _read_all(settings: DataSettings, folder: str | Path, shape: tuple[int, ...] | None, *, held_out: bool) -> Found:
    path = settings.find_file(folder)
    if settings.source == "npz" and not held_out and path is not None:
        _, (pixels, labels) = read_archive(path)
        images = ImageSet(inputs=(scale_pixels(pixels),), targets=labels)
        return normalise(images, settings), (), f"the test images of {path.name}"
    sets = _read(settings, folder, shape)
    parts, told = [sets.held_out], f"held-out images of {settings.source}"
    if settings.source == "folder" and not held_out and path is not None:
        parts, told = [sets.search, sets.held_out], f"the images of {path.name}/test"
        if not (path / "test").is_dir():
            parts, told = [sets.train, *parts], f"all images of {path.name}"
    inputs = tuple(np.concatenate(arrays) for arrays in zip(*(part.inputs for part in parts), strict=True))
    images = ImageSet(inputs=inputs, targets=np.concatenate([part.targets for part in parts]))
    return normalise(images, settings), sets.class_names, told


def _number_as(images: ImageSet, own: tuple[str, ...], wanted: tuple[str, ...], given: str) -> ImageSet:
    """Return images whose labels count the classes that the network was made with."""
    unknown = sorted(set(own) - set(wanted))
    if unknown:
        raise DataError(
            f"{given}: has a class {unknown[0]!r}, but the network tells {', '.join(wanted)} apart; rename the folder"
        )
    places = np.array([wanted.index(name) for name in own], dtype=np.int64)
    return ImageSet(inputs=images.inputs, targets=places[images.targets])
