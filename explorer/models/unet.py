"""A small U-Net for segmentation: every pixel gets a logit for each class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128, 256)
"""Channels by resolution: a quarter of those of Ronneberger et al., 2015, figure 1."""


class DoubleConv(nn.Module):
    """Two 3 x 3 convolutions, each followed by a ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `n x channels x height x width`."""
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class UNet(nn.Module):
    """U-Net for `n x in_channels x height x width` images whose sides 2^(levels - 1) divides, 16 by default.

    As in Ronneberger et al., 2015, but for its width and its padding: convolutions keep the size, so that nothing
    has to be cropped where the skip connections are concatenated. `widths` are the channels of each level.
    """

    def __init__(self, classes: int, in_channels: int = 3, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        before = (in_channels, *widths)
        self.down = nn.ModuleList([DoubleConv(*pair) for pair in zip(before, widths, strict=False)])
        deep, shallow = widths[:0:-1], widths[-2::-1]
        self.up = nn.ModuleList([nn.ConvTranspose2d(*pair, 2, stride=2) for pair in zip(deep, shallow, strict=True)])
        self.merge = nn.ModuleList([DoubleConv(2 * channels, channels) for channels in shallow])
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes x height x width`."""
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]
