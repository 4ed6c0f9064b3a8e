"""Bytes of an Ethos-U55's flash by Vela, Arm's compiler: steps of weights against uniform widths, without training.

The published ResNet-8 (or --network resnet20) at 8-bit activations, rounded adaptively on training images, exported to
TensorFlow Lite and compiled; bytes are those of all constants: coded weights, biases and scales. For each uniform width
the coarsest step is found, by interpolation, whose network is at least as near to the float one on training images that
nothing was calibrated on: by the mean divergence of its classes, softmax of the logits (Kullback and Leibler). Beside
it stands the mean square by which logits differ. Only then is each pair scored, once, on the 10,000 CIFAR-10 test
images, and the difference stands with its paired standard error. (ResNet-8's at these widths, and at a grid of seven
steps, were scored before.) Needs EXPLORER_DATA (a folder with cifar10.npz), EXPLORER_CHECKPOINTS, ai-edge-litert and
ethos-u-vela; says so and ends where they are missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

import explorer
from benchmarks.coded import at_step
from explorer.compress.apply import apply
from explorer.export.formats import FORMATS
from explorer.referee.vela import compile_network
from hwmodels import load

STUDY = Path(__file__).parent.parent / "studies" / "resnet20_cifar10"
PIXELS = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
CHECKPOINTS: Mapping[str, tuple[str, Mapping[str, tuple[float, ...]]]] = {
    "resnet8": ("resnet8_mlperf.pt", PIXELS),
    "resnet20": ("resnet20-12fca82f.th", {}),
}
"""Network -> its checkpoint, and what of the study's data it expects otherwise."""
WIDTHS = (6, 5, 4, 3)
ROUNDING_IMAGES, ASIDE = 512, 2000
"""Training images that calibrate and round, and others that networks are compared on."""
RANGE, TOLERANCE = (0.002, 0.032), 1.02
"""Of c, to begin with, and the ratio of two steps, one near enough and the next one not, at which it is found."""
DEVICE, WANTED = "ethos_u55_128", 0.25


class Built(NamedTuple):
    """A network, and how far from the float one it is on the images aside."""

    model: fx.GraphModule
    divergence: float
    square: float


class Bench:
    """A network ready for steps, the images aside with its own logits there, and what was built at each step."""

    def __init__(self, network: str) -> None:
        self.net = open_network(network)
        used = {image.tobytes() for image in self.net.data.calibration.inputs[0]}
        free = [image for image in self.net.data.train.inputs[0] if image.tobytes() not in used][:ASIDE]
        self.images = torch.from_numpy(np.stack(free))
        self.expected = compute_logits(self.net.context.model, self.images)
        self.stepped: dict[float, Built] = {}

    def build(self, candidate: explorer.Candidate) -> Built:
        """Build a network and compare it."""
        model = apply(self.net.context, candidate)
        logits = compute_logits(model, self.images)
        wanted = self.expected.log_softmax(1)
        divergence = (wanted.exp() * (wanted - logits.log_softmax(1))).sum(1).mean()
        return Built(model, float(divergence), float((logits - self.expected).square().mean()))

    def at_step(self, step: float) -> Built:
        """Build the network at one step for all layers, a finer one for the last; once for each step."""
        if step not in self.stepped:
            self.stepped[step] = self.build(at_step(self.net, step))
        return self.stepped[step]

    def find_step(self, divergence: float) -> float:
        """Return the coarsest step, nearly, whose network diverges at most so far."""
        finest, coarsest = RANGE
        while self.at_step(finest).divergence > divergence:
            finest /= 2
        while self.at_step(coarsest).divergence <= divergence:
            coarsest *= 2
        while True:
            finer = max(step for step, built in self.stepped.items() if built.divergence <= divergence)
            coarser = min(step for step in self.stepped if step > finer)
            if coarser / finer <= TOLERANCE:
                return finer
            low, high = (math.log(self.at_step(step).divergence) for step in (finer, coarser))
            between = finer * (coarser / finer) ** ((math.log(divergence) - low) / (high - low))
            if coarser / finer <= TOLERANCE**2:
                between = (finer * coarser) ** 0.5
            self.at_step(min(max(between, finer * TOLERANCE), coarser / TOLERANCE))

    def count_bytes(self, model: fx.GraphModule) -> int:
        """Return the bytes of flash that Vela compiles a network to."""
        with tempfile.TemporaryDirectory() as folder:
            path = FORMATS["tflite"].load().try_out(model, self.net.context, Path(folder))
            return compile_network(path, load(DEVICE)).weight_bytes

    def score(self, model: nn.Module) -> np.ndarray:
        """Return for each test image whether its class is found."""
        sets = (self.net.data.search, self.net.data.held_out)
        images, labels = (
            np.concatenate(parts) for parts in zip(*((s.inputs[0], s.targets) for s in sets), strict=True)
        )
        right: np.ndarray = compute_logits(model, torch.from_numpy(images)).argmax(1).numpy() == labels
        return right


def main() -> None:
    """Print for each width bytes and accuracy of both networks, and what steps save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=tuple(CHECKPOINTS), default="resnet8")
    network = parser.parse_args().network
    missing = [key for key in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS") if not os.environ.get(key)]
    missing += [name for name in ("ai_edge_litert", "ethosu") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} missing")
        return
    torch.set_num_threads(1)
    bench = Bench(network)
    for bits in WIDTHS:
        plain = bench.build(explorer.uniform(bench.net, weight_bits=bits))
        step = bench.find_step(plain.divergence)
        built = {f"W{bits}": plain, f"c = {step:.5f}": bench.at_step(step)}
        sizes = [describe(bench, f"{network}, {name}", each) for name, each in built.items()]
        right = [bench.score(each.model) for each in built.values()]
        change = right[1].astype(float) - right[0]
        print(
            f"{network}, W{bits}: steps take {1 - sizes[1] / sizes[0]:.1%} fewer bytes (wanted {WANTED:.0%}); "
            f"{right[1].mean():.2%} for {right[0].mean():.2%} of {len(change)} test images right, "
            f"{100 * change.mean():+.2f} +- {100 * change.std() / len(change) ** 0.5:.2f} points",
            flush=True,
        )


def open_network(network: str) -> explorer.Net:
    """Return a network ready for steps."""
    study, (file, expected) = explorer.load_study(STUDY), CHECKPOINTS[network]
    model = replace(study.model, reference=network, checkpoint="${EXPLORER_CHECKPOINTS}/" + file)
    data = replace(study.data, calibration=ROUNDING_IMAGES, **expected)  # type: ignore[arg-type]
    quantizer = replace(study.quantizer, rounding="adaptive", rounding_images=ROUNDING_IMAGES)
    net = explorer.open(replace(study, model=model, data=data, quantizer=quantizer, space=explorer.Space()))
    return net.ordered_by(explorer.relevance(net, "deeplift"))


def describe(bench: Bench, name: str, built: Built) -> int:
    """Print bytes and distances of a network, before any test image is looked at; return the bytes."""
    size = bench.count_bytes(built.model)
    print(
        f"{name}: {size:,} bytes of flash; on {ASIDE:,} training images classes diverge by "
        f"{built.divergence:.5f} nats, logits by {built.square:.4f} in the mean square",
        flush=True,
    )
    return size


def compute_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of images."""
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(images, 250)])


if __name__ == "__main__":
    main()
