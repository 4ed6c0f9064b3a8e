"""From the [data] settings to the images of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.data.archive import Raw, read_archive
from explorer.data.decode import read_images
from explorer.data.draws import permutation
from explorer.data.folder import find_images
from explorer.data.images import Data, ImageSet
from explorer.errors import DataError
from explorer.settings import DataSettings
from explorer.settings.data import FOLDER_NORMALISATION

CLASSES = {"digits": 10, "mnist": 10, "cifar10": 10}


def load_data(
    settings: DataSettings, input_shape: tuple[int, int, int] | None = None, folder: str | Path = "."
) -> Data:
    """Load, check, normalise and split the images; the same settings give the same sets.

    The digits (1,797 images) are shuffled and split within each class. Sets with a published test split, and folders
    of images, give train from their training images, and search and held_out from their test images. Images of a
    folder are resized to `input_shape`, the network's (C, H, W), where it is given. Relative paths start in `folder`.
    Raises DataError.
    """
    names: tuple[str, ...] = ()
    path = settings.find_file(folder)
    if settings.source == "digits":
        images, labels = _read_digits()
        counts = (settings.train or 0, settings.search or 0, settings.held_out or 0)
        train, search, held_out = _split_by_class(labels, counts, settings.split_seed)
        classes = CLASSES["digits"]
        sets = [ImageSet(images=images[chosen], labels=labels[chosen]) for chosen in (train, search, held_out)]
    elif settings.source == "folder":
        names, sets = _folder_split(settings, path, input_shape)
        classes = len(names)
    else:
        sets = _published_split(settings, path)
        classes = _classes(settings, path, sets)
    sets = [_normalised(images, settings) for images in sets]
    train_set = sets[0]
    channels, height, width = train_set.images.shape[1:]
    return Data(
        name=settings.source if settings.path is None else f"{settings.source}:{settings.path}",
        classes=classes,
        class_names=names,
        input_shape=(channels, height, width),
        train=train_set,
        search=sets[1],
        held_out=sets[2],
        calibration=_draw(train_set, "calibration", settings.calibration, settings.split_seed),
        relevance=_draw(train_set, "relevance", settings.relevance, settings.split_seed),
    )


def _read_digits() -> Raw:
    from sklearn.datasets import load_digits  # noqa: PLC0415  (a second of import, for this source only)

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return images, labels.astype(np.int64)


def _published_split(settings: DataSettings, path: Path | None) -> list[ImageSet]:
    if path is None:
        raise DataError(
            f'data.path: source "{settings.source}" needs a file; set EXPLORER_DATA to the folder that holds '
            f"{settings.source}.npz, or data.path to the file"
        )
    (train_x, train_y), (test_x, test_y) = read_archive(path)
    parts = {"x_train": len(train_y), "x_test": len(test_y)}
    counts = (settings.train, settings.search or 0, settings.held_out or 0)
    train, search, held_out = _choose(parts, counts, path, settings.split_seed)
    return [
        ImageSet(images=train_x[train], labels=train_y[train]),
        ImageSet(images=test_x[search], labels=test_y[search]),
        ImageSet(images=test_x[held_out], labels=test_y[held_out]),
    ]


def _folder_split(
    settings: DataSettings, path: Path | None, input_shape: tuple[int, int, int] | None
) -> tuple[tuple[str, ...], list[ImageSet]]:
    """Class names, and the three sets of a folder; only the images that are in them are read."""
    assert path is not None  # the settings demand it
    folder = find_images(path, settings.test_share, settings.split_seed)
    parts = {"its training part": len(folder.train), "its test part": len(folder.test)}
    counts = (settings.train, *_halves(len(folder.test), settings.search, settings.held_out))
    train, search, held_out = _choose(parts, counts, path, settings.split_seed)
    chosen = (folder.train.take(train), folder.test.take(search), folder.test.take(held_out))
    images = read_images([file for files in chosen for file in files.paths], input_shape)
    ends = np.cumsum([len(files) for files in chosen])
    return folder.classes, [
        ImageSet(images=part, labels=files.labels)
        for part, files in zip(np.split(images, ends[:-1]), chosen, strict=True)
    ]


def _halves(count: int, search: int | None, held_out: int | None) -> tuple[int, int]:
    """How many of `count` test images score candidates and the final front: half each where nothing is said."""
    if search is None:
        search = count // 2 if held_out is None else max(0, count - held_out)
    if held_out is None:
        held_out = max(0, count - search)
    if search < 1 or held_out < 1:
        raise DataError(
            f"data.search + data.held_out: expected at least one image in each, received {search} + {held_out} "
            f"of {count} test images; add images, or change data.search and data.held_out"
        )
    return search, held_out


def _choose(
    parts: Mapping[str, int], counts: tuple[int | None, int, int], path: Path, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Indices of train, and of search and held_out, among the images of the training and of the test part."""
    (train_name, train_size), (test_name, test_size) = parts.items()
    train, search, held_out = train_size if counts[0] is None else counts[0], counts[1], counts[2]
    if train > train_size:
        raise DataError(
            f"data.train: expected at most the {train_size} images of {train_name} in {path}, received {train}"
        )
    if search + held_out > test_size:
        raise DataError(
            f"data.search + data.held_out: expected at most the {test_size} images of {test_name} in "
            f"{path}, received {search} + {held_out}"
        )
    test = permutation(test_size, seed, "test")
    return permutation(train_size, seed, "train")[:train], test[:search], test[search : search + held_out]


def _split_by_class(labels: NDArray[np.int64], counts: Sequence[int], seed: int) -> list[NDArray[np.intp]]:
    """Disjoint index sets of these sizes, each with the classes in equal proportion."""
    if sum(counts) > len(labels):
        raise DataError(
            f"data.train + data.search + data.held_out: expected at most {len(labels)} images, "
            f"received {' + '.join(map(str, counts))}"
        )
    order = permutation(len(labels), seed, "digits")
    # Images of a class come at equal distances, so that every stretch holds all classes in proportion.
    shuffled = labels[order]
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(shuffled == label)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    spread = order[np.argsort(position, kind="stable")]
    ends = np.cumsum(counts)
    sets = np.split(spread[: ends[-1]], ends[:-1])
    return [chosen[permutation(len(chosen), seed, f"set {index}")] for index, chosen in enumerate(sets)]


def _classes(settings: DataSettings, path: Path | None, sets: Sequence[ImageSet]) -> int:
    highest = int(max(images.labels.max() for images in sets))
    known = CLASSES.get(settings.source)
    if known is not None and highest >= known:
        raise DataError(
            f"{path}: label {highest} is out of range; {settings.source} has labels 0..{known - 1}; correct the file"
        )
    return known or highest + 1


def _normalised(images: ImageSet, settings: DataSettings) -> ImageSet:
    channels = images.images.shape[1]
    mean, std = (
        FOLDER_NORMALISATION[channels] if settings.source == "folder" else ((0.0,) * channels, (1.0,) * channels)
    )
    scale = {"mean": settings.mean or mean, "std": settings.std or std}
    for key, values in scale.items():
        if len(values) != channels:
            raise DataError(
                f"data.{key}: expected one value for each of the {channels} channels, received {len(values)}"
            )
    shift, divisor = (np.asarray(scale[key], np.float32)[:, None, None] for key in ("mean", "std"))
    return ImageSet(images=(images.images - shift) / divisor, labels=images.labels)


def _draw(train: ImageSet, key: str, count: int, seed: int) -> ImageSet:
    if count > len(train):
        raise DataError(f"data.{key}: expected at most the {len(train)} training images, received {count}")
    return train.take(permutation(len(train), seed, key)[:count])
