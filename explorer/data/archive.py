"""Reading a .npz archive of images and labels, with every way in which it can be wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")

Raw = tuple[NDArray[np.float32], NDArray[np.int64]]
"""(images `n x channels x height x width`, scaled to 0..1 where they were uint8; labels)."""


def read_archive(path: Path) -> tuple[Raw, Raw]:
    """The training and the test images of a .npz file with x_train, y_train, x_test and y_test.

    Images are uint8 as `n x height x width [x channels]`, or floats as `n x channels x height x width`, which
    stay as they are. Pickled arrays are refused. DataError names the file, the key and what to do.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; set data.path to a .npz file, or EXPLORER_DATA to its folder")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a .npz archive; write it with numpy.savez or numpy.savez_compressed")
    arrays = _read_arrays(path)
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


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive.files]
            if missing:
                held = ", ".join(sorted(archive.files)) or "nothing"
                raise DataError(f"{path}: {', '.join(missing)} missing; the file holds {held}; rename its arrays")
            for key in KEYS:
                arrays[key] = _read_array(archive, key, path)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"{path}: the archive is damaged ({error}); fetch or write it again") from None
    return arrays


def _read_array(archive: np.lib.npyio.NpzFile, key: str, path: Path) -> NDArray[np.generic]:
    try:
        array = archive[key]
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path}: {key} holds pickled Python objects, which could run code; "
                "save it as an array of numbers of one shape"
            ) from None
        raise DataError(f"{path}: {key} cannot be read ({error}); fetch or write the file again") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {key} is no array; write the file with numpy.savez")
    return array


def _as_images(array: NDArray[np.generic], where: str) -> NDArray[np.float32]:
    integer = array.dtype == np.uint8
    if not integer and array.dtype.kind != "f":
        raise DataError(f"{where}: expected uint8 or float images, received {array.dtype}; convert them")
    if array.ndim not in ((3, 4) if integer else (4,)):
        expected = "N,H,W or N,H,W,C" if integer else "N,C,H,W"
        raise DataError(f"{where}: expected {expected} for {array.dtype}, received shape {array.shape}; reshape it")
    if array.size == 0:
        raise DataError(f"{where}: the array of shape {array.shape} is empty; give at least one image")
    if not integer:
        images = array.astype(np.float32)
        if not np.isfinite(images).all():
            bad = int((~np.isfinite(images).all(axis=(1, 2, 3))).sum())
            raise DataError(f"{where}: {bad} images hold NaN or infinite values; remove or repair them")
        return images
    channels_first = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first).astype(np.float32) / np.float32(255)


def _as_labels(array: NDArray[np.generic], where: str) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{where}: expected one label for each image, received shape {array.shape}; flatten it")
    if array.dtype.kind not in "iu":
        raise DataError(f"{where}: expected integer labels, received {array.dtype}; number the classes from 0")
    labels = array.astype(np.int64)
    if labels.size and labels.min() < 0:
        raise DataError(f"{where}: label {labels.min()} is negative; number the classes from 0")
    return labels
