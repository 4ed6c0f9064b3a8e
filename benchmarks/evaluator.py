"""CPU time of scoring a candidate, built from scratch, next to the naive evaluator; and how many predictions are equal.

The published ResNet-20 and ResNet-56, candidates with a width of 2 to 8 bits drawn for each layer, 5,000 CIFAR-10 test
images, one thread. The naive evaluator, which shares no code with the others, copies the network, rounds the weights of
each filter at the clipping point of least error, corrects the batch norms on 256 images, rounds activations in hooks
and runs the batches of a DataLoader. The others build what is exported and compute it by oneDNN's integer operators, or
in float32. Each candidate is timed by all three, one after the other; ratios are of CPU time, the median of candidates
and the range. The fixed part is what a candidate costs before its first image. Predictions are compared with those of
the integer program that is exported, run by onnxruntime.

All run with the memory settings of the environment, from which the naive evaluator gains most.
Needs EXPLORER_DATA and EXPLORER_CHECKPOINTS; says so and ends where they are not set.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.data.load import load_data
from explorer.evaluate.engine import compile_network, name_engine
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.verify import run_onnx
from explorer.graph.inputs import batches
from explorer.integer.lower import lower_program
from explorer.models.load import load_model
from explorer.settings import SOURCES, DataSettings, ModelSettings

Hook = Callable[..., Any]
NETWORKS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
FEWER_IMAGES = (500, 1103)
"""The second is what a standard error of .7 points takes in the mean (benchmarks/sampling.py)."""


class Naive:
    """A float network, and what is measured once of it on some images: ranges of activations, inputs of batch norms."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.model, self.images = model, images
        self.ranges: dict[str, tuple[float, float]] = {}
        self.norms: dict[str, tuple[Tensor, Tensor]] = {}
        hooks = []
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                hooks.append(module.register_forward_pre_hook(self._note_range(name)))
            elif isinstance(module, nn.BatchNorm2d):
                hooks.append(module.register_forward_pre_hook(self._note_statistics(name)))
        with torch.no_grad():
            model(images)
        for hook in hooks:
            hook.remove()

    def _note_range(self, name: str) -> Hook:
        def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            self.ranges[name] = min(0.0, float(given[0].min())), max(0.0, float(given[0].max()))

        return note

    def _note_statistics(self, name: str) -> Hook:
        def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            self.norms[name] = given[0].mean((0, 2, 3)), given[0].var((0, 2, 3), unbiased=False)

        return note

    def build(self, bits: dict[str, tuple[int, int]]) -> nn.Module:
        """Return a copy with weights and activations of these widths for each layer."""
        copied = copy.deepcopy(self.model)
        for name, module in copied.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight_bits, activation_bits = bits[name]
                module.weight.data = round_weights(module.weight.data, weight_bits)
                low, high = self.ranges[name]
                module.register_forward_pre_hook(make_rounding(low, high, activation_bits))
        hooks = [
            module.register_forward_pre_hook(self._correct(name))
            for name, module in copied.named_modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
        with torch.no_grad():
            copied(self.images)
        for hook in hooks:
            hook.remove()
        return copied

    def _correct(self, name: str) -> Hook:
        def correct(norm: Any, given: tuple[Tensor, ...]) -> None:
            mean, variance = given[0].mean((0, 2, 3)), given[0].var((0, 2, 3), unbiased=False)
            float_mean, float_variance = self.norms[name]
            ratio = variance / float_variance
            norm.running_mean = mean + (norm.running_mean - float_mean) * ratio.sqrt()
            norm.running_var = norm.running_var * ratio

        return correct


def round_weights(weight: Tensor, bits: int) -> Tensor:
    """Return weights rounded to symmetric integers, each filter's at the clipping point of least squared error."""
    rows, limit = weight.flatten(1), 2 ** (bits - 1) - 1
    best: Tensor = rows
    least = torch.full((len(rows), 1), torch.inf)
    for share in torch.linspace(0.2, 1.0, 80):
        scale = (rows.abs().amax(1, keepdim=True) * share / limit).clamp_min(1e-12)
        rounded = (rows / scale).round().clamp(-limit, limit) * scale
        error = (rounded - rows).square().sum(1, keepdim=True)
        best, least = torch.where(error < least, rounded, best), torch.minimum(error, least)
    return best.reshape(weight.shape)


def make_rounding(low: float, high: float, bits: int) -> Hook:
    """Return a hook that rounds what a layer reads."""
    scale = (high - low) / (2**bits - 1)
    zero_point = round(-low / scale)

    def hook(module: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        codes = torch.clamp(torch.round(given[0] / scale) + zero_point, 0, 2**bits - 1)
        values: Tensor = (codes - zero_point) * scale
        return values

    return hook


def predict_naively(naive: Naive, bits: dict[str, tuple[int, int]], images: Tensor, labels: Tensor) -> Tensor:
    """Return the classes that a candidate predicts."""
    model, found = naive.build(bits).eval(), []
    with torch.no_grad():
        for batch, _ in DataLoader(TensorDataset(images, labels), batch_size=256):
            found.append(model(batch).argmax(1))
    return torch.cat(found)


def predict(
    context: CompressionContext, candidate: Candidate, images: Tensor, *, integer: bool
) -> tuple[Tensor, float]:
    """Return the classes that a candidate predicts, and the CPU seconds before the first image."""
    start = time.process_time()
    with torch.inference_mode():
        engine = compile_network(apply(context, candidate), 256, integer=integer)
        fixed = time.process_time() - start
        return torch.cat([engine(*part).argmax(1) for part in batches(images, engine.images_at_once)]), fixed


def predict_exported(context: CompressionContext, candidate: Candidate, images: Tensor) -> Tensor:
    """Return the classes that the exported integer program predicts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "integer.onnx"
        export_integer_onnx(lower_program(apply(context, candidate), context.graph.input_shapes), path)
        return torch.from_numpy(run_onnx(path, images)).argmax(1)


def draw(context: CompressionContext, number: int) -> Candidate:
    """Return a candidate with a width drawn for the weights and the input of each layer."""
    chance, whole = random.Random(number), uniform(context.graph)
    layers = [
        replace(choice, weight_bits=chance.randint(2, 8), activation_bits=chance.randint(4, 8))
        for choice in whole.layers
    ]
    return replace(whole, layers=tuple(layers))


def measure(name: str, candidates: int, count: int) -> None:
    """Print the CPU times of a network's candidates by each evaluator, and the share of predictions that are equal."""
    mean, std = SOURCES["cifar10"].normalise(3)
    data = load_data(DataSettings(source="cifar10", mean=mean, std=std, train=256, search=5000, held_out=5000))
    settings = ModelSettings(reference=name, checkpoint=f"${{EXPLORER_CHECKPOINTS}}/{NETWORKS[name]}")
    model = load_model(settings, data.input_shapes, 10).eval()
    images, labels = (torch.from_numpy(array)[:count] for array in (data.search.images, data.search.targets))
    calibration = torch.from_numpy(data.train.images)
    context, naive = CompressionContext.of(model, calibration), Naive(model, calibration)
    for ranges in context.calibration.ranges.values():
        dict(ranges)  # found before the first candidate, as the naive evaluator's are
    kinds = ("float", "integer")
    seconds: dict[str, list[float]] = {kind: [] for kind in ("naive", *kinds)}
    fixed: dict[str, list[float]] = {kind: [] for kind in kinds}
    equal: dict[str, int] = dict.fromkeys(kinds, 0)
    for number in range(candidates):
        candidate = draw(context, number)
        bits = {choice.layer: (choice.weight_bits, choice.activation_bits) for choice in candidate.layers}
        start = time.process_time()
        right = {"naive": predict_naively(naive, bits, images, labels)}
        seconds["naive"].append(time.process_time() - start)
        for kind in kinds:
            start = time.process_time()
            right[kind], before = predict(context, candidate, images, integer=kind == "integer")
            seconds[kind].append(time.process_time() - start)
            fixed[kind].append(before)
        exported = predict_exported(context, candidate, images)
        for kind in kinds:
            equal[kind] += int((right[kind] == exported).sum())
        shares = ", ".join(f"{kind} {(found == labels).float().mean():.2%}" for kind, found in right.items())
        print(f"{name} candidate {number}: right {shares}", flush=True)
    for kind in kinds:
        ratios = [slow / fast for slow, fast in zip(seconds["naive"], seconds[kind], strict=True)]
        fewer = []
        for few in FEWER_IMAGES:
            taken = [
                before + (whole - before) * few / count
                for before, whole in zip(fixed[kind], seconds[kind], strict=True)
            ]
            times = median(slow / fast for slow, fast in zip(seconds["naive"], taken, strict=True))
            fewer.append(f"with {few} images {median(taken):.2f}, {times:.1f} times as fast as naive with all")
        print(
            f"{name} {kind}: {median(ratios):.2f} times as fast as naive ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"{median(seconds['naive']):.2f} against {median(seconds[kind]):.2f} CPU-s for {count} images; "
            f"{equal[kind] / (count * candidates):.3%} of predictions equal; "
            f"fixed {median(fixed[kind]):.2f} CPU-s, {'; '.join(fewer)}",
            flush=True,
        )


def main() -> None:
    """Print both networks' figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), nargs="+", default=tuple(NETWORKS))
    parser.add_argument("--candidates", type=int, default=3, help="of each network")
    parser.add_argument("--images", type=int, default=5000, help="to score each on")
    arguments = parser.parse_args()
    missing = [name for name in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS") if not os.environ.get(name)]
    if missing:
        print(f"skipped: set {' and '.join(missing)}")
        return
    torch.set_num_threads(1)
    print(f"scored by: {name_engine(torch.device('cpu'))}")
    for name in arguments.network:
        measure(name, arguments.candidates, arguments.images)


if __name__ == "__main__":
    main()
