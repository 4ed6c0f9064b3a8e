"""The reference networks by name; importing them takes no torch, building one does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explorer.dotted import resolve

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceNetwork:
    """A network's class, what it is built with beside the number of classes, and the images that it takes."""

    path: str
    images: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, classes: int) -> nn.Module:
        """Return an untrained network with one logit for each class."""
        network: nn.Module = resolve(self.path)(classes=classes, **self.arguments)
        return network


def _cifar(blocks: int, option: str) -> ReferenceNetwork:
    arguments = {"blocks": blocks, "option": option}
    return ReferenceNetwork(path="explorer.models.resnet:CifarResNet", images="3 x 32 x 32", arguments=arguments)


REFERENCE_NETWORKS: Mapping[str, ReferenceNetwork] = {
    "lenet5_digits": ReferenceNetwork(path="explorer.models.lenet:LeNet5Digits", images="1 x 8 x 8"),
    "lenet5": ReferenceNetwork(path="explorer.models.lenet:LeNet5", images="1 x 28 x 28"),
    "lenet5_caffe": ReferenceNetwork(path="explorer.models.lenet:LeNet5Caffe", images="1 x 28 x 28"),
    "alexnet": ReferenceNetwork(path="explorer.models.alexnet:AlexNet", images="3 x 32 x 32"),
    "vgg7": ReferenceNetwork(path="explorer.models.vgg:Vgg7", images="3 x 32 x 32, with batch norms"),
    "vgg16": ReferenceNetwork(path="explorer.models.vgg:Vgg16", images="3 x 32 x 32, with batch norms"),
    "resnet8": ReferenceNetwork(
        path="explorer.models.mlperf_tiny:TinyResNet8", images="3 x 32 x 32, pixels in 0..255 (MLPerf Tiny)"
    ),
    "resnet20": _cifar(3, "A"),
    "resnet32": _cifar(5, "A"),
    "resnet44": _cifar(7, "A"),
    "resnet56": _cifar(9, "A"),
    "resnet20_b": _cifar(3, "B"),
    "resnet32_b": _cifar(5, "B"),
    "resnet44_b": _cifar(7, "B"),
    "resnet56_b": _cifar(9, "B"),
    "resnet18": ReferenceNetwork(
        path="explorer.models.resnet18:ResNet18", images="3 x 224 x 224, or others of at least 32 x 32"
    ),
    "mobilenet_v1": ReferenceNetwork(
        path="explorer.models.mlperf_tiny:TinyMobileNetV1",
        images="3 x 96 x 96, or others whose sides 32 divides (MLPerf Tiny, x 0.25)",
    ),
    "mobilenet_v2": ReferenceNetwork(
        path="explorer.models.mobilenet_v2:MobileNetV2", images="3 x 224 x 224, or others of at least 32 x 32"
    ),
    "unet": ReferenceNetwork(
        path="explorer.models.unet:UNet", images="3 x H x W, sides that 16 divides; logits n x classes x H x W"
    ),
}
"""Name in a study file to network. A new one is a file and an entry here."""
