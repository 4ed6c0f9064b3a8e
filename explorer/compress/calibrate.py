"""What is measured once on calibration images of the float network and then serves every candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

from explorer.compress.candidate import MAXIMUM_BITS, MINIMUM_BITS
from explorer.compress.quantize import ActivationQuantizer, activation_range
from explorer.errors import ModelError
from explorer.graph.layers import ModelGraph

SAMPLED_VALUES = 65536
"""Values kept of each activation for the search of its range (assumed: enough for a width of 8 bits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Ranges of every quantised activation for every width, and the float network's batch-norm statistics.

    `ranges[activation][bits]` is (scale, zero point); `errors[activation][bits]` the mean absolute error that
    this quantiser makes; `norms[node]` the (mean, variance) per channel of what a batch norm receives on the
    calibration images; `images` those images (N x C x H x W).
    """

    images: torch.Tensor
    ranges: Mapping[str, Mapping[int, tuple[float, int]]]
    errors: Mapping[str, Mapping[int, float]]
    norms: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    def quantizer(self, activation: str, bits: int) -> ActivationQuantizer:
        """The quantiser of an activation at a width."""
        scale, zero_point = self.ranges[activation][bits]
        return ActivationQuantizer(bits, scale, zero_point)


def calibrate(model: fx.GraphModule, graph: ModelGraph, images: torch.Tensor) -> Calibration:
    """Run the float network once over `images` (N x C x H x W) and find all ranges, for all widths."""
    recorder = _Recorder(model, {entry.name for entry in graph.activations if entry.quantized})
    with torch.no_grad():
        recorder.run(images)
    widths = range(MINIMUM_BITS, MAXIMUM_BITS + 1)
    ranges: dict[str, dict[int, tuple[float, int]]] = {}
    errors: dict[str, dict[int, float]] = {}
    for name, values in recorder.samples.items():
        if not bool(torch.isfinite(values).all()):
            raise ModelError(f"model: activation {name!r} is NaN or infinite on calibration images; check the weights")
        ranges[name] = {bits: activation_range(values, bits) for bits in widths}
        errors[name] = {
            bits: float((ActivationQuantizer(bits, *ranges[name][bits])(values) - values).abs().mean())
            for bits in widths
        }
    return Calibration(images=images, ranges=ranges, errors=errors, norms=recorder.norms)


def channel_statistics(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, biased variance) per channel, over the batch and the positions of N x C x ..."""
    axes = [axis for axis in range(values.ndim) if axis != 1]
    return values.mean(axes), values.var(axes, unbiased=False)


class _Recorder(fx.Interpreter):
    """Keeps sampled values of the named nodes and the input statistics of batch norms."""

    def __init__(self, model: fx.GraphModule, names: set[str]) -> None:
        super().__init__(model)
        self.names = names
        self.samples: dict[str, torch.Tensor] = {}
        self.norms: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def run_node(self, n: fx.Node) -> object:
        if n.op == "call_module" and isinstance(self.fetch_attr(str(n.target)), nn.BatchNorm1d | nn.BatchNorm2d):
            received = self.env[n.all_input_nodes[0]]
            self.norms[n.name] = channel_statistics(received)
        result = super().run_node(n)
        if n.name in self.names and isinstance(result, torch.Tensor):
            self.samples[n.name] = _sampled(result.flatten()).float().cpu()
        return result


def _sampled(values: torch.Tensor) -> torch.Tensor:
    """About SAMPLED_VALUES of `values`, at a step prime to their number, so that every column and channel occurs."""
    step = max(1, values.numel() // SAMPLED_VALUES)
    while math.gcd(step, values.numel()) > 1:
        step += 1
    return values[::step].clone()
