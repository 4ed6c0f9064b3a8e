"""The reference networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from explorer.models.alexnet import AlexNet
from explorer.models.lenet import LeNet5, LeNet5Digits
from explorer.models.mlperf_tiny import TinyMobileNetV1, TinyResNet8
from explorer.models.mobilenet_v2 import MobileNetV2
from explorer.models.resnet import CifarResNet, Option
from explorer.models.resnet18 import ResNet18
from explorer.models.unet import UNet
from explorer.models.vgg import Vgg16


def lenet5_digits(classes: int = 10) -> nn.Module:
    """Return LeNet-5's layout for 1 x 8 x 8 images, untrained."""
    return LeNet5Digits(classes)


def lenet5(classes: int = 10) -> nn.Module:
    """Return LeNet-5 for 1 x 28 x 28 images, untrained."""
    return LeNet5(classes)


def alexnet(classes: int = 10) -> nn.Module:
    """Return AlexNet for 3 x 32 x 32 images, untrained."""
    return AlexNet(classes)


def vgg16(classes: int = 10) -> nn.Module:
    """Return VGG-16 with batch norm for 3 x 32 x 32 images, untrained."""
    return Vgg16(classes)


def resnet8(classes: int = 10) -> nn.Module:
    """Return MLPerf Tiny's ResNet-8 for 3 x 32 x 32 images with pixels in 0..255, untrained."""
    return TinyResNet8(classes)


def resnet20(classes: int = 10, option: Option = "A") -> nn.Module:
    """Return ResNet-20 for 3 x 32 x 32 images, untrained."""
    return CifarResNet(3, classes, option)


def resnet32(classes: int = 10, option: Option = "A") -> nn.Module:
    """Return ResNet-32 for 3 x 32 x 32 images, untrained."""
    return CifarResNet(5, classes, option)


def resnet44(classes: int = 10, option: Option = "A") -> nn.Module:
    """Return ResNet-44 for 3 x 32 x 32 images, untrained."""
    return CifarResNet(7, classes, option)


def resnet56(classes: int = 10, option: Option = "A") -> nn.Module:
    """Return ResNet-56 for 3 x 32 x 32 images, untrained."""
    return CifarResNet(9, classes, option)


def resnet18(classes: int = 1000) -> nn.Module:
    """Return ResNet-18 for 3 x 224 x 224 images, or others of at least 32 x 32, untrained."""
    return ResNet18(classes)


def mobilenet_v1(classes: int = 2) -> nn.Module:
    """Return MLPerf Tiny's MobileNetV1 x 0.25 for 3 x 96 x 96 images, or others whose sides 32 divides, untrained."""
    return TinyMobileNetV1(classes)


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """Return MobileNetV2 for 3 x 224 x 224 images, or others of at least 32 x 32, untrained."""
    return MobileNetV2(classes)


def unet(classes: int = 1) -> nn.Module:
    """Return a small U-Net for 3 x H x W images whose sides 16 divides, untrained; logits are n x classes x H x W."""
    return UNet(classes)


REFERENCE_NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {
    "lenet5_digits": lenet5_digits,
    "lenet5": lenet5,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
    "resnet20_b": partial(resnet20, option="B"),
    "resnet32_b": partial(resnet32, option="B"),
    "resnet44_b": partial(resnet44, option="B"),
    "resnet56_b": partial(resnet56, option="B"),
    "resnet18": resnet18,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "unet": unet,
}
"""Name in a study file -> function from the number of classes to an untrained network."""
