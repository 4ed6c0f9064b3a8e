"""Splits, normalisation and draws of each source."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explorer.data.images import Data, ImageSet
from explorer.data.load import load_data
from explorer.errors import DataError
from explorer.settings import DataSettings

REPOSITORY = Path(__file__).parents[3]
GOLDEN = ["e2540994e17f09c8", "d2cd3c4669f1d8c0", "72c3829628cbad61"]
"""Digests of train, search and held_out for split_seed 0."""


@pytest.fixture
def folder() -> Path:
    """Folder with mnist.npz and cifar10.npz."""
    found = Path(os.environ.get("EXPLORER_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (found / "cifar10.npz").is_file():
        pytest.skip("no cifar10.npz; set EXPLORER_DATA to the folder with cifar10.npz and mnist.npz")
    return found


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data(DataSettings(source="digits"))


def rows(images: ImageSet) -> list[bytes]:
    return [image.tobytes() for image in images.images]


def own(folder: Path, count: int = 20, **changes: Any) -> Path:
    """An archive whose image i has the pixel value i everywhere, test images starting at 100."""
    values = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 4, 4, 2), np.uint8)
    labels = np.arange(count) % 3
    arrays = {"x_train": values, "y_train": labels, "x_test": values + 100, "y_test": labels, **changes}
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def numbers(images: ImageSet) -> NDArray[np.int64]:
    return np.rint(images.images[:, 0, 0, 0] * 255).astype(np.int64)


def settings(file: Path, **changes: Any) -> DataSettings:
    options: dict[str, Any] = {"search": 8, "held_out": 10, "calibration": 5, "relevance": 4, **changes}
    return DataSettings(source="npz", path=str(file), **options)


def test_the_digits_are_split_in_three_with_the_classes_in_proportion(digits: Data) -> None:
    sets = (digits.train, digits.search, digits.held_out)
    assert [len(images) for images in sets] == [997, 400, 400]
    assert digits.input_shapes == ((1, 8, 8),)
    assert digits.train.images.dtype == np.float32
    assert (digits.train.images.min(), digits.train.images.max()) == (0.0, 1.0)
    for images in sets:
        shares = np.bincount(images.targets, minlength=10) / len(images)
        assert np.abs(shares - 0.1).max() < 0.006


def test_the_digits_sets_share_no_image(digits: Data) -> None:
    everything = [*rows(digits.train), *rows(digits.search), *rows(digits.held_out)]
    assert len(set(everything)) == len(everything) == 1797


def test_calibration_and_relevance_are_drawn_from_train(digits: Data) -> None:
    train = set(rows(digits.train))
    assert len(digits.calibration) == 256
    assert len(digits.relevance) == 64
    assert set(rows(digits.calibration)) <= train
    assert set(rows(digits.relevance)) <= train


def test_the_split_seed_alone_decides(digits: Data) -> None:
    again = load_data(DataSettings(source="digits"))
    other = load_data(DataSettings(source="digits", split_seed=1))
    for key in ("train", "search", "held_out", "calibration", "relevance"):
        assert getattr(again, key).digest() == getattr(digits, key).digest()
        assert getattr(other, key).digest() != getattr(digits, key).digest()


def test_the_digits_split_of_today_is_kept(digits: Data) -> None:
    """Stored results name the images by their set: another split would make them wrong silently."""
    assert [getattr(digits, key).digest() for key in ("train", "search", "held_out")] == GOLDEN


def test_search_and_held_out_come_disjoint_from_the_test_images(tmp_path: Path) -> None:
    data = load_data(settings(own(tmp_path)))
    search, held_out = numbers(data.search), numbers(data.held_out)
    assert sorted(numbers(data.train)) == list(range(20))
    assert len(search) == 8
    assert len(held_out) == 10
    assert len({*search, *held_out}) == 18
    assert min(*search, *held_out) >= 100
    assert (data.num_classes, data.input_shapes) == (3, ((2, 4, 4),))
    np.testing.assert_array_equal(data.search.targets, (search - 100) % 3)


def test_fewer_training_images_are_a_part_of_them(tmp_path: Path) -> None:
    data = load_data(settings(own(tmp_path), train=6))
    assert len(set(numbers(data.train))) == 6
    assert set(numbers(data.calibration)) <= set(numbers(data.train))


def test_images_are_normalised_by_channel(tmp_path: Path) -> None:
    file = own(tmp_path)
    plain, scaled = load_data(settings(file)), load_data(settings(file, mean=(0.5, 0.25), std=(0.5, 2.0)))
    expected = (plain.search.images - np.array([0.5, 0.25])[:, None, None]) / np.array([0.5, 2.0])[:, None, None]
    np.testing.assert_allclose(scaled.search.images, expected, atol=1e-6)
    np.testing.assert_array_equal(scaled.search.targets, plain.search.targets)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train": 21}, r"data\.train: expected at most the 20 images of x_train in .*own\.npz, received 21"),
        ({"search": 11}, r"data\.search \+ data\.held_out: expected at most the 20 .* received 11 \+ 10"),
        ({"calibration": 21}, r"data\.calibration: expected at most the 20 training images, received 21"),
        ({"relevance": 21}, r"data\.relevance: expected at most the 20 training images, received 21"),
        ({"mean": (0.5,)}, r"data\.mean: expected one value for each of the 2 channels, received 1"),
        ({"std": (1.0, 1.0, 1.0)}, r"data\.std: expected one value for each of the 2 channels, received 3"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    file = own(tmp_path)
    with pytest.raises(DataError, match=expected):
        load_data(settings(file, **changes))


def test_more_digits_than_there_are_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected at most 1797 images, received 1000 \+ 400 \+ 400"):
        load_data(DataSettings(source="digits", train=1000))


def test_a_named_set_without_its_file_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLORER_DATA", raising=False)
    with pytest.raises(DataError, match=r'data\.path: source "mnist" needs a file; set EXPLORER_DATA to the folder'):
        load_data(DataSettings(source="mnist"))


def test_a_label_that_the_named_set_does_not_have_is_refused(tmp_path: Path) -> None:
    file = own(tmp_path, y_train=np.arange(20))
    options: dict[str, Any] = {"mean": (0.0, 0.0), "std": (1.0, 1.0), "calibration": 4, "relevance": 4}
    with pytest.raises(DataError, match=r"label 19 is out of range; cifar10 has labels 0\.\.9"):
        load_data(DataSettings(source="cifar10", path=str(file), search=5, held_out=5, **options))


def test_an_absurd_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label 999999999 is out of range 0\.\.99999"):
        load_data(settings(own(tmp_path, y_train=np.full(20, 999_999_999))))


def test_cifar10_is_found_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(folder))
    data = load_data(DataSettings(source="cifar10", train=500))
    assert data.input_shapes == ((3, 32, 32),)
    assert [len(images) for images in (data.train, data.search, data.held_out)] == [500, 5000, 5000]
    assert abs(float(data.search.images.mean())) < 0.2


def test_mnist_is_found_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(folder))
    data = load_data(DataSettings(source="mnist", search=100, held_out=100))
    assert data.input_shapes == ((1, 28, 28),)
    assert len(data.train) == 60_000
    assert abs(float(data.train.images.mean())) < 0.01
    assert abs(float(data.train.images.std()) - 1) < 0.01
