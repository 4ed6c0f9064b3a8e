"""The images of studies/resnet8_cifar10: views of training images search, and no test image decides anything."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "studies" / "resnet8_cifar10" / "images.py"
SIDE, SEARCHED = 6, 3


def test_search_images_are_views_of_training_images_that_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("resnet8_images", FILE)
    assert spec is not None
    assert spec.loader is not None
    images = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(images)
    random = np.random.default_rng(0)
    sizes = {"train": images.TRAIN + SEARCHED, "test": 5}
    pixels = {part: random.integers(0, 256, (size, SIDE, SIDE, 3), np.uint8) for part, size in sizes.items()}
    labels = {part: random.integers(0, 10, (size, 1)) for part, size in sizes.items()}
    np.savez(
        tmp_path / "cifar10.npz",
        x_train=pixels["train"],
        y_train=labels["train"],
        x_test=pixels["test"],
        y_test=labels["test"],
    )
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))

    (train, train_labels), (search, search_labels), (test, _) = images.read()

    whole = pixels["train"].transpose(0, 3, 1, 2).astype(np.float32)
    assert np.array_equal(train, whole[: images.TRAIN])
    assert np.array_equal(train_labels, labels["train"][: images.TRAIN, 0])
    assert np.array_equal(test, pixels["test"].transpose(0, 3, 1, 2))
    expected = []
    for rows, columns in images.MOVES:
        padded = np.pad(whole[images.TRAIN :], ((0, 0), (0, 0), (SIDE, SIDE), (SIDE, SIDE)), mode="edge")
        moved = padded[:, :, SIDE - rows : 2 * SIDE - rows, SIDE - columns : 2 * SIDE - columns]
        expected += [moved, np.flip(moved, axis=3)]
    assert np.array_equal(search, np.concatenate(expected))
    assert np.array_equal(search_labels, np.concatenate([labels["train"][images.TRAIN :, 0]] * len(expected)))
