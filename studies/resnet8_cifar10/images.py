"""CIFAR-10 with search images from the training set, so that the test images decide nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TRAIN = 18_500
"""Images to train on; the training set's others score candidates."""
MOVES = ((0, 0), (2, 2), (2, -2), (-2, 2))
"""Rows and columns by which each of these is moved, as it is and mirrored, its edges repeated.

Of 1,500 images as they are, accuracy does not tell 4 bits from 8: it loses as much as their sampling error. Moved and
mirrored ones, which the float network was trained on, too, meet other errors of rounding.
"""

Set = tuple[NDArray[np.float32], NDArray[np.int64]]


def read() -> tuple[Set, Set, Set]:
    """Return training, search and test images, N x 3 x 32 x 32 with pixels in 0..255 as the network takes them."""
    with np.load(Path(os.environ["EXPLORER_DATA"]) / "cifar10.npz") as file:
        (train, train_labels), test = (
            (file[f"x_{part}"].transpose(0, 3, 1, 2).astype(np.float32), file[f"y_{part}"].ravel().astype(np.int64))
            for part in ("train", "test")
        )
    views = [view for move in MOVES for view in _move(train[TRAIN:], *move)]
    search = np.concatenate(views), np.tile(train_labels[TRAIN:], len(views))
    return (train[:TRAIN], train_labels[:TRAIN]), search, test


def _move(images: NDArray[np.float32], rows: int, columns: int) -> tuple[NDArray[np.float32], ...]:
    """Return images moved, and these mirrored."""
    height, width = images.shape[2:]
    down = np.clip(np.arange(height) - rows, 0, height - 1)
    right = np.clip(np.arange(width) - columns, 0, width - 1)
    moved = images[:, :, down[:, None], right]
    return moved, moved[..., ::-1]
