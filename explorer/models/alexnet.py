"""AlexNet in its CIFAR-10 form: five convolutions and three fully connected layers for 32 x 32 images."""

from __future__ import annotations

from torch import Tensor, nn

DROPOUT = 0.5
"""Krizhevsky et al., 2012, section 4.2."""


class AlexNet(nn.Module):
    """AlexNet for `n x 3 x 32 x 32` images, with the channels of torchvision's and 3 x 3 kernels throughout.

    The adaptation that most PyTorch code means by AlexNet for CIFAR-10, with 23,272,266 parameters for ten classes: the
    first convolution has stride 2, and three poolings leave 2 x 2 pixels. Tensor names are those of torchvision.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 64, stride=2, pooled=True),
            *_convolution(64, 192, pooled=True),
            *_convolution(192, 384),
            *_convolution(384, 256),
            *_convolution(256, 256, pooled=True),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(256 * 2 * 2, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `n x classes`."""
        x = self.features(x)
        return self.classifier(x.view(x.size(0), 256 * 2 * 2))  # type: ignore[no-any-return]


def _convolution(in_channels: int, channels: int, stride: int = 1, pooled: bool = False) -> list[nn.Module]:
    pooling: list[nn.Module] = [nn.MaxPool2d(2)] if pooled else []
    return [nn.Conv2d(in_channels, channels, 3, stride, padding=1), nn.ReLU(inplace=True), *pooling]
