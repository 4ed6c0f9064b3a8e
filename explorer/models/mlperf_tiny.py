"""Networks of MLPerf Tiny (Banbury et al., 2021): ResNet-8, and MobileNetV1 of a quarter of its width.

Both are transcripts of MLCommons' Keras models, github.com/mlcommons/tiny, biases of the convolutions included.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERAS_BATCH_NORM_EPS = 1e-3
SEPARABLE = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2), (256, 1))
"""(Channels, stride) of MobileNetV1's blocks: a quarter of the channels of Howard et al., 2017, table 1."""


class SameConv2d(nn.Module):
    """A convolution with Keras' padding "same": an odd pixel of padding goes to the right and the bottom."""

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        # For image sizes that the stride divides, as all are here.
        total = max(kernel_size - stride, 0)
        self.uneven = total % 2 == 1
        padding = 0 if self.uneven else total // 2
        self.padding = (total // 2, total - total // 2) * 2
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return `n x channels x height/stride x width/stride`."""
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
        """Return `n x channels x height/stride x width/stride`."""
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
        """Return logits, `n x classes`."""
        out = F.relu(self.b0(self.c0(x)))
        out = self.l3(self.l2(self.l1(out)))
        return self.fc(torch.flatten(F.avg_pool2d(out, 8), 1))  # type: ignore[no-any-return]


class SeparableBlock(nn.Module):
    """A 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution of all."""

    def __init__(self, in_channels: int, channels: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.depthwise = SameConv2d(in_channels, in_channels, 3, stride, groups=in_channels, bias=bias)
        self.bn1 = nn.BatchNorm2d(in_channels, eps=KERAS_BATCH_NORM_EPS)
        self.pointwise = SameConv2d(in_channels, channels, 1, bias=bias)
        self.bn2 = nn.BatchNorm2d(channels, eps=KERAS_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return `n x channels x height/stride x width/stride`."""
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class TinyMobileNetV1(nn.Module):
    """MobileNetV1 x 0.25 for `n x 3 x height x width` images whose sides 32 divides, 96 x 96 in MLPerf Tiny.

    Without `bias` its layers are those of Keras' own MobileNet of that width, whose functions are ReLU6.
    """

    def __init__(self, classes: int, bias: bool = True) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 8, 3, stride=2, bias=bias)
        self.bn = nn.BatchNorm2d(8, eps=KERAS_BATCH_NORM_EPS)
        before = (8, *(channels for channels, _ in SEPARABLE))
        self.blocks = nn.ModuleList(
            [
                SeparableBlock(in_channels, channels, stride, bias)
                for in_channels, (channels, stride) in zip(before, SEPARABLE, strict=False)
            ]
        )
        self.fc = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        x = F.relu(self.bn(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]
