"""Reading a .npz archive of images and labels, with every way in which it can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.data.images import ImageSet, ReadSets
from explorer.data.splits import split_published
from explorer.errors import DataError
from explorer.npz import ArchiveError, read_npz
from explorer.settings import DataSettings

KEYS = ("x_train", "y_train", "x_test", "y_test")
LARGEST_PIXEL = 1e9
"""Of float images: no sensor counts further, and float32 stays finite whatever they are normalised by."""
MAXIMUM_CLASSES = 100_000
KNOWN_CLASSES = {"mnist": 10, "cifar10": 10}
"""Of sources whose files have a fixed number of them."""

Raw = tuple[NDArray[np.uint8] | NDArray[np.float32], NDArray[np.int64]]
"""(images `n x channels x height x width`, labels)."""


def read_published(settings: DataSettings, folder: str | Path, input_shape: tuple[int, int, int] | None) -> ReadSets:
    """Read the file of the settings: train from its training images, search and held_out from its test images."""
    path, known = settings.find_file(folder), KNOWN_CLASSES.get(settings.source)
    if path is None:
        raise DataError(
            f'data.path: source "{settings.source}" needs a file; set EXPLORER_DATA to the folder that holds '
            f"{settings.source}.npz, or data.path to the file"
        )
    (train_x, train_y), (test_x, test_y) = read_archive(path)
    train, search, held_out = split_published({"x_train": len(train_y), "x_test": len(test_y)}, settings, path)
    sets = ReadSets(
        train=ImageSet(inputs=(scale_pixels(train_x[train]),), targets=train_y[train]),
        search=ImageSet(inputs=(scale_pixels(test_x[search]),), targets=test_y[search]),
        held_out=ImageSet(inputs=(scale_pixels(test_x[held_out]),), targets=test_y[held_out]),
        num_classes=known,
    )
    highest = max(int(images.targets.max()) for images in (sets.train, sets.search, sets.held_out))
    if known is not None and highest >= known:
        raise DataError(
            f"{path}: label {highest} is out of range; {settings.source} has labels 0..{known - 1}; correct the file"
        )
    return replace(sets, num_classes=known or highest + 1)


def read_archive(path: Path) -> tuple[Raw, Raw]:
    """Return the training and the test images of a .npz file with x_train, y_train, x_test and y_test.

    Images are uint8 as `n x height x width [x channels]`, or floats as `n x channels x height x width`. Pickled arrays
    are refused.

    Raises:
        DataError: Names the file, the key and what to do.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; set data.path to a .npz file, or EXPLORER_DATA to its folder")
    try:
        arrays = read_npz(path, KEYS)
    except ArchiveError as error:
        raise DataError(f"{path}: {error}") from None
    raw = []
    for x_key, y_key in (KEYS[:2], KEYS[2:]):
        images = _as_images(arrays[x_key], f"{path}: {x_key}")
        labels = _as_labels(arrays[y_key], f"{path}: {y_key}")
        if len(images) != len(labels):
            raise DataError(
                f"{path}: {x_key} has {len(images)} images, but {y_key} has {len(labels)} labels; "
                "give one label for each image"
            )
        raw.append((images, labels))
    train, test = raw
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{path}: x_train has images of {train[0].shape[1:]} (C, H, W), x_test of {test[0].shape[1:]}; "
            "bring them to one shape"
        )
    return train, test


def scale_pixels(images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images with pixels from 0 to 1 where they were uint8; floats as they are."""
    if images.dtype == np.float32:
        return images.astype(np.float32, copy=False)
    scaled = np.ascontiguousarray(images, dtype=np.float32)
    scaled /= np.float32(255)
    return scaled


def _as_images(array: NDArray[np.generic], where: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    integer = array.dtype == np.uint8
    if not integer and array.dtype.kind != "f":
        raise DataError(f"{where}: expected uint8 or float images, received {array.dtype}; convert them")
    if array.ndim not in ((3, 4) if integer else (4,)):
        expected = "N,H,W or N,H,W,C" if integer else "N,C,H,W"
        raise DataError(f"{where}: expected {expected} for {array.dtype}, received shape {array.shape}; reshape it")
    if array.size == 0:
        raise DataError(f"{where}: the array of shape {array.shape} is empty; give at least one image")
    if not integer:
        with np.errstate(over="ignore", invalid="ignore"):
            images = array.astype(np.float32)
            sound = (np.abs(images) <= LARGEST_PIXEL).all(axis=(1, 2, 3))  # NaN is not
        if not sound.all():
            raise DataError(
                f"{where}: {int((~sound).sum())} images hold NaN or infinite values, or values beyond "
                f"{LARGEST_PIXEL:g}; remove or repair them"
            )
        return images
    pixels = array.astype(np.uint8, copy=False)
    return pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)


def _as_labels(array: NDArray[np.generic], where: str) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{where}: expected one label for each image, received shape {array.shape}; flatten it")
    if array.dtype.kind not in "iu":
        raise DataError(f"{where}: expected integer labels, received {array.dtype}; number the classes from 0")
    if array.size and array.min() < 0:
        raise DataError(f"{where}: label {array.min()} is negative; number the classes from 0")
    if array.size and array.max() >= MAXIMUM_CLASSES:
        raise DataError(
            f"{where}: label {array.max()} is out of range 0..{MAXIMUM_CLASSES - 1}; number the classes from 0"
        )
    return array.astype(np.int64)
