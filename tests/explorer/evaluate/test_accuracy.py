"""Counting images that a network classifies right, and choosing a device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from explorer.evaluate.accuracy import count_correct, find_torch_device


class Echo(nn.Module):
    """Logits are the first row of the image, doubled in training mode's absence alone."""

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return x[:, 0, 0]


def images_with(logits: list[list[float]]) -> Tensor:
    return torch.tensor(logits)[:, None, None, :]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_largest_logit_counts_whatever_the_batches(batch_size: int) -> None:
    images = images_with([[3.0, 1, 2], [0, 5, 1], [0, 1, 9], [2, 1, 0], [-3, -1, -2]])
    labels = torch.tensor([0, 1, 0, 0, 1])
    assert count_correct(Echo().train(), images, labels, batch_size) == 4


def test_nan_logits_are_wrong_even_where_argmax_would_hit() -> None:
    nan = float("nan")
    images = images_with([[nan, 1, 2], [0, nan, 1], [nan, nan, nan], [9, 0, 0]])
    assert count_correct(Echo(), images, torch.tensor([0, 1, 0, 0]), 2) == 1


def test_no_images_are_none_right() -> None:
    assert count_correct(Echo(), torch.zeros(0, 1, 1, 3), torch.zeros(0, dtype=torch.long), 8) == 0


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_torch_device("cpu").type == find_torch_device("auto").type == "cpu"
    with pytest.raises(ValueError, match=r"compute\.device: received \"cuda\", but torch finds no CUDA device"):
        find_torch_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [find_torch_device(name).type for name in ("cpu", "cuda", "auto")] == ["cpu", "cuda", "cuda"]
