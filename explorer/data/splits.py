"""Which images train, which are searched on, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from explorer.data.draws import permutation
from explorer.errors import DataError
from explorer.settings import DataSettings


def split_published(
    parts: Mapping[str, int], settings: DataSettings, of: object
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return indices of train, and of search and held_out, among the images of the training and of the test part.

    `parts` are the sizes of these by what they are called, `of` is what they are parts of. Where the settings do not
    say how many, all train, and half of the test images each are searched on and held out.
    """
    (train_name, train_size), (test_name, test_size) = parts.items()
    train = train_size if settings.train is None else settings.train
    search, held_out = _halve(test_size, settings.search, settings.held_out)
    if train > train_size:
        raise DataError(
            f"data.train: expected at most the {train_size} images of {train_name} in {of}, received {train}"
        )
    if search + held_out > test_size:
        raise DataError(
            f"data.search + data.held_out: expected at most the {test_size} images of {test_name} in "
            f"{of}, received {search} + {held_out}"
        )
    test = permutation(test_size, settings.split_seed, "test")
    chosen = permutation(train_size, settings.split_seed, "train")[:train]
    return chosen, test[:search], test[search : search + held_out]


def _halve(count: int, search: int | None, held_out: int | None) -> tuple[int, int]:
    """Return how many of `count` test images score candidates and the final front: half each where nothing is said."""
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
