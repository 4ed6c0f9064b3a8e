"""Images and targets as somebody has them in Python, as the sets of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from explorer.data.draws import permutation
from explorer.data.function import read_set
from explorer.data.images import Data, ImageSet
from explorer.errors import DataError

BATCH = 256
"""Samples of a Dataset that are put together at once (assumed)."""
SHARE, MOST = 5, 5000
"""The search and the final front get a fifth of the images each, at most as many as of CIFAR-10 (assumed)."""
CALIBRATION, RELEVANCE = 256, 64
"""Images of each, as in a study file."""
EXPECTED = "expected images and targets, a DataLoader or a Dataset that gives (inputs, targets)"


def read_samples(what: str, given: Any, targets: Any = None) -> ImageSet:
    """Return images (N x ..., a tuple for several inputs) with their targets (N x ...), of arrays, loader or data set.

    A DataLoader that shuffles is read in the order of its data set, so that equal seeds mean equal sets.

    Raises:
        DataError: It is none of these, lengths differ, or a number is NaN or infinite.
    """
    if isinstance(given, ImageSet):
        return replace(given, references=None)  # of another network
    if targets is None and isinstance(given, tuple) and len(given) == 2:  # of several batches it would be a list
        given, targets = given
    if targets is not None:
        return read_set(_arrays(what, given, targets), what)
    batches = [_arrays(what, *_pair(what, batch)) for batch in _batches(what, given)]
    if not batches:
        raise DataError(f"{what}: expected at least one batch, received none")
    try:
        inputs = tuple(np.concatenate(parts) for parts in zip(*(inputs for inputs, _ in batches), strict=True))
        return read_set((inputs, np.concatenate([targets for _, targets in batches])), what)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{what}: expected batches of one shape, received several ({error})") from error


def split_samples(
    train: ImageSet, search: ImageSet | None, held_out: ImageSet | None, seed: int
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Return the disjoint sets train, search and held_out; those that are not given are drawn from `train`."""
    order, start, found = permutation(len(train), seed, "split"), 0, []
    for name, given in (("search", search), ("held_out", held_out)):
        count = min(MOST, len(train) // SHARE)
        if given is None and not count:
            raise DataError(f"{name}: expected at least {SHARE} images to draw it from, received {len(train)}")
        if given is not None and given.input_shapes != train.input_shapes:
            expected, received = (", ".join(map(str, entry.input_shapes)) for entry in (train, given))
            raise DataError(f"{name}: expected images of shape {expected}, as those that train, received {received}")
        found.append(train.take(np.sort(order[start : start + count])) if given is None else given)
        start += count if given is None else 0
    left = train if start == 0 else train.take(np.sort(order[start:]))
    return left, found[0], found[1]


def make_data(sets: tuple[ImageSet, ImageSet, ImageSet], num_classes: int | None, seed: int) -> Data:
    """Return the sets as those of a study, with the images that calibrate and explain drawn from the first."""
    train, search, held_out = sets

    def draw(purpose: str, count: int) -> ImageSet:
        return train.take(permutation(len(train), seed, purpose)[:count])

    return Data(
        name="given",
        num_classes=num_classes,
        train=train,
        search=search,
        held_out=held_out,
        calibration=draw("calibration", CALIBRATION),
        relevance=draw("relevance", RELEVANCE),
    )


def _arrays(what: str, inputs: Any, targets: Any) -> tuple[tuple[NDArray[np.float32], ...], NDArray[Any]]:
    """Return inputs as floats, and targets as they are."""
    try:
        several = inputs if isinstance(inputs, tuple) else (inputs,)
        return tuple(_array(each).astype(np.float32) for each in several), _array(targets)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{what}: {EXPECTED}, received something that is no array ({reason})") from error


def _array(value: Any) -> NDArray[Any]:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _pair(what: str, batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        received = f"{len(batch)} values" if isinstance(batch, tuple | list) else type(batch).__name__
        raise DataError(f"{what}: {EXPECTED}, received batches of {received}")
    inputs, targets = batch
    return tuple(inputs) if isinstance(inputs, list) and isinstance(inputs[0], Tensor) else inputs, targets


def _batches(what: str, given: Any) -> Iterable[Any]:
    """Return what gives batches; those of a data set are made here."""
    if isinstance(given, DataLoader):
        if not isinstance(given.sampler, RandomSampler):
            return given
        return DataLoader(given.dataset, batch_size=given.batch_size or BATCH, collate_fn=given.collate_fn)
    plain = isinstance(given, Tensor | np.ndarray | str | Mapping)
    if isinstance(given, Dataset) or (hasattr(given, "__getitem__") and not plain and not isinstance(given, list)):
        return DataLoader(given, batch_size=BATCH)
    if plain or not isinstance(given, Iterable):
        raise DataError(f"{what}: {EXPECTED}, received {type(given).__name__}")
    return given
