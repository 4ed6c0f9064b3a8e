"""Logits of 16 bits tell classes apart that share a code of 8, and are those of the program in every kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.export.formats import FileTypes
from explorer.export.tflite.run import KERNELS
from explorer.integer.interpret import run_program
from tests.support.litert import check_equal, list_operators, needs_litert, run_file, write_network

pytestmark = needs_litert
SHAPE = (3, 6, 6)
IMAGES = torch.randn(96, *SHAPE, generator=torch.Generator().manual_seed(3))
LAST: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 5)),
    "convolution": lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1),
    "groups": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "transposed convolution": lambda: nn.ConvTranspose2d(3, 5, 3, 2, 1),
}


def open_drawn(make: Callable[[], nn.Module]) -> CompressionContext:
    """The context of a network with drawn weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CompressionContext.of(make().eval(), IMAGES[:16])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", LAST)
def test_all_kernels_give_the_programs_integers_of_a_last_layer(name: str, bits: int, tmp_path: Path) -> None:
    base = open_drawn(LAST[name])
    network = check_equal(base, uniform(base.graph, bits), IMAGES, tmp_path, FileTypes(outputs="int16"))
    expected = run_program(network.program, IMAGES.numpy())
    assert len(np.unique(expected)) > 400  # more than codes of 8 bits are
    for kernels in KERNELS:
        assert (run_file(network, IMAGES, tmp_path, kernels) == expected).all()


@pytest.mark.parametrize("outputs", ["int16", "float32"])
def test_a_layer_of_few_steps_has_logits_as_coarse_as_its_sums(outputs: str, tmp_path: Path) -> None:
    """Runtimes multiply a sum with less than 128: finer logits than that of large steps were refused."""
    base = open_drawn(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    )
    for bits in (2, 3):
        network = check_equal(base, uniform(base.graph, 5, bits), IMAGES, tmp_path, FileTypes(outputs=outputs))
        assert network.logits.type == "int16"


class Alike(nn.Module):
    """Two likely classes, of which the second is so by next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
        with torch.no_grad():
            self.head.weight[1] = self.head.weight[0]
            self.head.bias[:2] = torch.tensor((1.0, 1.0005))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(x).relu().mean((2, 3)))
        return logits


@pytest.mark.parametrize("outputs", ["int8", "int16", "float32"])
def test_classes_nearly_equal_share_the_largest_code_of_8_bits_alone(outputs: str, tmp_path: Path) -> None:
    base = open_drawn(Alike)
    with torch.no_grad():
        assert (base.model(IMAGES).argmax(1) == 1).all()
    network = write_network(base, uniform(base.graph), tmp_path, FileTypes(outputs=outputs))
    logits = run_file(network, IMAGES, tmp_path)
    assert (logits == run_program(network.program, IMAGES.numpy())).all()
    if outputs == "int8":
        assert (logits.argmax(1) == 0).mean() > 0.9
        assert (logits[:, 0] == logits[:, 1]).mean() > 0.9
    else:
        assert (logits.argmax(1) == 1).all()


class TwoHeads(nn.Module):
    """Logits of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.some, self.others = nn.Conv2d(3, 8, 3), nn.Linear(128, 2), nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x).relu().flatten(1)
        return torch.cat((self.some(maps), self.others(maps)), 1)


class Mean(nn.Module):
    """Logits that are means of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        means: Tensor = self.conv(x).mean((2, 3))
        return means


@pytest.mark.parametrize(
    ("make", "operators"), [(TwoHeads, ["RESHAPE", "CONCATENATION"]), (Mean, ["DEPTHWISE_CONV_2D", "RESHAPE"])]
)
def test_logits_may_be_joined_or_means(make: Callable[[], nn.Module], operators: list[str], tmp_path: Path) -> None:
    base = open_drawn(make)
    network = check_equal(base, uniform(base.graph), IMAGES, tmp_path, FileTypes(outputs="int16"))
    assert list_operators(network.content)[-2:] == operators


class Sum(nn.Module):
    """A network that ends with no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 5, 3), nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.other(x)  # type: ignore[no-any-return]


def test_what_has_no_operator_of_16_bits_gives_floats_of_8_and_refuses_int16_in_a_line(tmp_path: Path) -> None:
    base = open_drawn(Sum)
    network = check_equal(base, uniform(base.graph), IMAGES, tmp_path, FileTypes(outputs="float32"))
    assert network.logits.type == "int8"
    message = (
        r"^export: outputs: expected int8, uint8 or float32 of a network .*\(Requantize 'logits' .*, received 'int16'$"
    )
    with pytest.raises(ExportError, match=message) as error:
        write_network(base, uniform(base.graph), tmp_path, FileTypes(outputs="int16"))
    assert "\n" not in str(error.value)


def test_probabilities_of_16_bits_are_those_of_the_logits(tmp_path: Path) -> None:
    base = open_drawn(lambda: nn.Sequential(Alike(), nn.Softmax(1)))
    network = write_network(base, uniform(base.graph), tmp_path, FileTypes(outputs="int16"))
    assert list_operators(network.content)[-1] == "SOFTMAX"
    codes = run_file(network, IMAGES, tmp_path)
    logits = torch.from_numpy(run_program(network.program, IMAGES.numpy()) * network.logits.scale)
    assert np.abs(codes / 2**15 - logits.softmax(1).numpy()).max() <= 2 / 2**15
    assert (codes.argmax(1) == 1).all()
