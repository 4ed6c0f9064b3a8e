"""The published ResNet-20 and ResNet-56 in coded files of given sizes, without training, on the CIFAR-10 test images.

One number gives the step of every layer's weights, c over the root mean square of their DeepLIFT multipliers and over
the root of the share of an output's error that error feedback leaves there, and all integers lie in one file at their
entropy, with steps, biases and tables. For each size c is found by bisection on the bytes of the file. Beside it stands
the mean square by which logits differ from the float network's on training images that nothing was calibrated on, by
which that rule was chosen. The file is read back, and what it decodes to is scored once on the
10,000 test images. Needs EXPLORER_DATA (a folder with cifar10.npz) and EXPLORER_CHECKPOINTS; says so and ends where
they are not set. --network resnet20 or resnet56 for one of them, --images N to score fewer.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

import explorer
from explorer.compress.apply import CompressionContext, apply
from explorer.evaluate.coded_size import CodedSizes
from explorer.evaluate.hardware import count_float_weight_bytes
from explorer.packed.coded import Coding, code, write_coded
from explorer.packed.file import read_packed
from explorer.packed.network import decode_like, packable, refuse_different

STUDY = Path(__file__).parent.parent / "studies" / "resnet20_cifar10"
CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
AIMS: Mapping[str, Mapping[int, float]] = {
    "resnet20": {80_000: 0.916, 67_000: 0.912, 56_500: 0.907},
    "resnet56": {155_000: 0.924},
}
"""Bytes of the whole file -> share right to reach."""
CALIBRATION, ASIDE = 512, 2000
"""Training images that calibrate and round, and others."""
LAST_OFFSET = -1.0
"""Of the last layer, whose multipliers are those of one logit of ten."""
RANGE = (1e-3, 1e-1)
"""Of c."""
CLOSE = 0.99
"""Share of the bytes allowed from which on c is not made finer any more."""


Build = Callable[[CompressionContext, explorer.Candidate], fx.GraphModule]
Count = Callable[[fx.GraphModule, Coding], int]
"""Returns the bytes that a network, whose file would be this, is said to take."""


class Built(NamedTuple):
    """A network of one step and its file."""

    step: float
    model: fx.GraphModule
    coding: Coding
    ratio: float
    """Of the bytes of the file to those that were estimated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aside:
    """Training images that nothing was calibrated on, and the float network's logits there."""

    images: Tensor
    expected: Tensor

    @classmethod
    def of(cls, net: explorer.Net) -> Aside:
        """Take the first ones of the training images that do not calibrate."""
        used = {image.tobytes() for image in net.data.calibration.inputs[0]}
        free = [image for image in net.data.train.inputs[0] if image.tobytes() not in used][:ASIDE]
        images = torch.from_numpy(np.stack(free))
        return cls(images=images, expected=_logits(net.context.model, images))

    def error(self, model: nn.Module) -> float:
        """Return the mean square of what a network's logits differ by."""
        return float((_logits(model, self.images) - self.expected).square().mean())


def main() -> None:
    """Print bytes and accuracy for each size, next to the float network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=tuple(AIMS), help="one of them (default: both)")
    parser.add_argument("--images", type=int, default=10_000, help="test images to score (default: all 10,000)")
    arguments = parser.parse_args()
    if not os.environ.get("EXPLORER_DATA") or not os.environ.get("EXPLORER_CHECKPOINTS"):
        print("skipped: set EXPLORER_DATA (with cifar10.npz) and EXPLORER_CHECKPOINTS")
        return
    torch.set_num_threads(1)
    for network in AIMS if arguments.network is None else (arguments.network,):
        show(network, arguments.images)


def show(network: str, count: int) -> None:
    """Print the figures of one network."""
    net, start = open_network(network), time.process_time()
    aside = Aside.of(net)
    images, labels = test_images(net, count)
    float32_bytes = count_float_weight_bytes(net.graph)
    right = explorer.accuracy(net.context.model, images, labels).value
    print(f"{network}, float: {float32_bytes:,} bytes, {right:.2%} of {len(labels)} test images right", flush=True)
    ratio = 1.03  # of ResNet-20; any other takes a build more
    for limit, aim in AIMS[network].items():
        best = fit(net, limit, ratio)
        ratio = best.ratio
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.bin"
            write_coded(packable(best.model), file)
            size, decoded = file.stat().st_size, decode_like(best.model, read_packed(file))
        refuse_different(best.model, decoded, file)
        right = explorer.accuracy(decoded, images, labels).value
        print(
            f"{network}, at most {limit:,} bytes: c = {best.step:.5f}, {float32_bytes / size:.1f} times smaller, "
            f"{best.coding.summary}; logits differ by {aside.error(best.model):.3f} on training images; "
            f"decoded to equal integers: {right:.2%} (aim {aim:.1%}); "
            f"{time.process_time() - start:.0f} s CPU since the start",
            flush=True,
        )


def open_network(network: str) -> explorer.Net:
    """Return a network ready for steps."""
    study = explorer.load_study(STUDY)
    checkpoint = "${EXPLORER_CHECKPOINTS}/" + CHECKPOINTS[network]
    model = replace(study.model, reference=network, checkpoint=checkpoint)
    quantizer = replace(study.quantizer, rounding="adaptive", rounding_images=CALIBRATION)
    data = replace(study.data, calibration=CALIBRATION)
    net = explorer.open(replace(study, model=model, data=data, quantizer=quantizer))
    return net.ordered_by(explorer.relevance(net, "deeplift"))


def count_file(model: fx.GraphModule, coding: Coding) -> int:
    """Return the bytes of a network's file."""
    return len(coding.data)


def fit(net: explorer.Net, limit: int, ratio: float, build: Build = apply, count: Count = count_file) -> Built:
    """Return the network with the finest steps whose file has at most `limit` bytes, nearly.

    Adaptive rounding chooses other integers than those of which bytes are estimated: `ratio` says how many more.
    """
    context = net.context
    sizes = CodedSizes(replace(context, quantizer=replace(context.quantizer, rounding="nearest")))
    while True:
        allowed = (1 + CLOSE) / 2 * limit / ratio
        low, high = RANGE
        while high / low > 1.0002:
            middle = (low * high) ** 0.5
            estimated = sizes.estimate(at_step(net, middle))
            low, high = (low, middle) if estimated <= allowed else (middle, high)
        model = build(context, at_step(net, high))
        coding = code(packable(model))
        size = count(model, coding)
        ratio = size / sizes.estimate(at_step(net, high))
        if CLOSE * limit <= size <= limit:
            return Built(high, model, coding, ratio)


def at_step(net: explorer.Net, step: float) -> explorer.Candidate:
    """Return the network at one step for all layers, a finer one for the last."""
    plain = explorer.uniform(net)
    last = plain.layers[-1].layer
    layers = (
        explorer.LayerChoice(layer=choice.layer, step=step * (2**LAST_OFFSET if choice.layer == last else 1.0))
        for choice in plain.layers
    )
    return replace(plain, layers=tuple(layers))


def test_images(net: explorer.Net, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first test images, those of the search and those held out together."""
    sets = (net.data.search, net.data.held_out)
    images, labels = (
        np.concatenate(parts)[:count] for parts in zip(*((s.inputs[0], s.targets) for s in sets), strict=True)
    )
    return images, labels


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(images, 250)])


if __name__ == "__main__":
    main()
