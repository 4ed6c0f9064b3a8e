"""VGG-16 in its CIFAR-10 form: thirteen convolutions with batch norm, and one fully connected layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(Channels, convolutions) between two poolings: configuration D of Simonyan and Zisserman, 2015, table 1."""


class Vgg16(nn.Module):
    """VGG-16 for `n x 3 x 32 x 32` images; tensor names are those of github.com/kuangliu/pytorch-cifar."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for channels, convolutions in STAGES:
            for _ in range(convolutions):
                layers += [
                    nn.Conv2d(in_channels, channels, kernel_size=3, padding=1),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                ]
                in_channels = channels
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        return self.classifier(torch.flatten(self.features(x), 1))  # type: ignore[no-any-return]
