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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.calibrate import calibrate
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.data.images import Data
from explorer.data.load import load_data
from explorer.evaluate.score import score_images
from explorer.graph.canonical import canonicalise
from explorer.graph.trace import trace
from explorer.models.load import load_model
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import Relevance, order_filters
from explorer.search.knapsack import ParetoSolutions, solve_knapsack
from explorer.search.sensitivity import sensitivity
from explorer.search.space import search_space
from explorer.settings import DataSettings, ModelSettings, QuantizerSettings, SpaceSettings

BUDGETS = {
    133_552: ("Sony MCT 2.6.1 91.19 %; Model-Optimizer 0.47 85.84 % at 3.98 bits", 0.914),
    100_144: ("Sony MCT 2.6.1 79.73 %", 0.902),
    83_800: ("none known", 0.880),
}
"""Bytes of weights -> what other tools reach there (measured on these 10,000 images), and the share right to reach."""
FILES = {"EXPLORER_DATA": "cifar10.npz", "EXPLORER_CHECKPOINTS": "resnet20-12fca82f.th"}
WIDTHS = (2, 3, 4, 5, 6, 7, 8)
CALIBRATION, RELEVANCE, BATCH = 1024, 64, 250
SETTINGS = {
    "nearest": QuantizerSettings(),
    "adaptive": QuantizerSettings(rounding="adaptive", rounding_images=512),
}


class Chosen(NamedTuple):
    """A quantised network and the bytes of its weights."""

    size: float
    bits: tuple[int, ...]
    candidate: Candidate


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
    data = load_data(
        DataSettings(source="cifar10", search=5000, held_out=5000, calibration=CALIBRATION, relevance=RELEVANCE)
    )
    images = torch.from_numpy(np.concatenate((data.search.images, data.held_out.images))[:count])
    labels = torch.from_numpy(np.concatenate((data.search.targets, data.held_out.targets))[:count])
    start = time.process_time()
    bases, relevance = _prepared(data)
    print(f"float   {_share(bases['nearest'].model, images, labels)} of {len(labels)} test images right")
    for name, context in bases.items():
        solved, options = _solved(context, relevance)
        for budget, (others, aim) in BUDGETS.items():
            chosen = _within(solved, options, context, budget)
            _say(f"{name} rounding, {budget} bytes")
            share = _share(apply(context, chosen.candidate), images, labels)
            print(
                f"{name:8} {chosen.size:9,.0f} bytes (at most {budget:,}): {share} (aim {aim:.1%}; {others}); "
                f"bits {' '.join(map(str, chosen.bits))}; {time.process_time() - start:.0f} s CPU since the start",
                flush=True,
            )


def _present(key: str, name: str) -> bool:
    return bool(os.environ.get(key)) and (Path(os.environ[key]) / name).is_file()


def _prepared(data: Data) -> tuple[dict[str, CompressionContext], Relevance]:
    """Return a context for each way of rounding, and the relevance that both use."""
    settings = ModelSettings(reference="resnet20", checkpoint="${EXPLORER_CHECKPOINTS}/resnet20-12fca82f.th")
    network = load_model(settings, data.input_shapes, data.num_classes)
    calibration_images = torch.from_numpy(data.calibration.images)
    model = canonicalise(network, calibration_images[:4])
    graph = trace(model, calibration_images[:4])
    _say("relevance")
    images, labels = (torch.from_numpy(each) for each in (data.relevance.images, data.relevance.targets))
    relevance = deeplift(make_sample(model, graph, images, labels), _progress("relevance of images"))
    _say("calibration")
    calibration = calibrate(model, graph, calibration_images)
    order = order_filters(graph, relevance)
    bases = {
        name: CompressionContext(model=model, graph=graph, order=order, calibration=calibration, quantizer=quantizer)
        for name, quantizer in SETTINGS.items()
    }
    return bases, relevance


def _solved(context: CompressionContext, relevance: Relevance) -> tuple[ParetoSolutions, tuple[str, ...]]:
    """Return the exact front of bytes and estimated loss over the widths of all layers."""
    space = search_space(context.graph, SpaceSettings(weight_bits=WIDTHS, activation_bits=(8,)))
    progress = _progress(f"sensitivity of layers, {context.quantizer.rounding} rounding")
    table = sensitivity(context, relevance, space, progress).weights
    weights = {layer.name: layer.weights for layer in context.graph.layers}
    costs = [np.array([weights[layer] * bits / 8 for bits in WIDTHS]) for layer in space.layers]
    losses = [np.array([loss for _, loss in sorted(table[layer].items())]) for layer in space.layers]
    return solve_knapsack(costs, losses), space.layers


def _within(solved: ParetoSolutions, layers: tuple[str, ...], context: CompressionContext, budget: int) -> Chosen:
    point = solved.within(budget)
    bits = tuple(WIDTHS[option] for option in solved.choices[point].tolist())
    return Chosen(
        size=float(solved.costs[point]),
        bits=bits,
        candidate=Candidate(
            layers=tuple(LayerChoice(layer=name, weight_bits=width) for name, width in zip(layers, bits, strict=True)),
            filter_keep_ratio=tuple((group.name, 1.0) for group in context.graph.prunable),
        ),
    )


def _share(model: torch.nn.Module, images: Tensor, labels: Tensor) -> str:
    return f"{score_images(model, images, labels, BATCH).mean():.2%}"


def _progress(what: str) -> Callable[[int, int], None]:
    return lambda done, total: _say(f"{what}: {done} of {total}")


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
