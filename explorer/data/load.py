"""From the [data] settings to the images of a study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.data.archive import Raw, read_archive
from explorer.data.images import Data, ImageSet
from explorer.errors import DataError
from explorer.settings import DataSettings

CLASSES = {"digits": 10, "mnist": 10, "cifar10": 10}
MAXIMUM_CLASSES = 100_000


def load_data(settings: DataSettings) -> Data:
    """Load, check, normalise and split the images; the same settings give the same sets.

    The digits (1,797 images) are shuffled and split within each class. Sets with a published test split give
    train from their training images, and search and held_out from their test images. Raises DataError.
    """
    if settings.source == "digits":
        images, labels = _read_digits()
        counts = (settings.train or 0, settings.search or 0, settings.held_out or 0)
        train, search, held_out = _split_by_class(labels, counts, settings.split_seed)
        classes = CLASSES["digits"]
        sets = [ImageSet(images=images[chosen], labels=labels[chosen]) for chosen in (train, search, held_out)]
    else:
        sets = _published_split(settings)
        classes = _classes(settings, sets)
    sets = [_normalised(images, settings) for images in sets]
    train_set = sets[0]
    channels, height, width = train_set.images.shape[1:]
    return Data(
        name=settings.source if settings.path is None else f"{settings.source}:{settings.path}",
        classes=classes,
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


def _published_split(settings: DataSettings) -> list[ImageSet]:
    path = settings.file_path
    if path is None:
        raise DataError(
            f'data.path: source "{settings.source}" needs a file; set EXPLORER_DATA to the folder that holds '
            f"{settings.source}.npz, or data.path to the file"
        )
    (train_x, train_y), (test_x, test_y) = read_archive(path)
    train_count = len(train_y) if settings.train is None else settings.train
    scored = (settings.search or 0) + (settings.held_out or 0)
    if train_count > len(train_y):
        raise DataError(
            f"data.train: expected at most the {len(train_y)} images of x_train in {path}, received {train_count}"
        )
    if scored > len(test_y):
        raise DataError(
            f"data.search + data.held_out: expected at most the {len(test_y)} images of x_test in "
            f"{path}, received {settings.search} + {settings.held_out}"
        )
    train = _permutation(len(train_y), settings.split_seed, "train")[:train_count]
    test = _permutation(len(test_y), settings.split_seed, "test")
    search, held_out = test[: settings.search], test[settings.search : scored]
    return [
        ImageSet(images=train_x[train], labels=train_y[train]),
        ImageSet(images=test_x[search], labels=test_y[search]),
        ImageSet(images=test_x[held_out], labels=test_y[held_out]),
    ]


def _split_by_class(labels: NDArray[np.int64], counts: Sequence[int], seed: int) -> list[NDArray[np.intp]]:
    """Disjoint index sets of these sizes, each with the classes in equal proportion."""
    if sum(counts) > len(labels):
        raise DataError(
            f"data.train + data.search + data.held_out: expected at most {len(labels)} images, "
            f"received {' + '.join(map(str, counts))}"
        )
    order = _permutation(len(labels), seed, "digits")
    # Images of a class come at equal distances, so that every stretch holds all classes in proportion.
    shuffled = labels[order]
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(shuffled == label)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    spread = order[np.argsort(position, kind="stable")]
    ends = np.cumsum(counts)
    sets = np.split(spread[: ends[-1]], ends[:-1])
    return [chosen[_permutation(len(chosen), seed, f"set {index}")] for index, chosen in enumerate(sets)]


def _classes(settings: DataSettings, sets: Sequence[ImageSet]) -> int:
    highest = int(max(images.labels.max() for images in sets))
    known = CLASSES.get(settings.source)
    if known is not None and highest >= known:
        raise DataError(
            f"{settings.file_path}: label {highest} is out of range; {settings.source} has labels "
            f"0..{known - 1}; correct the file"
        )
    if highest >= MAXIMUM_CLASSES:
        raise DataError(
            f"{settings.file_path}: label {highest} is out of range 0..{MAXIMUM_CLASSES - 1}; number the classes from 0"
        )
    return known or highest + 1


def _normalised(images: ImageSet, settings: DataSettings) -> ImageSet:
    channels = images.images.shape[1]
    scale = {"mean": settings.mean or (0.0,) * channels, "std": settings.std or (1.0,) * channels}
    for key, values in scale.items():
        if len(values) != channels:
            raise DataError(
                f"data.{key}: expected one value for each of the {channels} channels, received {len(values)}"
            )
    mean = np.asarray(scale["mean"], np.float32)[:, None, None]
    std = np.asarray(scale["std"], np.float32)[:, None, None]
    return ImageSet(images=(images.images - mean) / std, labels=images.labels)


def _draw(train: ImageSet, key: str, count: int, seed: int) -> ImageSet:
    if count > len(train):
        raise DataError(f"data.{key}: expected at most the {len(train)} training images, received {count}")
    return train.take(_permutation(len(train), seed, key)[:count])


def _permutation(count: int, seed: int, purpose: str) -> NDArray[np.intp]:
    """A shuffle of 0..count-1, of its own for every purpose."""
    return np.random.default_rng([seed, *purpose.encode()]).permutation(count)
