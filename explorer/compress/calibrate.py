"""What is measured once on calibration images of the float network and then serves every candidate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import fx, nn

from explorer.compress.quantize import (
    ActivationQuantizer,
    find_activation_range,
    find_percentile_range,
    find_power_of_two_range,
)
from explorer.errors import ModelError
from explorer.graph.inputs import Inputs, as_tuple, take
from explorer.graph.layers import ModelGraph
from explorer.settings import QuantizerSettings
from explorer.settings.values import MAXIMUM_BITS, MINIMUM_BITS
from explorer.threads import single_threaded

SAMPLED_VALUES = 65536
"""Values kept of each activation for the search of its range (assumed: enough for a width of 8 bits)."""
_Found = TypeVar("_Found")


class ByWidth(Mapping[int, _Found]):
    """What is found for each admissible width of an activation, when it is first asked for."""

    def __init__(self, find: Callable[[int], _Found]) -> None:
        self._find = find
        self._known: dict[int, _Found] = {}

    def __getitem__(self, bits: int) -> _Found:
        if not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
            raise KeyError(bits)
        if bits not in self._known:
            with single_threaded(True):  # the same whenever it is asked for
                self._known[bits] = self._find(bits)
        return self._known[bits]

    def __iter__(self) -> Iterator[int]:
        return iter(range(MINIMUM_BITS, MAXIMUM_BITS + 1))

    def __len__(self) -> int:
        return MAXIMUM_BITS - MINIMUM_BITS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Ranges of every quantised activation for every width, and the float network's batch-norm statistics.

    `ranges[activation][bits]` is (scale, zero point); `errors[activation][bits]` the mean absolute error that
    this quantiser makes; `norms[node]` the (mean, variance) per channel of what a batch norm receives on the
    calibration images; `images` those images, a tensor (N x ...) or a tuple with one for each input;
    `outputs[layer]` the mean output per channel of every layer on them.
    """

    images: Inputs
    ranges: Mapping[str, Mapping[int, tuple[float, int]]]
    errors: Mapping[str, Mapping[int, float]]
    norms: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    outputs: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def torch_device(self) -> torch.device:
        """Where the images are."""
        return as_tuple(self.images)[0].device

    def quantizer(self, activation: str, bits: int) -> ActivationQuantizer:
        """Return the quantiser of an activation at a width."""
        scale, zero_point = self.ranges[activation][bits]
        return ActivationQuantizer(bits, scale, zero_point)


def calibrate(
    model: fx.GraphModule, graph: ModelGraph, images: Inputs, settings: QuantizerSettings | None = None
) -> Calibration:
    """Run the float network once over `images` (a batch of inputs), for the ranges of all widths.

    Activations that share a scale, since they are concatenated, get the range that serves all of them. Statistics
    are those of the first `recalibration_images`, which are also what candidates are corrected with.
    """
    settings = settings or QuantizerSettings()
    recorder = _Recorder(
        model, {entry.name for entry in graph.activations if entry.quantized}, settings.recalibration_images
    )
    with torch.no_grad():
        recorder.run(*as_tuple(images))
    ranges: dict[str, Mapping[int, tuple[float, int]]] = {}
    errors: dict[str, Mapping[int, float]] = {}
    for name, values in _pooled(recorder.samples, graph).items():
        if not bool(torch.isfinite(values).all()):
            raise ModelError(f"model: activation {name!r} is NaN or infinite on calibration images; check the weights")
        ranges[name] = ByWidth(partial(_find_range, values, settings))
        errors[name] = ByWidth(partial(_find_error, values, ranges[name]))
    kept = take(images, slice(settings.recalibration_images))
    return Calibration(
        images=kept if isinstance(images, tuple) else kept[0],
        ranges=ranges,
        errors=errors,
        norms=recorder.norms,
        outputs=recorder.outputs,
    )


def measure_norm_inputs(model: fx.GraphModule, images: Inputs) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the `norms` of a `Calibration` of a float network on these images alone."""
    recorder = _Recorder(model, set(), None)
    with torch.no_grad():
        recorder.run(*as_tuple(images))
    return recorder.norms


def _find_error(values: torch.Tensor, ranges: Mapping[int, tuple[float, int]], bits: int) -> float:
    return float((ActivationQuantizer(bits, *ranges[bits])(values) - values).abs().mean())


def _find_range(values: torch.Tensor, settings: QuantizerSettings, bits: int) -> tuple[float, int]:
    if settings.power_of_two:
        return find_power_of_two_range(values, bits)
    if settings.activation_ranges == "percentile":
        return find_percentile_range(values, bits, settings.activation_percentile)
    return find_activation_range(values, bits)


def _pooled(samples: Mapping[str, torch.Tensor], graph: ModelGraph) -> dict[str, torch.Tensor]:
    """Return the samples of every activation, joined with those of the activations that it shares a scale with."""
    scale_of = {entry.name: entry.scale_of for entry in graph.activations}
    members: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
    for name, values in samples.items():
        members[scale_of[name]].append(values)
    together = {scale: torch.cat(values) for scale, values in members.items()}
    return {name: together[scale_of[name]] for name in samples}


def compute_channel_statistics(parts: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (mean, biased variance) per channel, over the batch and the positions of N x C x ..., given in parts."""
    counts, means, variances = [], [], []
    for values in parts:
        axes = [axis for axis in range(values.ndim) if axis != 1]
        mean = values.mean(axes, keepdim=True)
        counts.append(len(values))
        means.append(mean.flatten().double())
        variances.append((values - mean).square_().mean(axes).double())  # torch's own takes 30 times as long
    mean = _average(means, counts)
    between = [(part - mean).square() for part in means]
    variance = _average(variances, counts) + _average(between, counts)
    return mean.float(), variance.float()


def compute_channel_means(module: nn.Module, parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the mean of each channel of a layer's outputs, given in parts, over the batch and the positions."""
    counts, means = [], []
    for outputs in parts:
        axes = range(outputs.ndim - 1) if isinstance(module, nn.Linear) else (0, *range(2, outputs.ndim))
        counts.append(len(outputs))
        means.append(outputs.mean(tuple(axes)).double())
    return _average(means, counts).float()


def _average(means: Sequence[torch.Tensor], counts: Sequence[int]) -> torch.Tensor:
    total: torch.Tensor = sum(mean * (count / sum(counts)) for mean, count in zip(means, counts, strict=True))  # type: ignore[assignment]
    return total


class _Recorder(fx.Interpreter):
    """Keeps sampled values of the named nodes; of the first `count` images the statistics of norms and layers."""

    def __init__(self, model: fx.GraphModule, names: set[str], count: int | None) -> None:
        super().__init__(model)
        self.names, self.count = names, count
        self.samples: dict[str, torch.Tensor] = {}
        self.norms: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.outputs: dict[str, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            self.norms[n.name] = compute_channel_statistics([self.env[n.all_input_nodes[0]][: self.count]])
        result = super().run_node(n)
        if isinstance(module, nn.Conv2d | nn.Linear) and isinstance(result, torch.Tensor):
            self.outputs[str(n.target)] = compute_channel_means(module, [result[: self.count]])
        if n.name in self.names and isinstance(result, torch.Tensor):
            self.samples[n.name] = _sampled(result.flatten()).float().cpu()
        return result


def _sampled(values: torch.Tensor) -> torch.Tensor:
    """Return about SAMPLED_VALUES of `values`, at a step prime to their number, so that every column occurs."""
    step = max(1, values.numel() // SAMPLED_VALUES)
    while math.gcd(step, values.numel()) > 1:
        step += 1
    return values[::step].clone()
