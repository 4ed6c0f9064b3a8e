"""Reading .npz archives: layouts, and each way in which one can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.data.archive import read_archive, scale_pixels
from explorer.errors import DataError

rng = np.random.default_rng(0)


def archive(folder: Path, **changes: Any) -> Path:
    """A valid archive of 6 and 4 images with these arrays instead; None leaves one out."""
    arrays: dict[str, Any] = {
        "x_train": rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": rng.integers(0, 256, (4, 5, 4, 3), dtype=np.uint8),
        "y_test": np.array([0, 1, 3, 0]),
    }
    arrays |= changes
    file = folder / "images.npz"
    np.savez(file, **{key: value for key, value in arrays.items() if value is not None})
    return file


def test_bytes_become_scaled_floats_with_channels_first(tmp_path: Path) -> None:
    pixels = rng.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    (images, labels), (test, _) = read_archive(archive(tmp_path, x_train=pixels))
    assert images.shape == (6, 3, 5, 4)
    assert labels.dtype == np.int64
    scaled = scale_pixels(images)
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    np.testing.assert_array_equal(scaled, pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    assert test.shape == (4, 3, 5, 4)


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    grey = np.zeros((6, 5, 4), np.uint8)
    (images, _), _ = read_archive(archive(tmp_path, x_train=grey, x_test=grey[:4]))
    assert images.shape == (6, 1, 5, 4)


def test_floats_stay_as_they_are(tmp_path: Path) -> None:
    pixels = rng.normal(size=(6, 3, 5, 4))
    (images, _), _ = read_archive(archive(tmp_path, x_train=pixels, x_test=pixels[:4]))
    np.testing.assert_array_equal(scale_pixels(images), pixels.astype(np.float32))


def test_labels_in_one_column_are_flattened(tmp_path: Path) -> None:
    (_, labels), _ = read_archive(archive(tmp_path, y_train=np.zeros((6, 1), np.uint8)))
    assert labels.shape == (6,)


def with_nan() -> np.ndarray[Any, Any]:
    images = np.zeros((6, 3, 5, 4))
    images[1, 0, 0, 0], images[4, 2, 1, 1] = np.nan, np.inf
    return images


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"y_test": None, "x_test": None}, "x_test, y_test missing; the file holds x_train, y_train; rename"),
        (
            {"y_train": np.array([{}] * 6, object)},
            "y_train holds pickled Python objects, which could run code",
        ),
        ({"x_train": with_nan()}, r"x_train: 2 images hold NaN or infinite values, or values beyond 1e\+09; remove"),
        (
            {"x_train": np.zeros((6, 5, 4, 3), np.int32)},
            "x_train: expected uint8 or float images, received int32",
        ),
        (
            {"x_train": np.zeros((6, 20), np.uint8)},
            r"expected N,H,W or N,H,W,C for uint8, received .*\(6, 20\)",
        ),
        ({"x_train": np.zeros((6, 5, 4))}, r"expected N,C,H,W for float64, received .*\(6, 5, 4\)"),
        ({"x_test": np.zeros((0, 5, 4, 3), np.uint8)}, r"x_test: the array of shape \(0, 5, 4, 3\) is empty"),
        (
            {"x_test": np.zeros((4, 5, 5, 3), np.uint8)},
            r"x_train has images of \(3, 5, 4\) .*, x_test of \(3, 5, 5\)",
        ),
        (
            {"y_train": np.zeros(5, int)},
            "x_train has 6 images, but y_train has 5 labels; give one label for each",
        ),
        ({"y_train": np.zeros(6)}, "y_train: expected integer labels, received float64; number the classes"),
        (
            {"y_train": np.eye(6, dtype=int)},
            r"y_train: expected one label for each image, received shape \(6, 6\)",
        ),
        ({"x_train": np.full((6, 3, 5, 4), 1e300)}, r"x_train: 6 images hold .*values beyond 1e\+09"),
        ({"y_test": np.array([0, 2**64 - 1, 0, 0], np.uint64)}, "label 18446744073709551615 is out of range 0"),
        ({"y_test": np.array([0, -1, 0, 0])}, "y_test: label -1 is negative; number the classes from 0"),
    ],
)
def test_a_wrong_archive_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    file = archive(tmp_path, **changes)
    with pytest.raises(DataError, match=expected) as caught:
        read_archive(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz: no such file; set data\.path"):
        read_archive(tmp_path / "absent.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "images.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"not a \.npz archive; write it with numpy\.savez"):
        read_archive(file)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path)
    content = bytearray(file.read_bytes())
    content[200:300] = bytes(100)
    file.write_bytes(content)
    with pytest.raises(DataError, match="the archive is damaged"):
        read_archive(file)
