"""Choosing a device."""

from __future__ import annotations

import pytest
import torch

from explorer.evaluate.torch_device import find_torch_device


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_torch_device("cpu").type == find_torch_device("auto").type == "cpu"
    with pytest.raises(ValueError, match=r"compute\.device: received \"cuda\", but torch finds no CUDA device"):
        find_torch_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [find_torch_device(name).type for name in ("cpu", "cuda", "auto")] == ["cpu", "cuda", "cuda"]
