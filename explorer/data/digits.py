"""The digits that scikit-learn brings: 1,797 images of 8 x 8 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.data.draws import permutation
from explorer.data.images import ImageSet, ReadSets
from explorer.errors import DataError
from explorer.settings import DataSettings

NUM_CLASSES = 10


def read_digits(settings: DataSettings, folder: str | Path, input_shape: tuple[int, int, int] | None) -> ReadSets:
    """Read them, shuffled and split within each class; pixels are scaled to 0..1."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (a second of import, for this source only)

    pixels, numbers = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = numbers.astype(np.int64)
    counts = (settings.train or 0, settings.search or 0, settings.held_out or 0)
    train, search, held_out = (
        ImageSet(inputs=(images[chosen],), targets=labels[chosen])
        for chosen in _split_by_class(labels, counts, settings.split_seed)
    )
    return ReadSets(train=train, search=search, held_out=held_out, num_classes=NUM_CLASSES)


def _split_by_class(labels: NDArray[np.int64], counts: Sequence[int], seed: int) -> list[NDArray[np.intp]]:
    """Return disjoint index sets of these sizes, each with the classes in equal proportion."""
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
