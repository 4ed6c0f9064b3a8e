"""Refuses networks whose counts pass what whole numbers of 64 bits hold, or what floats count one by one."""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import FloatArray, IntArray
from hwmodels.cost.latency import Latency
from hwmodels.cost.traffic import DramTraffic
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.errors import LayerError
from hwmodels.workload.layer import LARGEST_EXACT
from hwmodels.workload.layer_arrays import LayerArrays

_WIDEST = 64
"""Bits of the widest accumulator."""
_LARGEST_INTEGER = 2.0**63


def check_counts(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> None:
    """Refuse sizes of which any whole number of the cost would pass 64 bits, before it is computed.

    A product has at most as many folds, passes and words on the network as MACs. Each fold takes the cycles that the
    array needs to fill and drain, each MAC at most a unit's serial cycles, each word at most 64 bits; a row-stationary
    array sends inputs and sums along a kernel's rows.

    Raises:
        LayerError: the sum of all layers may pass 2^63, or that of their MACs passes 2^53.
    """
    macs = layers.macs.astype(np.float64)
    window = layers.kernel_h + layers.kernel_w
    each = 3 * (accelerator.rows + accelerator.columns) + mac.serial_cycles + 3 * _WIDEST * (window + 1)
    elements = layers.inputs.astype(np.float64) + layers.outputs
    largest = _sum(layers, macs * each + 4 * _WIDEST * elements)
    if largest >= _LARGEST_INTEGER or _sum(layers, macs) > LARGEST_EXACT:
        raise _refusal("MACs", _sum(layers, macs), accelerator)


def check_sums(layers: LayerArrays, accelerator: Accelerator, time: Latency, dram: DramTraffic) -> None:
    """Refuse costs whose sums floats no longer count one by one.

    Raises:
        LayerError: the cycles or the bits of memory traffic of all layers pass 2^53.
    """
    longest: IntArray = np.maximum(np.maximum(time.compute_cycles, time.sram_cycles), time.dram_cycles)
    for what, counts in (
        ("clock cycles", longest.astype(np.float64) + time.overhead_cycles),
        ("bits of memory traffic", dram.total_bits.astype(np.float64)),
    ):
        if _sum(layers, counts) > LARGEST_EXACT:
            raise _refusal(what, _sum(layers, counts), accelerator)


def refuse_overflow(accelerator: Accelerator) -> LayerError:
    """Return the error for a cost that is no finite number."""
    return _refusal("cycles or picojoules", np.inf, accelerator)


def _sum(layers: LayerArrays, counts: FloatArray) -> float:
    """Return the largest sum over the layers of a network."""
    return float(np.broadcast_to(counts, layers.shape).sum(axis=-1).max())


def _refusal(what: str, count: float, accelerator: Accelerator) -> LayerError:
    return LayerError(
        f"the network takes {count:.3g} {what} on {accelerator.name}, more than can be counted exactly: "
        "correct the sizes or the batch, or price a part of it"
    )
