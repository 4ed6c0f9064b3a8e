"""The published ResNet-20 quantised to three sizes without any training, scored on the CIFAR-10 test images.

Relevance and an exact knapsack choose the weight bits of each layer; activations have 8 bits. Bytes are those of
all convolution and linear weights packed, first and last layer included, scales aside. Everything is chosen on
training images; the test images are looked at once, for the figures that are printed. Needs EXPLORER_DATA (a folder
with cifar10.npz) and EXPLORER_CHECKPOINTS; says so and ends where they are not set. --images N scores fewer.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import explorer
from explorer.search.allocation import fit_bits
from explorer.search.sensitivity import estimate_sensitivity
from explorer.search.space import make_search_space

STUDY = Path(__file__).parent.parent / "studies" / "resnet20_cifar10"
BUDGETS = {
    133_552: ("Sony MCT 2.6.1 91.19 %; Model-Optimizer 0.47 85.84 % at 3.98 bits", 0.914),
    100_144: ("Sony MCT 2.6.1 79.73 %", 0.902),
    83_800: ("none known", 0.880),
}
"""Bytes of weights -> what other tools reach there (measured on these 10,000 images), and the share right to reach."""
FILES = {"EXPLORER_DATA": "cifar10.npz", "EXPLORER_CHECKPOINTS": "resnet20-12fca82f.th"}
WIDTHS = (2, 3, 4, 5, 6, 7, 8)
CALIBRATION = 1024
SETTINGS: Mapping[str, Mapping[str, Any]] = {"nearest": {}, "adaptive": {"rounding_images": 512}}
"""Rounding to what else of the quantiser is set with it."""


def main() -> None:
    """Print bytes, bits and accuracy for each rounding and budget, next to the float network and other tools."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=10_000, help="test images to score (default: all 10,000)")
    count = arguments.parse_args().images
    missing = [f"{key} (with {name})" for key, name in FILES.items() if not _present(key, name)]
    if missing:
        print(f"skipped: set {' and '.join(missing)}")
        return
    torch.set_num_threads(1)
    study = explorer.load_study(STUDY)
    net = explorer.open(replace(study, data=replace(study.data, calibration=CALIBRATION)), notify=_say)
    images, labels = _test_images(net, count)
    start = time.process_time()
    scores = explorer.relevance(net, "deeplift", notify=_say)
    print(f"float   {_share(net.context.model, images, labels)} of {len(labels)} test images right")
    for rounding, settings in SETTINGS.items():
        quantizer = replace(net.context.quantizer, rounding=rounding, **settings)
        rounded = replace(net, context=replace(net.context, quantizer=quantizer))
        space = make_search_space(net.graph, explorer.Space(weight_bits=WIDTHS, activation_bits=(8,)))
        table = estimate_sensitivity(rounded.context, scores.complete, space)
        for budget, (others, aim) in BUDGETS.items():
            chosen = fit_bits(net.graph, table, explorer.uniform(net), budget)
            _say(f"{rounding} rounding, {budget} bytes", 0, 1)
            small = explorer.compress(rounded, chosen)
            print(
                f"{rounding:8} {small.size_bytes:9,} bytes (at most {budget:,}): {_share(small, images, labels)} "
                f"(aim {aim:.1%}; {others}); bits {' '.join(str(choice.weight_bits) for choice in chosen.layers)}; "
                f"{time.process_time() - start:.0f} s CPU since the start",
                flush=True,
            )


def _present(key: str, name: str) -> bool:
    return bool(os.environ.get(key)) and (Path(os.environ[key]) / name).is_file()


def _test_images(net: explorer.Net, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first test images, those of the search and those held out together."""
    sets = (net.data.search, net.data.held_out)
    images, labels = (
        np.concatenate(parts)[:count] for parts in zip(*((s.inputs[0], s.targets) for s in sets), strict=True)
    )
    return images, labels


def _share(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> str:
    return f"{explorer.accuracy(model, images, labels).value:.2%}"


def _say(what: str, done: int, total: int) -> None:
    print(f"... {what}: {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
