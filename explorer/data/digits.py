"""The digits that scikit-learn brings: 1,797 images of 8 x 8 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
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
    rows = np.loadtxt(_find_file(), delimiter=",")
    images = (rows[:, :-1] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = rows[:, -1].astype(np.int64)
    counts = (settings.train or 0, settings.search or 0, settings.held_out or 0)
    train, search, held_out = (
        ImageSet(inputs=(images[chosen],), targets=labels[chosen])
        for chosen in _split_by_class(labels, counts, settings.split_seed)
    )
    return ReadSets(train=train, search=search, held_out=held_out, num_classes=NUM_CLASSES)


def _find_file() -> Path:
    """Return the file that `sklearn.datasets.load_digits` reads, found without a second of imports."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError('data.source: "digits" takes scikit-learn; install it with: pip install scikit-learn')
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"


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
