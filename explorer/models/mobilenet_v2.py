"""MobileNetV2 (Sandler et al., 2018, table 2), with the tensor names of torchvision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(Expansion, channels, blocks, stride of the first block)."""
FIRST, LAST = 32, 1280
"""Channels of the first and of the last convolution."""
DROPOUT = 0.2
"""As in torchvision."""


class InvertedResidual(nn.Module):
    """A wide depthwise convolution between two narrow ends, with a shortcut where the shape stays."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.shortcut = stride == 1 and in_channels == channels
        widen = [_convolution(in_channels, wide, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            _convolution(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `n x channels x height/stride x width/stride`."""
        return x + self.conv(x) if self.shortcut else self.conv(x)  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """MobileNetV2 for `n x 3 x height x width` images, 224 x 224 in ImageNet."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        features: list[nn.Module] = [_convolution(3, FIRST, 3, stride=2)]
        before = FIRST
        for expansion, channels, blocks, stride in STAGES:
            for block in range(blocks):
                features.append(InvertedResidual(before, channels, stride if block == 0 else 1, expansion))
                before = channels
        features.append(_convolution(before, LAST, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(LAST, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def _convolution(in_channels: int, channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    padding = (kernel_size - 1) // 2
    convolution = nn.Conv2d(in_channels, channels, kernel_size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU6(inplace=True))
