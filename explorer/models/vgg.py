"""VGG networks in their CIFAR-10 forms: 3 x 3 convolutions with batch norm, between poolings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

VGG7_STAGES = ((128, 2), (256, 2), (512, 2))
"""(Channels, convolutions) between two poolings: Li and Liu, 2016, section 3."""
VGG7_NEURONS = 1024
VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Configuration D of Simonyan and Zisserman, 2015, table 1."""


class Vgg7(nn.Module):
    """VGG-7 for `n x 3 x 32 x 32` images, with 5,115,530 parameters for ten classes.

    The network of low-bit weights (Li and Liu, 2016) in the form whose bit operations GETA (Qu et al., 2025) counts:
    what is left of the image is averaged before the 1,024 neurons, which read 512 inputs then instead of 8,192.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_convolutions(VGG7_STAGES), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Sequential(
            nn.Linear(VGG7_STAGES[-1][0], VGG7_NEURONS), nn.ReLU(inplace=True), nn.Linear(VGG7_NEURONS, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        return self.classifier(torch.flatten(self.features(x), 1))  # type: ignore[no-any-return]


class Vgg16(nn.Module):
    """VGG-16 for `n x 3 x 32 x 32` images; tensor names are those of github.com/kuangliu/pytorch-cifar."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_convolutions(VGG16_STAGES))
        self.classifier = nn.Linear(VGG16_STAGES[-1][0], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        return self.classifier(torch.flatten(self.features(x), 1))  # type: ignore[no-any-return]


def _convolutions(stages: Sequence[tuple[int, int]]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    in_channels = 3
    for channels, convolutions in stages:
        for _ in range(convolutions):
            layers += [
                nn.Conv2d(in_channels, channels, kernel_size=3, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            in_channels = channels
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return layers
