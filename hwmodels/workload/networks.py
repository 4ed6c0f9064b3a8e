"""Published networks as layers and activations, to compare devices and models on without any weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from hwmodels.workload.network import Network
from hwmodels.workload.network_builder import FeatureMap, NetworkBuilder


def mlperf_tiny_resnet8(batch: int = 1) -> Network:
    """Return ResNet-8 on 32 x 32 x 3, the image classification of MLPerf Tiny.

    Three stages of one block with 16, 32 and 64 channels; the shortcuts of the last two are 1 x 1 convolutions.

    Source: Banbury et al., "MLPerf Tiny Benchmark", NeurIPS Datasets and Benchmarks 2021; layers as in
    `image_classification/keras_model.py` of mlcommons/tiny.

    Raises:
        LayerError: `batch` is not a whole number of at least 1; so for every network here.
    """
    build = NetworkBuilder("mlperf_tiny_resnet8", batch)
    x = build.conv("conv1", build.image(3, 32, 32), 16, (3, 3))
    for stage, channels in enumerate((16, 32, 64), 1):
        x = _basic_block(build, f"stage{stage}", x, channels, 1 if stage == 1 else 2)
    build.softmax(_classify(build, x, 10))
    return build.network()


def mlperf_tiny_ds_cnn(batch: int = 1) -> Network:
    """Return DS-CNN on 49 x 10 x 1, the keyword spotting of MLPerf Tiny: 64 filters, four separable blocks.

    Source: as for ResNet-8, `keyword_spotting/keras_model.py`; the network is of Zhang et al., "Hello Edge", 2017.
    """
    build = NetworkBuilder("mlperf_tiny_ds_cnn", batch)
    x = build.conv("conv1", build.image(1, 49, 10), 64, (10, 4), stride=2)
    for block in range(1, 5):
        x = _separable_block(build, f"block{block}", x, 64)
    build.softmax(_classify(build, x, 12))
    return build.network()


def mlperf_tiny_mobilenet(batch: int = 1) -> Network:
    """Return MobileNetV1 of width 0.25 on 96 x 96 x 3, the visual wake words of MLPerf Tiny.

    Source: as for ResNet-8, `visual_wake_words/vww_model.py`; the network is of Howard et al., "MobileNets", 2017.
    """
    build = NetworkBuilder("mlperf_tiny_mobilenet", batch)
    x = build.conv("conv1", build.image(3, 96, 96), 8, (3, 3), stride=2)
    build.softmax(_classify(build, _separable_blocks(build, x, 2 * x.channels), 2))
    return build.network()


def mlperf_tiny_autoencoder(batch: int = 1) -> Network:
    """Return the autoencoder of MLPerf Tiny's anomaly detection: 640-128-128-128-128-8-128-128-128-128-640.

    Source: as for ResNet-8, `anomaly_detection/keras_model.py`; the last layer has no function.
    """
    build = NetworkBuilder("mlperf_tiny_autoencoder", batch)
    x = build.image(640)
    for layer, channels in enumerate((*(128,) * 4, 8, *(128,) * 4), 1):
        x = build.linear(f"fc{layer}", x, channels, "relu")
    build.linear("fc10", x, 640)
    return build.network()


def alexnet(batch: int = 1) -> Network:
    """Return AlexNet on 227 x 227 x 3 with the two groups of its convolutions 2, 4 and 5.

    The paper says 224, but its 55 x 55 outputs need 227. Source: Krizhevsky et al., "ImageNet Classification with
    Deep Convolutional Neural Networks", NeurIPS 2012.
    """
    build = NetworkBuilder("alexnet", batch)
    x = build.conv("conv1", build.image(3, 227, 227), 96, (11, 11), stride=4, padded=False)
    x = _normalised_pool(build, 1, x)
    x = _normalised_pool(build, 2, build.conv("conv2", x, 256, (5, 5), groups=2))
    x = build.conv("conv3", x, 384, (3, 3))
    x = build.conv("conv4", x, 384, (3, 3), groups=2)
    x = build.pool("pool5", build.conv("conv5", x, 256, (3, 3), groups=2), (3, 3), 2)
    x = build.linear("fc6", x, 4096, "relu")
    x = build.linear("fc7", x, 4096, "relu")
    build.softmax(build.linear("fc8", x, 1000))
    return build.network()


def resnet18(batch: int = 1) -> Network:
    """Return ResNet-18 on 224 x 224 x 3; a shortcut that changes the shape is a 1 x 1 convolution (option B).

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1; option B as in torchvision.
    """
    build = NetworkBuilder("resnet18", batch)
    x = build.conv("conv1", build.image(3, 224, 224), 64, (7, 7), stride=2)
    x = build.pool("maxpool", x, (3, 3), 2, padded=True)
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _basic_block(build, f"layer{stage}.{block}", x, channels, stride)
    _classify(build, x, 1000)
    return build.network()


def resnet50(batch: int = 1, size: int = 224) -> Network:
    """Return ResNet-50 on size x size x 3, of 3, 4, 6 and 3 bottleneck blocks.

    Source: He et al., CVPR 2016, table 1; the 3 x 3 convolution of a block has its stride, as in torchvision.

    Example:
        >>> import hwmodels
        >>> hwmodels.NETWORKS["resnet50"](size=299).layers[0].out_h
        150
    """
    return _bottleneck_resnet("resnet50", batch, size, (3, 4, 6, 3))


def resnet152(batch: int = 1, size: int = 224) -> Network:
    """Return ResNet-152 on size x size x 3, of 3, 8, 36 and 3 bottleneck blocks; source as of ResNet-50."""
    return _bottleneck_resnet("resnet152", batch, size, (3, 8, 36, 3))


def vgg16(batch: int = 1) -> Network:
    """Return VGG-16 on 224 x 224 x 3.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    table 1, configuration D.
    """
    return _vgg("vgg16", batch, (2, 2, 3, 3, 3))


def vgg19(batch: int = 1) -> Network:
    """Return VGG-19 on 224 x 224 x 3; source as of VGG-16, configuration E."""
    return _vgg("vgg19", batch, (2, 2, 4, 4, 4))


def mobilenet_v1(batch: int = 1, size: int = 224, width: float = 1.0) -> Network:
    """Return MobileNetV1 on size x size x 3, thirteen separable blocks of `width` times the channels.

    Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
    table 1.
    """
    build = NetworkBuilder("mobilenet_v1", batch)
    x = build.conv("conv1", build.image(3, size, size), int(32 * width), (3, 3), stride=2)
    build.softmax(_classify(build, _separable_blocks(build, x, 2 * x.channels), 1000))
    return build.network()


def resnet20(batch: int = 1) -> Network:
    """Return ResNet-20 on 32 x 32 x 3 (CIFAR-10) with shortcuts without weights (option A).

    Where the shape changes, a shortcut takes every other pixel (here a pool with a window of 1) and pads channels
    with zeros. Source: He et al., CVPR 2016, section 4.2.
    """
    build = NetworkBuilder("resnet20", batch)
    x = build.conv("conv1", build.image(3, 32, 32), 16, (3, 3))
    for stage, channels in enumerate((16, 32, 64), 1):
        for block in range(3):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _basic_block(build, f"layer{stage}.{block}", x, channels, stride, projection=False)
    _classify(build, x, 10)
    return build.network()


def lenet5(batch: int = 1) -> Network:
    """Return LeNet-5 on 32 x 32 x 1, the 28 x 28 digits with their margin, as it is built today.

    Unlike in the paper, the third layer reads all six maps (not a chosen subset for each output), pooling has no
    weights, and the output is a linear layer. Source: LeCun et al., "Gradient-Based Learning Applied to Document
    Recognition", Proc. IEEE 1998.
    """
    build = NetworkBuilder("lenet5", batch)
    x = build.conv("c1", build.image(1, 32, 32), 6, (5, 5), padded=False, function="tanh")
    x = build.pool("s2", x, (2, 2), 2)
    x = build.conv("c3", x, 16, (5, 5), padded=False, function="tanh")
    x = build.pool("s4", x, (2, 2), 2)
    x = build.conv("c5", x, 120, (5, 5), padded=False, function="tanh")
    x = build.linear("f6", x, 84, "tanh")
    build.linear("output", x, 10)
    return build.network()


NETWORKS: Mapping[str, Callable[..., Network]] = MappingProxyType(
    {
        builder.__name__: builder
        for builder in (
            *(mlperf_tiny_resnet8, mlperf_tiny_ds_cnn, mlperf_tiny_mobilenet, mlperf_tiny_autoencoder),
            *(alexnet, resnet18, resnet20, lenet5, resnet50, resnet152, vgg16, vgg19, mobilenet_v1),
        )
    }
)
"""Name -> function of `batch` (1 unless given) that returns the network of that name."""


def _basic_block(
    build: NetworkBuilder, name: str, x: FeatureMap, channels: int, stride: int, *, projection: bool = True
) -> FeatureMap:
    """Append two 3 x 3 convolutions and a shortcut (He et al., CVPR 2016, figure 5)."""
    y = build.conv(f"{name}.conv1", x, channels, (3, 3), stride=stride)
    y = build.conv(f"{name}.conv2", y, channels, (3, 3), function="")
    if stride > 1 and projection:
        x = build.conv(f"{name}.shortcut", x, channels, (1, 1), stride=stride, function="")
    elif stride > 1:
        x = build.pool(f"{name}.shortcut", x, (1, 1), stride)
        build.skip(f"{name}.pad", "channels of zeros are appended as the addition reads: nothing is stored or computed")
        x = replace(x, channels=channels)
    return build.add(f"{name}.add", x, y)


def _bottleneck_resnet(name: str, batch: int, size: int, stages: tuple[int, ...]) -> Network:
    """Return a ResNet of so many bottleneck blocks in its stages (He et al., CVPR 2016, figure 5, right)."""
    build = NetworkBuilder(name, batch)
    x = build.conv("conv1", build.image(3, size, size), 64, (7, 7), stride=2)
    x = build.pool("maxpool", x, (3, 3), 2, padded=True)
    for stage, (channels, blocks) in enumerate(zip((64, 128, 256, 512), stages, strict=True), 1):
        for block in range(blocks):
            where, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = build.conv(f"{where}.conv1", x, channels, (1, 1))
            y = build.conv(f"{where}.conv2", y, channels, (3, 3), stride=stride)
            y = build.conv(f"{where}.conv3", y, 4 * channels, (1, 1), function="")
            if block == 0:
                x = build.conv(f"{where}.shortcut", x, 4 * channels, (1, 1), stride=stride, function="")
            x = build.add(f"{where}.add", x, y)
    _classify(build, x, 1000)
    return build.network()


def _vgg(name: str, batch: int, stages: tuple[int, ...]) -> Network:
    """Return a VGG network of so many 3 x 3 convolutions before each of its five poolings."""
    build = NetworkBuilder(name, batch)
    x = build.image(3, 224, 224)
    for stage, (channels, layers) in enumerate(zip((64, 128, 256, 512, 512), stages, strict=True), 1):
        for layer in range(1, layers + 1):
            x = build.conv(f"conv{stage}_{layer}", x, channels, (3, 3))
        x = build.pool(f"pool{stage}", x, (2, 2), 2)
    x = build.linear("fc6", x, 4096, "relu")
    x = build.linear("fc7", x, 4096, "relu")
    build.softmax(build.linear("fc8", x, 1000))
    return build.network()


def _separable_blocks(build: NetworkBuilder, x: FeatureMap, width: int) -> FeatureMap:
    """Append the thirteen blocks of MobileNetV1, the first of them of `width` channels."""
    for block, factor in enumerate((1, 2, 2, 4, 4, *(8,) * 6, 16, 16), 1):
        # The first block widens the map without shrinking it; every later one that widens it halves it too.
        stride = 2 if factor * width > x.channels and block > 1 else 1
        x = _separable_block(build, f"block{block}", x, factor * width, stride)
    return x


def _separable_block(build: NetworkBuilder, name: str, x: FeatureMap, channels: int, stride: int = 1) -> FeatureMap:
    """Append a 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution of all."""
    x = build.conv(f"{name}.depthwise", x, x.channels, (3, 3), stride=stride, groups=x.channels)
    return build.conv(f"{name}.pointwise", x, channels, (1, 1))


def _normalised_pool(build: NetworkBuilder, index: int, x: FeatureMap) -> FeatureMap:
    """Append local response normalisation, which no kind of layer here describes, and an overlapping maximum."""
    build.skip(f"norm{index}", "local response normalisation is not modelled: its cost is missing")
    return build.pool(f"pool{index}", x, (3, 3), 2)


def _classify(build: NetworkBuilder, x: FeatureMap, classes: int) -> FeatureMap:
    """Append the average of each channel, and a linear layer."""
    x = build.pool("pool", x, (x.height, x.width), 1)
    return build.linear("fc", x, classes)
