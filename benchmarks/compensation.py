"""Published ResNets without part of their filters and without any training, scored on the CIFAR-10 test images.

Filters go in the order of `reconstruction`, and how many of each group is decided by the divergence without them
(`measured_kl`, static compensation): one share after the other is lowered, always the one that diverges least for the
operations it saves; with --equal all layers that no addition joins keep the same share instead. All of it is chosen on
training images; the 10,000 test images are looked at once, for the figures that are printed, at 8-bit weights and
activations: without compensation, with the static and with the propagated form. Then the CPU time that it takes to
build a candidate whose codes are known. Needs EXPLORER_DATA (a folder with cifar10.npz) and EXPLORER_CHECKPOINTS; says
so and ends where they are not set. --images N scores fewer.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import explorer
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import plan
from explorer.models.checkpoint import load_checkpoint
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.relevance.reconstruction import reconstruction
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import order_filters
from explorer.search.measured import measure_sensitivity
from explorer.search.space import make_search_space
from explorer.settings import QuantizerSettings

CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
AIMS: Mapping[str, Mapping[float, str]] = {
    "resnet20": {0.75: "88.77 plain, 90.28 prototype", 0.5: "69.85 plain, 84.13 prototype", 0.35: "41.73, 72.00"},
    "resnet56": {0.5: "86.67 plain, 90.40 prototype"},
}
"""Share of the multiply-accumulates to what a prototype kept right of the same images in per cent, shares equal."""
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
CALIBRATION, ORDERING, MEASURING, MEASURED = 1024, 512, 256, 512
"""Training images that layers are solved on, those of them that order filters and that layers are solved on while
divergences are measured, and the others that these are measured on."""
RATIOS = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


def main() -> None:
    """Print operations and accuracy by share and compensation, and the CPU times of building."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=10_000, help="test images to score (default: all 10,000)")
    arguments.add_argument("--network", choices=sorted(CHECKPOINTS), default="resnet20")
    arguments.add_argument("--equal", action="store_true", help="the same share of each layer that no addition joins")
    given = arguments.parse_args()
    folders = {key: os.environ.get(key, "") for key in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS")}
    files = (
        Path(folders["EXPLORER_DATA"], "cifar10.npz"),
        Path(folders["EXPLORER_CHECKPOINTS"], CHECKPOINTS[given.network]),
    )
    if not all(folders.values()) or not all(path.is_file() for path in files):
        print("skipped: set EXPLORER_DATA (with cifar10.npz) and EXPLORER_CHECKPOINTS (with the published networks)")
        return
    torch.set_num_threads(1)
    data = np.load(files[0])
    drawn = np.random.default_rng(0).permutation(len(data["x_train"]))[: CALIBRATION + MEASURED]
    training = _tensor(data["x_train"][drawn])
    context = _open(given.network, files[1], training[:CALIBRATION])
    losses = None if given.equal else _measure(context, training[CALIBRATION:])
    candidates = {
        share: _equal(context, share) if losses is None else _choose(context, losses, share)
        for share in AIMS[given.network]
    }
    test = _tensor(data["x_test"][: given.images]).numpy(), data["y_test"][: given.images].astype(np.int64)
    print(f"float {explorer.accuracy(context.model, *test).value:.2%} of {len(test[1])} test images right", flush=True)
    whole = plan(context.graph, uniform(context.graph)).macs
    for share, candidate in candidates.items():
        left = plan(context.graph, candidate).macs / whole
        for how in ("none", "static", "propagated"):
            found = explorer.accuracy(apply(_compensated(context, how), candidate), *test).value
            print(f"{left:.1%} of the operations, {how:10} {found:.2%} ({AIMS[given.network][share]})", flush=True)
    _time_builds(context, list(candidates.values()))


def _open(network: str, checkpoint: Path, images: torch.Tensor) -> CompressionContext:
    model = REFERENCE_NETWORKS[network](10)
    load_checkpoint(model, checkpoint)
    context = CompressionContext.of(model.eval(), images, quantizer=QuantizerSettings(rounding_images=CALIBRATION))
    some = images[:ORDERING]
    sample = make_sample(context.model, context.graph, some, torch.zeros(len(some), dtype=torch.long))
    return replace(context, order=order_filters(context.graph, reconstruction(sample)))


def _compensated(context: CompressionContext, how: str) -> CompressionContext:
    return replace(context, quantizer=replace(context.quantizer, compensation=how))


def _measure(context: CompressionContext, images: torch.Tensor) -> Mapping[str, Mapping[float, float]]:
    """Return the divergence without filters, by group and share kept, on other images than layers are solved on."""
    few = QuantizerSettings(compensation="static", rounding_images=MEASURING)
    assert isinstance(context.calibration.images, torch.Tensor)
    seen = context.calibration.images[:MEASURING]
    own = replace(CompressionContext.of(context.model, seen, graph=context.graph, quantizer=few), order=context.order)
    space = explorer.Space(weight_bits=(8,), activation_bits=(8,), filter_keep_ratio=RATIOS)
    return measure_sensitivity(own, make_search_space(context.graph, space), images, _say).filters


def _equal(context: CompressionContext, share: float) -> Candidate:
    """Return the candidate with the same share of every group that one layer makes, of at most these operations.

    Channels that additions join stay: on training images that is better than to remove of them, too.
    """
    graph, whole = context.graph, uniform(context.graph)
    for percent in range(100, 0, -1):
        alone = [group.name for group in graph.prunable if len(group.producers) == 1]
        candidate = whole.with_filters(dict.fromkeys(alone, percent / 100))
        if plan(graph, candidate).macs <= share * plan(graph, whole).macs:
            return candidate
    raise ValueError(f"no share of filters leaves {share} of the operations")


def _choose(context: CompressionContext, table: Mapping[str, Mapping[float, float]], share: float) -> Candidate:
    """Return the candidate of at most this share of the operations whose divergences add up to least, greedily."""
    graph, candidate = context.graph, uniform(context.graph)
    whole = left = plan(graph, candidate).macs
    while left > share * whole:
        options = []
        for group, losses in table.items():
            own = candidate.keep_ratio(group)
            for ratio in (each for each in losses if each < own):
                tried = candidate.with_filters({group: ratio})
                saved = left - plan(graph, tried).macs
                lost = max(losses[each] for each in losses if each >= ratio)
                lost -= max(losses[each] for each in losses if each >= own)
                options.append((lost / saved, group, ratio, tried))
        candidate = min(options, key=lambda option: option[:3])[3]
        left = plan(graph, candidate).macs
    return candidate


def _time_builds(context: CompressionContext, candidates: list[Candidate]) -> None:
    """Print the CPU seconds of building a candidate, the first time and once its codes are known."""
    seconds = {}
    for how in ("none", "static"):
        own = _compensated(context, how)
        for when in ("first", "known"):
            start = time.process_time()
            for candidate in candidates:
                apply(own, candidate)
            seconds[how, when] = (time.process_time() - start) / len(candidates)
    ratio = seconds["static", "known"] / seconds["none", "known"]
    for (how, when), each in seconds.items():
        print(f"{how:6} codes {'not yet known' if when == 'first' else 'known'}: {each:.2f} s CPU a candidate")
    print(f"static over none, codes known: {ratio:.2f} (at most 2 is asked)")


def _tensor(images: np.ndarray) -> torch.Tensor:
    scaled = (images.astype(np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def _say(done: int, total: int) -> None:
    print(f"... {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
