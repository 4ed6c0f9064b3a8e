"""The reference networks: shapes, sizes, tensor names, and the accuracy of the published checkpoints."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.errors import ModelError
from explorer.models.checkpoint import load_checkpoint
from explorer.models.load import load_model
from explorer.models.mlperf_tiny import SameConv2d, TinyMobileNetV1
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.models.unet import UNet
from explorer.settings import ModelSettings, TrainingSettings

REPOSITORY = Path(__file__).parents[3]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = {
    **dict.fromkeys(REFERENCE_NETWORKS, (3, 32, 32)),
    "lenet5_digits": (1, 8, 8),
    "lenet5": (1, 28, 28),
    "lenet5_caffe": (1, 28, 28),
    "mobilenet_v1": (3, 96, 96),
    "mobilenet_v2": (3, 64, 64),
    "resnet18": (3, 64, 64),
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


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def statistics(model: nn.Module) -> int:
    """Running means and variances, which Keras counts among the parameters."""
    return sum(buffer.numel() for name, buffer in model.named_buffers() if "running" in name)


def correct(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    with torch.inference_mode():
        return int((model(images).argmax(1) == labels).sum())


@pytest.mark.parametrize("name", [name for name in REFERENCE_NETWORKS if name != "unet"])
def test_a_network_has_one_logit_for_each_class(name: str) -> None:
    settings = ModelSettings(reference=name, training=TrainingSettings())
    model = load_model(settings, [SHAPES[name]], 7)
    with torch.inference_mode():
        assert model(torch.zeros(2, *SHAPES[name])).shape == (2, 7)


def test_the_unet_has_one_logit_for_each_class_and_pixel() -> None:
    model = REFERENCE_NETWORKS["unet"](7).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 32, 48)).shape == (2, 7, 32, 48)
    settings = ModelSettings(reference="unet", training=TrainingSettings())
    with pytest.raises(ModelError, match=r"expected logits of shape 2 x 7 .*, received 2 x 7 x 32 x 32"):
        load_model(settings, [(3, 32, 32)], 7)


@pytest.mark.parametrize(
    ("name", "classes", "published"),
    [
        # Of the layers of LeCun et al., 1998: 156 + 2,416 (all maps read) + 48,120 + 10,164 + 850.
        ("lenet5", 10, 61_706),
        # 431K in Han et al., 2015, table 3: 430,500 weights (500 + 25,000 + 400,000 + 5,000) and 580 biases.
        ("lenet5_caffe", 10, 431_080),
        # Convolutions as Li and Liu, 2016, list them: 4,574,592 weights, 1,792 biases, 3,584 of batch norms; behind the
        # average 525,312 and 10,250.
        ("vgg7", 10, 5_115_530),
        # No paper has this form; public lists of networks count it so beside VGG-16's 14,728,266. Five convolutions
        # have 2,251,584, three fully connected layers 21,020,682.
        ("alexnet", 10, 23_272_266),
        # github.com/kuangliu/pytorch-cifar, counted by thop in a fork's table; 14,723,136 + 5,130.
        ("vgg16", 10, 14_728_266),
        # github.com/akamaster/pytorch_resnet_cifar10; He et al., 2016, table 6: 0.27, 0.46, 0.66 and 0.85 M.
        ("resnet20", 10, 269_722),
        ("resnet32", 10, 464_154),
        ("resnet44", 10, 658_586),
        ("resnet56", 10, 853_018),
        # github.com/osmr/imgclsmob lists 272,474 and 855,770: 2,752 for two projections with their batch norms.
        ("resnet20_b", 10, 272_474),
        ("resnet32_b", 10, 464_154 + 2_752),
        ("resnet44_b", 10, 658_586 + 2_752),
        ("resnet56_b", 10, 855_770),
        # torchvision's documentation.
        ("resnet18", 1000, 11_689_512),
        ("mobilenet_v2", 1000, 3_504_872),
        # What Keras prints for the widely used U-Net of 16 to 256 channels, three in and one out.
        ("unet", 1, 1_941_105),
    ],
)
def test_a_network_has_as_many_parameters_as_published(name: str, classes: int, published: int) -> None:
    assert parameters(REFERENCE_NETWORKS[name](classes)) == published


def test_published_figures_for_lenet5_count_its_biases() -> None:
    model = REFERENCE_NETWORKS["lenet5_caffe"](10)
    biases = sum(value.numel() for name, value in model.named_parameters() if name.endswith("bias"))
    assert (parameters(model) - biases, biases) == (430_500, 580)


def test_networks_of_mlperf_tiny_have_as_many_parameters_as_their_keras_models() -> None:
    """MLCommons' counts, among which are batch-norm statistics: 480 of ResNet-8, 5,472 of MobileNetV1."""
    for name, classes, published, of_statistics in (
        ("resnet8", 10, 78_666, 480),
        ("mobilenet_v1", 2, 221_794, 5_472),
    ):
        model = REFERENCE_NETWORKS[name](classes)
        assert (parameters(model) + statistics(model), statistics(model)) == (published, of_statistics)


