"""Residual networks for CIFAR-10 (He et al., 2016, section 4.2), with shortcuts of option A and of option B.

Parameter names are those of the published checkpoints, github.com/akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Option = Literal["A", "B"]
"""Of the shortcuts where the shape changes: "A" has no parameters, "B" is a 1 x 1 convolution with batch norm."""


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    Where the block halves the image, a shortcut of option A takes every other pixel and pads the channels with zeros.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, option: Option = "A") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - in_channels) // 2 if option == "A" else 0
        self.shortcut = nn.Sequential()
        if option == "B" and (stride > 1 or channels != in_channels):
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `n x channels x height/stride x width/stride`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.padding:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """ResNet-(6 n + 2) for `n x 3 x 32 x 32` images: stages of `blocks` blocks with 16, 32, 64 channels."""

    def __init__(self, blocks: int, classes: int, option: Option = "A") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1, option)
        self.layer2 = _stage(16, 32, blocks, 2, option)
        self.layer3 = _stage(32, 64, blocks, 2, option)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size(3))
        out = out.view(out.size(0), -1)
        return self.linear(out)  # type: ignore[no-any-return]


def _stage(in_channels: int, channels: int, blocks: int, stride: int, option: Option) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride, option)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1, option) for _ in range(blocks - 1)))
