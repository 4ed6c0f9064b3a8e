"""`explorer cost` on files of torch's own exporter: as many MACs as torch counts while the network runs."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from explorer.evaluate.workload import priced

OPSETS = range(11, 21)
BATCHES = ("fixed", "open")
Explorer = Callable[..., tuple[int, str, str]]


class Chunked(nn.Module):
    """Halves of channels, as in ShuffleNet and YOLO, and a reshape to what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 4, 1), nn.Linear(8 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).chunk(2, 1)
        y = torch.cat((self.left(left), right), 1)
        out: Tensor = self.last(y.reshape(y.shape[0], -1))
        return out


class Reflected(nn.Module):
    """Borders of reflected pixels, by the layer and by a module of their own; a slice of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")
        self.border, self.second, self.last = nn.ReflectionPad2d(2), nn.Conv2d(8, 4, 3, stride=2), nn.Linear(75, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.border(F.relu(self.first(x))))
        out: Tensor = self.last(torch.flatten(y, 1)[:, :75])
        return out


class Resized(nn.Module):
    """Maps that are enlarged by a factor, to the size of another map, and by a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.interpolate(self.first(x), scale_factor=2))
        out: Tensor = self.up(F.interpolate(y, size=x.shape[2:]))
        return out


class Attentive(nn.Module):
    """Patches, and attention over them with sizes read from the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Conv2d(3, 16, 2, 2), nn.Linear(16, 48)
        self.out, self.last = nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        batch, count, width = tokens.shape
        queries, keys, values = self.mix(tokens).reshape(batch, count, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        weights = (queries @ keys.transpose(-2, -1) * 0.5).softmax(-1)
        out: Tensor = self.last(self.out((weights @ values).transpose(1, 2).reshape(batch, count, width)).mean(1))
        return out


class Shuffled(nn.Module):
    """Channels in another order, and groups of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=4, padding=1)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)
        left, right = torch.split(x, channels // 2, 1)
        out: Tensor = self.last(self.grouped(torch.cat((right, left), 1)).mean((2, 3)))
        return out


class Sequence(nn.Module):
    """One axis, pooled to one position that is squeezed away."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(F.adaptive_avg_pool1d(self.first(x.flatten(2)), 1).squeeze(-1))
        return out


MODELS = (Chunked, Reflected, Resized, Attentive, Shuffled, Sequence)
SAMPLE = ((Chunked, 13, "open"), (Chunked, 20, "fixed"), (Reflected, 17, "open"), (Attentive, 11, "open"))


def counted(model: nn.Module, images: Tensor) -> int:
    """MACs that torch counts, two operations each, while the network runs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return int(counter.get_total_flops()) // 2


def exported(model: nn.Module, images: Tensor, path: Path, opset: int, batch: str, *, dynamo: bool = False) -> Path:
    """What torch writes."""
    options: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset, "dynamo": dynamo}
    if batch == "open" and dynamo:
        options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    elif batch == "open":
        options["dynamic_axes"] = {"x": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (images,), str(path), **options)
    return path


def check(kind: type[nn.Module], opset: int, batch: str, path: Path, *, dynamo: bool = False) -> None:
    model = kind().eval()
    images = torch.zeros(2 if dynamo and batch == "open" else 1, 3, 8, 8)  # torch.export takes a batch of 1 for fixed
    workload = priced(str(exported(model, images, path, opset, batch, dynamo=dynamo)), (8, 8), 1)
    assert sum(job.shape.macs for job in workload.jobs) == counted(model, images[:1]), (kind.__name__, opset, batch)


@pytest.mark.parametrize(("kind", "opset", "batch"), SAMPLE)
def test_macs_are_those_that_torch_counts(kind: type[nn.Module], opset: int, batch: str, tmp_path: Path) -> None:
    check(kind, opset, batch, tmp_path / "net.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_macs_of_every_opset_are_those_that_torch_counts(kind: type[nn.Module], tmp_path: Path) -> None:
    for opset, batch in product(OPSETS, BATCHES):
        check(kind, opset, batch, tmp_path / "net.onnx")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="needs onnxscript: pip install onnxscript")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", MODELS)
def test_macs_of_the_newer_exporter_are_those_that_torch_counts(
    kind: type[nn.Module], batch: str, tmp_path: Path
) -> None:
    check(kind, 18, batch, tmp_path / "net.onnx", dynamo=True)


def test_a_file_with_an_open_batch_has_a_price(explorer: Explorer, tmp_path: Path) -> None:
    model = Chunked().eval()
    path = exported(model, torch.zeros(1, 3, 8, 8), tmp_path / "net.onnx", 13, "open")
    code, out, err = explorer("cost", path, "--device", "bitfusion", "--bits", 8)
    assert (code, err) == (0, "")
    assert f"layers:      3, 3 of them with products; {counted(model, torch.zeros(1, 3, 8, 8)) / 1e3:.3g} k MACs" in out
