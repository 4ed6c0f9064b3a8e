"""Images from Python: whatever form they have, the same sets; what cannot be used is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from explorer.errors import DataError
from explorer.session.samples import MOST, read_samples, split_samples

IMAGES = torch.arange(30 * 4, dtype=torch.float32).view(30, 1, 2, 2)
LABELS = torch.arange(30) % 3


class Squares(Dataset[Any]):
    """A data set of one's own, whose items are arrays and plain numbers."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return IMAGES[index].numpy(), int(LABELS[index])


class Duck:
    """The same without the base class."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return IMAGES[index], int(LABELS[index])


@pytest.mark.parametrize(
    "given",
    [
        (IMAGES, LABELS),
        (IMAGES.numpy().astype(np.float64), LABELS.tolist()),
        (IMAGES.tolist(), LABELS.numpy()),
        (TensorDataset(IMAGES, LABELS), None),
        (Squares(), None),
        (Duck(), None),
        (DataLoader(TensorDataset(IMAGES, LABELS), batch_size=7), None),
        (DataLoader(TensorDataset(IMAGES, LABELS), batch_size=7, shuffle=True, drop_last=True), None),
        ([(IMAGES[:20], LABELS[:20]), (IMAGES[20:], LABELS[20:])], None),
        ((IMAGES, LABELS), None),
    ],
    ids=["tensors", "arrays", "lists", "dataset", "own", "duck", "loader", "shuffled", "batches", "pair"],
)
def test_every_form_gives_the_same_images_in_the_same_order(given: tuple[Any, Any]) -> None:
    first, targets = given
    pair = isinstance(first, tuple)
    found = read_samples("images", first, targets) if pair or targets is None else read_samples("images", *given)
    assert np.array_equal(found.inputs[0], IMAGES.numpy())
    assert np.array_equal(found.targets, LABELS.numpy())
    assert (len(found.inputs), str(found.inputs[0].dtype), str(found.targets.dtype)) == (1, "float32", "int64")


def test_the_sets_are_disjoint_whole_and_drawn_by_the_seed() -> None:
    whole = read_samples("images", IMAGES, LABELS)
    sets = split_samples(whole, None, None, seed=3)
    assert [len(part) for part in sets] == [18, 6, 6]
    firsts = [part.inputs[0][:, 0, 0, 0] for part in sets]
    assert sorted(np.concatenate(firsts)) == sorted(IMAGES[:, 0, 0, 0].tolist())
    again, other = (split_samples(whole, None, None, seed=seed)[1].inputs[0] for seed in (3, 4))
    assert np.array_equal(again, sets[1].inputs[0])
    assert not np.array_equal(other, again)


def test_a_set_that_is_given_is_used_whole() -> None:
    whole, given = read_samples("images", IMAGES, LABELS), read_samples("held_out", (IMAGES[:4], LABELS[:4]))
    sets = split_samples(whole, None, given, seed=0)
    assert sets[2] is given
    assert [len(part) for part in sets] == [24, 6, 4]


def test_of_many_images_the_search_gets_no_more_than_it_needs() -> None:
    count = 6 * MOST
    whole = read_samples("images", np.zeros((count, 1)), np.zeros(count))
    assert {len(part) for part in split_samples(whole, None, None, 0)} == {MOST, count - 2 * MOST}


@pytest.mark.parametrize(
    ("given", "targets", "message"),
    [
        (IMAGES, LABELS[:5], "expected one target for each image, received 30 images and 5 targets"),
        (IMAGES * float("nan"), LABELS, "30 images hold NaN or infinite values"),
        (3, None, r"expected images and targets, a DataLoader or a Dataset .* received int"),
        ("digits", None, "received str"),
        (IMAGES, None, "received Tensor"),
        ({"x": IMAGES}, None, "received dict"),
        ([IMAGES[:2], LABELS[:2], LABELS[:2]], None, "received batches of Tensor"),
        (TensorDataset(IMAGES), None, "received batches of 1 values"),
        (TensorDataset(IMAGES, LABELS, LABELS), None, "received batches of 3 values"),
        (["x", "y"], [0, 1], "received something that is no array"),
        ([(IMAGES[:2], LABELS[:2]), (IMAGES[:2, 0], LABELS[:2])], None, "expected batches of one shape"),
        ([], None, "expected at least one batch, received none"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(given: Any, targets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_samples("images", given, targets)
    assert str(caught.value).startswith("images: ")
    assert "\n" not in str(caught.value)


def test_too_few_images_cannot_be_split() -> None:
    with pytest.raises(DataError, match="search: expected at least 5 images to draw it from, received 4"):
        split_samples(read_samples("images", IMAGES[:4], LABELS[:4]), None, None, 0)


def test_several_inputs_and_targets_of_any_shape_are_kept() -> None:
    second, masks = torch.rand(30, 3), torch.rand(30, 2, 2)
    given = TensorDataset(IMAGES, second, masks)

    def collate(items: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[list[Tensor], Tensor]:
        first, other, wanted = (torch.stack(parts) for parts in zip(*items, strict=True))
        return [first, other], wanted

    loader = DataLoader(given, batch_size=7, collate_fn=collate)
    for found in (read_samples("images", (IMAGES, second), masks), read_samples("images", loader)):
        assert [array.shape for array in found.inputs] == [(30, 1, 2, 2), (30, 3)]
        assert np.array_equal(found.inputs[1], second.numpy())
        assert np.array_equal(found.targets, masks.numpy())
