"""The reference networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from explorer.models.lenet import LeNet5, LeNet5Digits
from explorer.models.resnet import CifarResNet, TinyResNet8


def lenet5_digits(classes: int = 10) -> nn.Module:
    """LeNet-5's layout for 1 x 8 x 8 images, untrained."""
    return LeNet5Digits(classes)


def lenet5(classes: int = 10) -> nn.Module:
    """LeNet-5 for 1 x 28 x 28 images, untrained."""
    return LeNet5(classes)


def resnet8(classes: int = 10) -> nn.Module:
    """MLPerf Tiny's ResNet-8 for 3 x 32 x 32 images with pixels in 0..255, untrained."""
    return TinyResNet8(classes)


def resnet20(classes: int = 10) -> nn.Module:
    """ResNet-20 for 3 x 32 x 32 images, untrained."""
    return CifarResNet(3, classes)


def resnet56(classes: int = 10) -> nn.Module:
    """ResNet-56 for 3 x 32 x 32 images, untrained."""
    return CifarResNet(9, classes)


REFERENCE_NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {
    "lenet5_digits": lenet5_digits,
    "lenet5": lenet5,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet56": resnet56,
}
"""Name in a study file -> function from the number of classes to an untrained network."""