def test_mobilenet_without_biases_is_that_of_keras() -> None:
    """github.com/osmr/imgclsmob: MobileNet x 0.25 has 470,072 parameters with 1,000 classes."""
    assert parameters(TinyMobileNetV1(1000, bias=False)) == 470_072


def test_the_original_unet_has_four_times_the_width() -> None:
    """With 64 to 1024 channels, one in and two out: 31.0 M (Ronneberger et al., 2015, figure 1, give no sum)."""
    assert parameters(UNet(2, in_channels=1, widths=(64, 128, 256, 512, 1024))) == 31_030_658


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("alexnet", ("features.0.weight", "features.10.bias", "classifier.1.weight", "classifier.6.bias")),
        ("vgg16", ("features.0.weight", "features.1.running_var", "features.41.weight", "classifier.bias")),
        ("resnet20_b", ("layer2.0.shortcut.0.weight", "layer3.0.shortcut.1.running_mean", "linear.bias")),
        (
            "resnet18",
            ("conv1.weight", "layer1.0.bn2.weight", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight", "fc.bias"),
        ),
        (
            "mobilenet_v2",
            (
                *("features.0.0.weight", "features.1.conv.0.1.running_mean", "features.1.conv.1.weight"),
                *("features.17.conv.2.weight", "features.17.conv.3.bias", "features.18.1.weight", "classifier.1.bias"),
            ),
        ),
    ],
)
def test_tensors_have_their_published_names(name: str, names: tuple[str, ...]) -> None:
    assert set(names) <= set(REFERENCE_NETWORKS[name](10).state_dict())


def test_uneven_padding_goes_to_the_right_and_the_bottom() -> None:
    layer = SameConv2d(1, 1, 3, stride=2)
    nn.init.ones_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)  # type: ignore[arg-type]
    with torch.inference_mode():
        sums = layer(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert sums.flatten().tolist() == [45.0, 39.0, 66.0, 50.0]


@pytest.mark.parametrize("file", ["resnet8_mlperf.pt", "resnet20-12fca82f.th", "resnet56-4bfd9763.th"])
def test_published_checkpoints_fit(checkpoints: Path, file: str) -> None:
    load_checkpoint(REFERENCE_NETWORKS[file.replace("_", "-").partition("-")[0]](10), checkpoints / file)


@pytest.mark.parametrize(
    ("name", "file", "of_1000"),
    [
        # 91.73 and 93.39 % of all 10,000 test images, which benchmarks/published_accuracy.py counts.
        ("resnet20", "resnet20-12fca82f.th", 932),
        pytest.param("resnet56", "resnet56-4bfd9763.th", 933, marks=pytest.mark.slow),
        # 87.21 % of all 10,000; its pixels are in 0..255.
        ("resnet8", "resnet8_mlperf.pt", 863),
    ],
)
def test_published_checkpoints_are_as_often_right_as_measured(
    name: str, file: str, of_1000: int, checkpoints: Path, cifar10: tuple[Tensor, Tensor]
) -> None:
    """One image more or less is float arithmetic of another machine."""
    images, labels = cifar10
    if name != "resnet8":
        mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        images = (images / 255 - mean) / std
    model = load_model(ModelSettings(reference=name, checkpoint=str(checkpoints / file)), [(3, 32, 32)], 10)
    assert abs(correct(model, images, labels) - of_1000) <= 1
