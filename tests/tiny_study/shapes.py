"""A user's own images: crosses and frames of 5 x 5 pixels, anywhere in 8 x 8, with noise."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def draw(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images `count x 1 x 8 x 8` and their labels: 0 is a frame, 1 a cross."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    images = random.normal(0, 0.8, (count, 1, 8, 8)).astype(np.float32)
    for image, label in zip(images[:, 0], labels, strict=True):
        top, left = random.integers(0, 4, 2)
        shape = image[top : top + 5, left : left + 5]
        if label:
            shape[2] += 1
            shape[:, 2] += 1
        else:
            shape[[0, 4]] += 1
            shape[:, [0, 4]] += 1
    return images, labels.astype(np.int64)


def write(path: Path, train: int = 300, test: int = 200) -> None:
    """Write x_train, y_train, x_test and y_test to a .npz file."""
    (x_train, y_train), (x_test, y_test) = draw(train, 1), draw(test, 2)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
