"""The reference networks: shapes, sizes, and the accuracy of the published checkpoints."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.models.checkpoint import load_checkpoint
from explorer.models.load import load_model
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.models.resnet import SameConv2d
from explorer.settings import REFERENCES, ModelSettings

REPOSITORY = Path(__file__).parents[3]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = {
    "lenet5_digits": (1, 8, 8),
    "lenet5": (1, 28, 28),
    "resnet8": (3, 32, 32),
    "resnet20": (3, 32, 32),
    "resnet56": (3, 32, 32),
}


@pytest.fixture
def checkpoints() -> Path:
    """Folder with the published checkpoints."""
    found = Path(os.environ.get("EXPLORER_CHECKPOINTS") or REPOSITORY.parent / "shared" / "checkpoints")
    if not (found / "resnet20-12fca82f.th").is_file():
        pytest.skip("no resnet20-12fca82f.th; set EXPLORER_CHECKPOINTS to the folder of the checkpoints")
    return found


@pytest.fixture
def cifar10() -> tuple[Tensor, Tensor]:
    """The first 1,000 test images with pixels in 0..255, and their labels."""
    file = Path(os.environ.get("EXPLORER_DATA") or REPOSITORY.parent / "shared" / "data") / "cifar10.npz"
    if not file.is_file():
        pytest.skip("no cifar10.npz; set EXPLORER_DATA to its folder")
    with np.load(file, allow_pickle=False) as archive:
        images, labels = archive["x_test"][:1000], archive["y_test"][:1000]
    return torch.from_numpy(images).permute(0, 3, 1, 2).float(), torch.from_numpy(labels.astype(np.int64))


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.inference_mode():
        return float((model(images).argmax(1) == labels).float().mean())


def test_the_names_are_those_of_the_study_file() -> None:
    assert set(REFERENCE_NETWORKS) == set(REFERENCES) == set(SHAPES)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_network_has_one_logit_for_each_class(name: str) -> None:
    model = REFERENCE_NETWORKS[name](7).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, *SHAPES[name])).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet8", 78_186 + 480), ("resnet20", 269_722), ("resnet56", 853_018)]
)
def test_a_network_has_as_many_parameters_as_published(name: str, parameters: int) -> None:
    """Of ResNet-8, MLCommons counts 78,666 with and 78,186 without the 480 batch-norm statistics."""
    model = REFERENCE_NETWORKS[name](10)
    statistics = sum(b.numel() for n, b in model.named_buffers() if "running" in n) if name == "resnet8" else 0
    assert sum(p.numel() for p in model.parameters()) + statistics == parameters


def test_uneven_padding_goes_to_the_right_and_the_bottom() -> None:
    layer = SameConv2d(1, 1, 3, stride=2)
    nn.init.ones_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)  # type: ignore[arg-type]
    with torch.inference_mode():
        sums = layer(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert sums.flatten().tolist() == [45.0, 39.0, 66.0, 50.0]


@pytest.mark.parametrize("file", ["resnet20-12fca82f.th", "resnet56-4bfd9763.th"])
def test_published_checkpoints_fit(checkpoints: Path, file: str) -> None:
    load_checkpoint(REFERENCE_NETWORKS[file.partition("-")[0]](10), checkpoints / file)


def test_resnet20_has_its_published_accuracy(checkpoints: Path, cifar10: tuple[Tensor, Tensor]) -> None:
    """91.73 % on all 10,000 test images; 1,000 of them have a standard error of 0.9 points."""
    settings = ModelSettings(reference="resnet20", checkpoint=str(checkpoints / "resnet20-12fca82f.th"))
    images, labels = cifar10
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    model = load_model(settings, (3, 32, 32), 10)
    assert accuracy(model, (images / 255 - mean) / std, labels) == pytest.approx(0.9173, abs=0.027)


def test_resnet8_has_its_published_accuracy(checkpoints: Path, cifar10: tuple[Tensor, Tensor]) -> None:
    """87.21 % on all 10,000 test images, with pixels in 0..255."""
    settings = ModelSettings(reference="resnet8", checkpoint=str(checkpoints / "resnet8_mlperf.pt"))
    assert accuracy(load_model(settings, (3, 32, 32), 10), *cifar10) == pytest.approx(0.8721, abs=0.032)
