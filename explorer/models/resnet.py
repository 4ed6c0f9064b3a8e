"""Residual networks for CIFAR-10: ResNet-20 and ResNet-56 (He et al., 2016), and MLPerf Tiny's ResNet-8.

Parameter names are those of the published checkpoints: github.com/akamaster/pytorch_resnet_cifar10 for
ResNet-20 and ResNet-56, and a transcript of MLCommons' Keras model for ResNet-8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERAS_BATCH_NORM_EPS = 1e-3


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters (option A).

    Where the block halves the image, the shortcut takes every other pixel and pads the channels with zeros.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """`n x channels x height/stride x width/stride`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.padding:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """ResNet-(6 n + 2) for `n x 3 x 32 x 32` images: stages of `blocks` blocks with 16, 32, 64 channels."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, `n x classes`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size(3))
        out = out.view(out.size(0), -1)
        return self.linear(out)  # type: ignore[no-any-return]


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


class SameConv2d(nn.Module):
    """A convolution with Keras' padding "same": an odd pixel of padding goes to the right and the bottom."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        # For image sizes that the stride divides, as all are here.
        total = max(kernel_size - stride, 0)
        self.uneven = total % 2 == 1
        padding = 0 if self.uneven else total // 2
        self.padding = (total // 2, total - total // 2) * 2
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, stride=stride, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """`n x channels x height/stride x width/stride`."""
        return self.conv(F.pad(x, self.padding) if self.uneven else x)  # type: ignore[no-any-return]


class KerasBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, a 1 x 1 convolution where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.c1 = SameConv2d(in_channels, channels, 3, stride)
        self.b1 = nn.BatchNorm2d(channels, eps=KERAS_BATCH_NORM_EPS)
        self.c2 = SameConv2d(channels, channels, 3)
        self.b2 = nn.BatchNorm2d(channels, eps=KERAS_BATCH_NORM_EPS)
        self.sc = SameConv2d(in_channels, channels, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """`n x channels x height/stride x width/stride`."""
        out = F.relu(self.b1(self.c1(x)))
        out = self.b2(self.c2(out))
        return F.relu(out + (x if self.sc is None else self.sc(x)))


class TinyResNet8(nn.Module):
    """MLPerf Tiny's ResNet-8 for `n x 3 x 32 x 32` images with pixels in 0..255 (data.std = 1/255)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.c0 = SameConv2d(3, 16, 3)
        self.b0 = nn.BatchNorm2d(16, eps=KERAS_BATCH_NORM_EPS)
        self.l1 = KerasBlock(16, 16, 1)
        self.l2 = KerasBlock(16, 32, 2)
        self.l3 = KerasBlock(32, 64, 2)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, `n x classes`."""
        out = F.relu(self.b0(self.c0(x)))
        out = self.l3(self.l2(self.l1(out)))
        return self.fc(torch.flatten(F.avg_pool2d(out, 8), 1))  # type: ignore[no-any-return]
