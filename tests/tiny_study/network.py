"""A user's own network, for crosses and frames of 8 x 8 pixels."""

from torch import nn


def build(width: int = 4, classes: int = 2) -> nn.Module:
    """Two convolutions and a fully connected layer."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24, classes),
    )
