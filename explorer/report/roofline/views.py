"""The roofline of a network on a device: what each layer reaches, and what its arithmetic and its memories allow.

After Williams, Waterman and Patterson (Communications of the ACM 52(4), 2009): attainable rate = min(peak rate,
operational intensity x bandwidth).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels import Accelerator, LayerCost, LayerJob


@dataclass(frozen=True, slots=True, kw_only=True)
class RoofPoint:
    """A layer with products: MACs per byte of memory traffic, and MACs per second that it reaches and could at most."""

    name: str
    widths: tuple[int, int]
    intensity: float
    rate: float
    attainable: float
    cycles: int
    share: float
    """Of the network's time."""
    bound: str
    utilisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineView:
    """What the roofline shows, as plain data."""

    title: str
    peaks: tuple[tuple[tuple[int, int], float], ...]
    """(widths of weights and inputs as the device runs them, MACs per second), the fastest first."""
    bandwidth: float
    """Of all memories together, bytes per second."""
    points: tuple[RoofPoint, ...]
    apart: float
    """Share of the time in layers without products, which have no place in the plot."""


def build_roofline_view(
    name: str, jobs: Sequence[LayerJob], layers: Sequence[LayerCost], accelerator: Accelerator
) -> RooflineView:
    """Return the roofline of layers as they were priced; widths of a roof are those that the device runs."""
    bandwidth = sum(memory.bandwidth_bits_per_s for memory in accelerator.memories) / 8.0
    cycles = sum(layer.latency_cycles for layer in layers)
    points = tuple(
        _point(job, layer, accelerator, bandwidth, cycles)
        for job, layer in zip(jobs, layers, strict=True)
        if layer.macs and layer.latency_cycles
    )
    widths = {point.widths for point in points}
    peaks = sorted(((each, _peak(each, accelerator)) for each in widths), key=lambda peak: (-peak[1], peak[0]))
    return RooflineView(
        title=f"{name} on {accelerator.title}",
        peaks=tuple(peaks),
        bandwidth=bandwidth,
        points=points,
        apart=1.0 - sum(point.share for point in points) if cycles else 0.0,
    )


def _point(
    job: LayerJob, layer: LayerCost, accelerator: Accelerator, bandwidth: float, network_cycles: int
) -> RoofPoint:
    bits = layer.dram_weight_bits + layer.dram_input_bits + layer.dram_output_bits
    intensity = layer.macs / (bits / 8.0)
    widths = (_held(job.weight_bits, accelerator.weight_bits), _held(job.input_bits, accelerator.input_bits))
    return RoofPoint(
        name=layer.name,
        widths=widths,
        intensity=intensity,
        rate=layer.macs * accelerator.clock_hz / layer.latency_cycles,
        attainable=min(_peak(widths, accelerator), intensity * bandwidth),
        cycles=layer.latency_cycles,
        share=layer.latency_cycles / network_cycles,
        bound=layer.bound,
        utilisation=layer.utilisation,
    )


def measure_peak(widths: tuple[int, int], accelerator: Accelerator) -> tuple[int, int, float]:
    """Return the widths that a device runs operands of these widths at, and MACs per second with every unit at work."""
    held = (_held(widths[0], accelerator.weight_bits), _held(widths[1], accelerator.input_bits))
    return (*held, _peak(held, accelerator))


def _held(bits: int, supported: Sequence[int]) -> int:
    """Return the width that the device runs an operand at."""
    return next(width for width in supported if width >= bits)


def _peak(widths: tuple[int, int], accelerator: Accelerator) -> float:
    """Return MACs per second with every unit at work."""
    law = accelerator.law
    per_unit = float(law(*widths, accelerator.native_bits, accelerator.mac_energy_pj).macs_per_unit_cycle)
    return accelerator.units * accelerator.unit_rate * per_unit * accelerator.clock_hz
