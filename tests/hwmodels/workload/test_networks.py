"""Published networks against published counts of multiplications and parameters."""

from __future__ import annotations

import pytest

from hwmodels.errors import LayerError
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.network import Network
from hwmodels.workload.networks import NETWORKS, alexnet, mlperf_tiny_ds_cnn, mlperf_tiny_mobilenet, resnet18, resnet20


def layer(network: Network, name: str) -> LayerShape:
    return next(layer for layer in network.layers if layer.name == name)


def biases(network: Network) -> int:
    return sum(layer.out_channels for layer in network.layers if layer.weights)


@pytest.mark.parametrize(
    ("name", "macs", "parameters", "batch_norm_parameters"),
    [
        # MLPerf Tiny: 12.5, 2.66, 7.49 and 0.264 M MAC. Parameters are those of the Keras reference models in
        # mlcommons/tiny, counted over their layers (24,908 is what Keras prints for DS-CNN), with 4 for each channel
        # of a batch norm: 7 of them, 9, 27 (one for each convolution) and 9. Folding leaves the layers' own biases.
        ("mlperf_tiny_resnet8", 12_501_632, 78_666, 4 * (3 * 16 + 2 * 32 + 2 * 64)),
        ("mlperf_tiny_ds_cnn", 2_656_768, 24_908, 4 * 9 * 64),
        ("mlperf_tiny_mobilenet", 7_489_664, 221_794, 4 * 2736),
        ("mlperf_tiny_autoencoder", 264_192, 269_992, 4 * (8 * 128 + 8)),
        # 724 M MAC (Sze et al., Proc. IEEE 2017, table 2) and 61 M parameters; the exact sum is that of Caffe's model.
        ("alexnet", 724_406_816, 60_965_224, 0),
        # torchvision: 1.814 G MAC and 11,689,512 parameters, with a gain and an offset for each of 4,800 channels;
        # its convolutions have no bias, which folding puts in the offset's place.
        ("resnet18", 1_814_073_344, 11_689_512, 4800),
        # torchvision: 4.09 and 11.51 G MAC, 25.6 and 60.2 M parameters, with gains of 26,560 and 75,712 channels.
        ("resnet50", 4_089_184_256, 25_557_032, 26_560),
        ("resnet152", 11_513_626_624, 60_192_808, 75_712),
        # 138 and 144 M parameters (Simonyan and Zisserman, table 2); exact, and 15.5 and 19.6 G MAC, torchvision.
        ("vgg16", 15_470_264_320, 138_357_544, 0),
        ("vgg19", 19_632_062_464, 143_667_240, 0),
        # 569 M MAC and 4.2 M parameters (Howard et al., table 4): exactly those, with gains of 10,944 channels.
        ("mobilenet_v1", 568_740_352, 4_231_976, 10_944),
        # 0.27 M parameters (He et al., 2016, table 6); 269,722 with the gains of 688 channels in the widely used
        # implementation with option A, https://github.com/akamaster/pytorch_resnet_cifar10.
        ("resnet20", 40_551_040, 269_722, 688),
        # The layers of LeCun et al., 1998, have 156, 1516, 48,120 and 10,164 parameters; with all of c3's inputs
        # (2416) and a linear output (850) they are the 61,706 of today's versions.
        ("lenet5", 416_520, 61_706, 0),
    ],
)
def test_multiplications_and_parameters(name: str, macs: int, parameters: int, batch_norm_parameters: int) -> None:
    network = NETWORKS[name]()
    assert network.name == name
    assert network.macs == macs
    assert network.weights + biases(network) == parameters - batch_norm_parameters


def test_alexnet_by_layer() -> None:
    # Eyeriss, ISCA 2016, figure 10: energy of the ALUs for 16 images in units of one MAC, which is their number.
    macs = {shape.name: round(shape.macs / 1e9, 2) for shape in alexnet(batch=16).layers if shape.macs}
    convolutions = {"conv1": 1.69, "conv2": 3.58, "conv3": 2.39, "conv4": 1.79, "conv5": 1.2}
    assert macs == convolutions | {"fc6": 0.6, "fc7": 0.27, "fc8": 0.07}


def test_alexnet_pools_overlap() -> None:
    pools = [(shape.in_h, shape.out_h, shape.kernel_h) for shape in alexnet().layers if shape.kind == "pool"]
    assert pools == [(55, 27, 3), (27, 13, 3), (13, 6, 3)]
    assert [name for name, _ in alexnet().skipped] == ["norm1", "norm2", "fc6.flatten"]


def test_kernels_that_are_padded_to_half_the_map() -> None:
    first = layer(mlperf_tiny_ds_cnn(), "conv1")
    assert (first.kernel_h, first.kernel_w, first.out_h, first.out_w) == (10, 4, 25, 5)
    sizes = [shape.out_h for shape in mlperf_tiny_mobilenet().layers if shape.name.endswith("pointwise")]
    assert sizes == [48, 24, 24, 12, 12, 6, 6, 6, 6, 6, 6, 3, 3]


def test_a_shortcut_without_weights_reads_every_other_pixel() -> None:
    shortcut = layer(resnet20(), "layer2.0.shortcut")
    assert (shortcut.kind, shortcut.weights, shortcut.vector_operations) == ("pool", 0, 16 * 16 * 16)
    assert layer(resnet20(), "layer2.0.add").in_channels == 32
    assert [name for name, _ in resnet20().skipped] == ["layer2.0.pad", "layer3.0.pad"]
    assert layer(resnet18(), "layer2.0.shortcut").kind == "conv"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_multiplies_all_but_the_weights(name: str) -> None:
    one, several = NETWORKS[name](), NETWORKS[name](batch=4)
    assert several.macs == 4 * one.macs
    assert several.weights == one.weights
    assert [tensor.elements for tensor in several.tensors] == [4 * tensor.elements for tensor in one.tensors]


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_are_those_that_layers_write_and_read(name: str) -> None:
    network = NETWORKS[name]()
    written = {tensor.name: tensor for tensor in network.tensors}
    assert len(written) == len(network.tensors)
    in_place = [shape.name for shape in network.layers if shape.name.endswith((".relu", ".tanh"))]
    assert [tensor.name for tensor in network.tensors[1:]] == [
        shape.name for shape in network.layers if shape.name not in in_place
    ]
    for step, shape in enumerate(network.layers):
        if shape.name in in_place:
            before = written[shape.name.rpartition(".")[0]]
            assert before.first_step == step - 1
            assert before.last_step >= step
        else:
            assert (written[shape.name].first_step, written[shape.name].elements) == (step, shape.outputs)
    assert max(tensor.last_step for tensor in network.tensors) == len(network.layers) - 1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_activation_but_the_result_is_read(name: str) -> None:
    network = NETWORKS[name]()
    for tensor in network.tensors[1:-1]:
        assert tensor.last_step > tensor.first_step, tensor.name


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_a_wrong_batch_is_refused(batch: int) -> None:
    with pytest.raises(LayerError, match=r"network 'lenet5': batch: expected a whole number from 1 to \d+, received"):
        NETWORKS["lenet5"](batch)
