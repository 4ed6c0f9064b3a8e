"""Bytes of an Ethos-U55's flash by Vela, Arm's compiler: steps of weights against uniform widths, without training.

The published ResNet-8 (or --network resnet20) at 8-bit activations, rounded adaptively on training images, exported to
TensorFlow Lite and compiled; bytes are those of all coded weights with their biases and scales. Accuracy is that of the
10,000 CIFAR-10 test images, looked at once for each row. Below the table, for each uniform width that no narrower one
equals: what the fewest bytes are of a network of steps that is as accurate. Needs EXPLORER_DATA (a folder with
cifar10.npz), EXPLORER_CHECKPOINTS, ai-edge-litert and ethos-u-vela; says so and ends where they are missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import explorer
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
WIDTHS = (8, 6, 5, 4, 3)
STEPS = (0.003, 0.005, 0.008, 0.012, 0.017, 0.024, 0.034)
ROUNDING_IMAGES, LAST_OFFSET = 512, -1.0
DEVICE = "ethos_u55_128"


def main() -> None:
    """Print bytes and accuracy of each network, and what steps save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=tuple(CHECKPOINTS), default="resnet8")
    network = parser.parse_args().network
    missing = [key for key in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS") if not os.environ.get(key)]
    missing += [name for name in ("ai_edge_litert", "ethosu") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} missing")
        return
    torch.set_num_threads(1)
    net = open_network(network)
    rows = {f"W{bits}": measure(net, f"W{bits}", explorer.uniform(net, weight_bits=bits)) for bits in WIDTHS}
    stepped = {step: measure(net, f"c = {step}", at_step(net, step)) for step in STEPS}
    for name, (size, right) in rows.items():
        if any(least < size and share >= right for least, share in rows.values()):
            continue  # a narrower width is as accurate
        as_good = [(bytes_, step) for step, (bytes_, share) in stepped.items() if share >= right]
        if as_good:
            least, step = min(as_good)
            print(
                f"as accurate as {name} ({right:.2%}): c = {step} takes {least / size - 1:+.1%} of its {size:,} bytes"
            )


def open_network(network: str) -> explorer.Net:
    """Return a network ready for steps."""
    study, (file, expected) = explorer.load_study(STUDY), CHECKPOINTS[network]
    model = replace(study.model, reference=network, checkpoint="${EXPLORER_CHECKPOINTS}/" + file)
    data = replace(study.data, calibration=ROUNDING_IMAGES, **expected)  # type: ignore[arg-type]
    quantizer = replace(study.quantizer, rounding="adaptive", rounding_images=ROUNDING_IMAGES)
    net = explorer.open(replace(study, model=model, data=data, quantizer=quantizer, space=explorer.Space()))
    return net.ordered_by(explorer.relevance(net, "deeplift"))


def at_step(net: explorer.Net, step: float) -> explorer.Candidate:
    """Return the network at one step for all layers, a finer one for the last."""
    plain = explorer.uniform(net)
    last = plain.layers[-1].layer
    layers = (
        explorer.LayerChoice(layer=choice.layer, step=step * (2**LAST_OFFSET if choice.layer == last else 1.0))
        for choice in plain.layers
    )
    return replace(plain, layers=tuple(layers))


def measure(net: explorer.Net, name: str, candidate: explorer.Candidate) -> tuple[int, float]:
    """Print a row and return its bytes of flash and its share of test images right."""
    model = apply(net.context, candidate)
    with tempfile.TemporaryDirectory() as folder:
        path = FORMATS["tflite"].load().try_out(model, net.context, Path(folder))
        size = compile_network(path, load(DEVICE)).weight_bytes
    sets = (net.data.search, net.data.held_out)
    images, labels = (np.concatenate(parts) for parts in zip(*((s.inputs[0], s.targets) for s in sets), strict=True))
    right = explorer.accuracy(model, images, labels).value
    print(f"{name:10} {size:9,} bytes of flash, {right:.2%} of {len(labels)} test images right", flush=True)
    return size, right


if __name__ == "__main__":
    main()
