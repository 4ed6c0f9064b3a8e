"""Images and targets from a function of the user's: what is taken as it is, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.data.images import Data
from explorer.data.load import load_data
from explorer.errors import DataError, StudyFileError
from explorer.settings import DataSettings

HEAD = """
import numpy as np
import torch

def images(count, first=0):
    return np.arange(first, first + count, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 3, 4), np.float32)

def labels(count):
    return np.arange(count) % 3
"""


def load(folder: Path, returned: str, **settings: Any) -> Data:
    (folder / "mine.py").write_text(f"{HEAD}\ndef read():\n    return {returned}\n")
    small = {"calibration": 2, "relevance": 2, **settings}
    return load_data(DataSettings(source="function", function="mine:read", **small), folder=folder)


def first_pixels(data: Data) -> list[list[int]]:
    sets = (data.train, data.search, data.held_out)
    return [[int(image[0, 0, 0]) for image in each.images] for each in sets]


def test_three_sets_are_taken_as_they_are(tmp_path: Path) -> None:
    data = load(tmp_path, "(images(5), labels(5)), (images(4, 5), labels(4)), (images(3, 9), labels(3))")
    assert first_pixels(data) == [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]
    assert (data.num_classes, data.input_shapes, data.name) == (3, ((2, 3, 4),), "function:mine:read")
    assert data.search.targets.tolist() == [0, 1, 2, 0]
    fewer = load(
        tmp_path,
        "(images(5), labels(5)), (images(4, 5), labels(4)), (images(3, 9), labels(3))",
        train=3,
        search=2,
        held_out=1,
    )
    assert first_pixels(fewer) == [[0, 1, 2], [5, 6], [9]]


def test_a_test_set_is_split_as_published_ones_are(tmp_path: Path) -> None:
    data = load(tmp_path, "(images(5), labels(5)), (images(9, 5), labels(9))")
    train, search, held_out = first_pixels(data)
    assert sorted(train) == [0, 1, 2, 3, 4]
    assert (len(search), len(held_out)) == (4, 5)
    assert sorted([*search, *held_out]) == [*range(5, 14)]


def test_several_inputs_and_targets_of_any_shape(tmp_path: Path) -> None:
    one = "((images(4), torch.ones(4, 7, dtype=torch.float64)), torch.zeros(4, 5, 6, dtype=torch.bool))"
    data = load(tmp_path, f"[{one}, {one}, {one}]")
    assert data.input_shapes == ((2, 3, 4), (7,))
    assert [array.dtype for array in data.train.inputs] == [np.float32, np.float32]
    assert (data.train.targets.shape, str(data.train.targets.dtype), data.num_classes) == ((4, 5, 6), "bool", None)
    assert data.train.take(slice(2)).inputs[1].shape == (2, 7)


@pytest.mark.parametrize(
    ("targets", "dtype", "classes"),
    [
        ("np.arange(4, dtype=np.uint8)", "int64", 4),
        ("np.arange(4) - 1", "int64", None),
        ("np.arange(4) / 4", "float32", None),
        ("np.arange(4)[:, None]", "int64", None),
    ],
)
def test_classes_are_known_where_targets_are_class_numbers(
    targets: str, dtype: str, classes: int | None, tmp_path: Path
) -> None:
    one = f"(images(4), {targets})"
    data = load(tmp_path, f"{one}, {one}")
    assert (str(data.train.targets.dtype), data.num_classes) == (dtype, classes)


def test_a_digest_tells_inputs_and_targets_apart(tmp_path: Path) -> None:
    texts = (
        "(images(4), labels(4))",
        "((images(4), images(4)), labels(4))",
        "(images(4), labels(4) * 1.0)",
        "(images(4).reshape(4, 2, 4, 3), labels(4))",
        "(images(4), labels(4)[:, None])",
    )
    digests = {}
    for place, one in enumerate(texts):
        folder = tmp_path / str(place)
        folder.mkdir()
        digests[load(folder, f"{one}, {one}").held_out.digest()] = one
    assert len(digests) == len(texts)


GOOD = "(images(4), labels(4))"


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", r"expected it to return \(train, search, held_out\) or .*, received a NoneType"),
        (GOOD, r"train: expected a pair \(inputs, targets\), received a ndarray of shape \(4, 2, 3, 4\)"),
        (f"[{GOOD}] * 4", "received a list of 4"),
        (f"{GOOD}, (images(4),)", r"test: expected a pair \(inputs, targets\), received a tuple of 1"),
        (f"{GOOD}, (images(4), labels(3))", "test: expected one target for each image, received 4 images and 3"),
        (f"{GOOD}, ((images(4), images(3)), labels(4))", "received 4 and 3 images and 4 targets"),
        (f"{GOOD}, ((), labels(4))", "test: expected at least one input, received none"),
        (f"{GOOD}, (images(0), labels(0))", "test: expected at least one image, received none"),
        (f"{GOOD}, (images(4) * np.nan, labels(4))", "test: inputs: 4 images hold NaN"),
        (f"{GOOD}, (images(4).astype(np.uint8), labels(4))", "expected floats of N x .*, received uint8 of shape"),
        (f"{GOOD}, (np.ones(4), labels(4))", r"received float64 of shape \(4,\)"),
        (f"{GOOD}, ('pixels', labels(4))", "test: inputs: expected an array or a tensor, received a str"),
        (f"{GOOD}, (images(4), list(labels(4)))", "test: targets: expected an array or a tensor, received a list of 4"),
        (f"{GOOD}, (images(4), np.array(['a'] * 4))", "targets: expected numbers with one entry .*, received <U1"),
        (f"{GOOD}, (images(4)[:, :1], labels(4))", r"train has images of \(2, 3, 4\) .*, test has images of \(1, 3, 4"),
        (f"{GOOD}, (images(4), labels(4) / 2)", r"targets of \(\) \(int64\), .*\(float32\)"),
        ("1 / 0", r"'mine:read' raised ZeroDivisionError: division by zero \(.*mine.py, line 12\); correct it"),
    ],
)
def test_what_a_function_can_return_wrong_is_one_line(returned: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told) as caught:
        load(tmp_path, returned)
    assert str(caught.value).startswith("data.function: 'mine:read'")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent:read", "no module 'absent' beside the study file"),
        ("mine:reed", "the module has no 'reed'; it has images, labels, read"),
        ("mine:np", "expected a function or class, received a module"),
    ],
)
def test_a_function_that_is_not_there_is_named(name: str, told: str, tmp_path: Path) -> None:
    load(tmp_path, f"{GOOD}, {GOOD}")
    with pytest.raises(DataError, match=told):
        load_data(DataSettings(source="function", function=name), folder=tmp_path)


def test_keys_that_do_not_fit_the_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r'data\.function: missing; source "function" needs'):
        DataSettings(source="function")
    with pytest.raises(StudyFileError, match=r'data\.function: only source "function" takes it'):
        DataSettings(source="digits", function="mine:read")
    with pytest.raises(DataError, match=r"data\.search: expected at most the 4 images"):
        load(tmp_path, f"{GOOD}, {GOOD}, {GOOD}", search=5)
    two = "((images(4), images(4)), labels(4))"
    folder = tmp_path / "two"
    folder.mkdir()
    with pytest.raises(DataError, match=r"data\.mean: expected none for 2 inputs"):
        load(folder, f"{two}, {two}", mean=(0.5,))
