"""Images and targets that a function of the user's returns, with every way in which they can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.data.archive import LARGEST_PIXEL, MAXIMUM_CLASSES
from explorer.data.images import ImageSet, ReadSets
from explorer.data.splits import split_published
from explorer.errors import DataError
from explorer.settings import DataSettings
from explorer.user_code import describe, load_function

SETS = ("train", "search", "held_out")
EXPECTED = "(train, search, held_out) or (train, test), each a pair (inputs, targets)"


def read_function(settings: DataSettings, folder: str | Path, input_shape: tuple[int, int, int] | None) -> ReadSets:
    """Read what the function returns, which is called without arguments: three sets, or a training and a test set.

    Each is a pair (inputs, targets) of arrays or tensors with one entry for each image; several inputs are a tuple. A
    test set is split as that of published sets is. Where three sets are given, data.train and the like say how many
    of their images are taken.
    """
    where = f"data.function: {settings.function!r}"
    function = load_function(settings.function or "", folder, where, DataError)
    try:
        given = function()
    except Exception as error:
        raise DataError(f"{where} raised {describe(error)}; correct it") from error
    if not isinstance(given, tuple | list) or len(given) not in {2, 3}:
        raise DataError(f"{where}: expected it to return {EXPECTED}, received {_described(given)}")
    names = SETS if len(given) == len(SETS) else ("train", "test")
    read = [read_set(one, f"{where}: {name}") for name, one in zip(names, given, strict=True)]
    _refuse_other_shapes(read, names, where)
    if len(read) == len(SETS):
        counts = (settings.train, settings.search, settings.held_out)
        sets = [_limited(*each) for each in zip(read, counts, names, (where,) * len(SETS), strict=True)]
    else:
        parts = {"the training set": len(read[0]), "the test set": len(read[1])}
        train, search, held_out = split_published(parts, settings, where)
        sets = [read[0].take(train), read[1].take(search), read[1].take(held_out)]
    return ReadSets(train=sets[0], search=sets[1], held_out=sets[2], num_classes=_count_classes(sets))


def read_set(given: object, where: str) -> ImageSet:
    """Return a pair (inputs, targets) of arrays or tensors.

    Raises:
        DataError: Names what is wrong with it.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise DataError(f"{where}: expected a pair (inputs, targets), received {_described(given)}")
    arrays = given[0] if isinstance(given[0], tuple | list) else (given[0],)
    if not arrays:
        raise DataError(f"{where}: expected at least one input, received none")
    names = [f"{where}: inputs" if len(arrays) == 1 else f"{where}: input {place + 1}" for place in range(len(arrays))]
    inputs = tuple(_read_input(array, name) for array, name in zip(arrays, names, strict=True))
    found = ImageSet(inputs=inputs, targets=_read_targets(given[1], f"{where}: targets"))
    lengths = [len(array) for array in (*found.inputs, found.targets)]
    if len(set(lengths)) > 1:
        told = " and ".join(map(str, lengths[:-1]))
        raise DataError(
            f"{where}: expected one target for each image, received {told} images and {lengths[-1]} targets"
        )
    if not len(found):
        raise DataError(f"{where}: expected at least one image, received none")
    return found


def _read_input(given: object, where: str) -> NDArray[np.float32]:
    array = _as_array(given, where)
    if array.dtype.kind != "f" or array.ndim < 2:
        raise DataError(
            f"{where}: expected floats of N x channels x height x width (or N x ...), received {array.dtype} of shape "
            f"{array.shape}; convert them"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
        sound = (np.abs(values) <= LARGEST_PIXEL).all(axis=tuple(range(1, values.ndim)))  # NaN is not
    if not sound.all():
        raise DataError(
            f"{where}: {int((~sound).sum())} images hold NaN or infinite values, or values beyond {LARGEST_PIXEL:g}; "
            "remove or repair them"
        )
    return values


def _read_targets(given: object, where: str) -> NDArray[Any]:
    """Return floats as float32, integers as int64, and booleans as they are."""
    array = _as_array(given, where)
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
    if array.dtype.kind not in kinds or array.ndim < 1:
        raise DataError(
            f"{where}: expected numbers with one entry for each image, received {array.dtype} of shape "
            f"{array.shape}; convert them"
        )
    return np.ascontiguousarray(array, dtype=kinds[array.dtype.kind])


def _as_array(given: object, where: str) -> NDArray[Any]:
    if isinstance(given, np.ndarray):
        return given
    if type(given).__module__.partition(".")[0] == "torch" and hasattr(given, "detach"):
        array: NDArray[Any] = given.detach().cpu().numpy()
        return array
    raise DataError(f"{where}: expected an array or a tensor, received {_described(given)}; convert it")


def _refuse_other_shapes(sets: Sequence[ImageSet], names: Sequence[str], where: str) -> None:
    """Raise DataError unless all sets have images and targets of the same shapes and types."""
    for one, name in zip(sets[1:], names[1:], strict=True):
        first, other = (
            f"images of {', '.join(map(str, each.input_shapes))} and targets of {each.targets.shape[1:]} "
            f"({each.targets.dtype})"
            for each in (sets[0], one)
        )
        if first != other:
            raise DataError(f"{where}: {names[0]} has {first}, {name} has {other}; bring them to one shape and type")


def _limited(images: ImageSet, count: int | None, name: str, where: str) -> ImageSet:
    """Return the first images of a set that is given whole, as many as the settings say."""
    if count is not None and count > len(images):
        raise DataError(f"data.{name}: expected at most the {len(images)} images of {where}, received {count}")
    return images if count is None else images.take(slice(count))


def _count_classes(sets: Sequence[ImageSet]) -> int | None:
    """Return the number of classes where targets are class numbers: one integer that is not below 0 for each image."""
    if any(images.targets.ndim != 1 or images.targets.dtype != np.int64 for images in sets):
        return None
    lowest, highest = min(one.targets.min() for one in sets), max(one.targets.max() for one in sets)
    return int(highest) + 1 if lowest >= 0 and highest < MAXIMUM_CLASSES else None


def _described(given: object) -> str:
    if isinstance(given, tuple | list):
        return f"a {type(given).__name__} of {len(given)}"
    shape = getattr(given, "shape", None)
    return f"a {type(given).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")
