"""What the cost of a layer takes from the dataflow of its array: counts, traffic, and the formulas of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

WeightsInputs = tuple[IntArray, IntArray]
"""A number of weights and the same of inputs, `... x layers` each: fetches from DRAM, bits, or words."""
NONE = np.zeros(1, dtype=np.int64)
"""What a dataflow leaves out."""
_ONE = np.ones(1, dtype=np.int64)
_LATER = np.zeros(1)


class OperandWidths(NamedTuple):
    """Bits of one weight and of one input as the buffers hold them, `... x layers`."""

    weights: IntArray
    inputs: IntArray


class ArrayCounts(NamedTuple):
    """Counts of each layer, 0 for one without products; accesses in operand words, `... x layers`."""

    cycles: IntArray
    mapping_efficiency: FloatArray
    """Ratio of the array that has work while a fold runs, 0 to 1."""
    ifmap_reads: IntArray
    filter_reads: IntArray
    ofmap_writes: IntArray
    ofmap_reads: IntArray = NONE
    """Partial sums that come back to be added to."""
    network_input_words: IntArray = NONE
    network_weight_words: IntArray = NONE
    network_sum_words: IntArray = NONE
    row_folds: IntArray = _ONE
    column_folds: IntArray = _ONE
    array_cycles: IntArray = NONE
    """Of the array's steps alone, where it waits for a decoder or for writing results; else NONE, they are `cycles`."""
    decoder_cycles: IntArray = NONE
    """Of decoding all weights."""
    writing_cycles: IntArray = NONE
    """Of writing all results."""
    utilisation: FloatArray = _LATER
    """Achieved ratio of the array's peak rate at the layer's widths, fill and drain included, 0 to 1."""


class Formula(NamedTuple):
    """An expression over the names of terms, and where it is from."""

    text: str
    reference: str


class DataflowFormulas(NamedTuple):
    """What explains the counts of one layer on one device; each is evaluated against them in a test."""

    reference: str
    compute_cycles: Formula
    mapping_efficiency: Formula
    ifmap_reads: str
    filter_reads: str
    first_tile: tuple[str, str]
    """Weights and inputs."""
    network_bits: str = "0"
    array_cycles: Formula | None = None
    """None where they are the compute cycles."""
    decoder_cycles: Formula | None = None
    writing_cycles: Formula | None = None
    """None where the device has no such stage."""
    row_folds: str = ""
    """Where sums are added to in the buffer: in how many folds."""


def _code_all(layers: LayerArrays, accelerator: Accelerator) -> IntArray:
    weights: IntArray = layers.k * layers.n * layers.groups
    return weights


def _keep_none(layers: LayerArrays) -> BoolArray:
    none: BoolArray = np.zeros(layers.kind.shape, dtype=np.bool_)
    return none


@dataclass(frozen=True, slots=True, kw_only=True)
class DataflowModel:
    """One dataflow.

    Attributes:
        count: What the array does for each layer; `utilisation` is worked out for every dataflow alike.
        passes: How often weights and inputs are fetched in the way to block the loops that takes the least
            traffic, given the bits that one pass over all of either moves.
        first_tile: Words of weights and of inputs that the first fold needs to start.
        formulas: The formulas of all that.
        sums_in_buffer: True where the array adds to sums in the buffer, at accumulator width; False where a sum is
            complete when it leaves the array.
        coded_weights: How many weights a compiler codes, with zeros for lanes that would be empty.
        keep_time: Which layers take the same time at all widths of weights, whatever the precision law says.
    """

    count: Callable[[LayerArrays, Accelerator, MacCost], ArrayCounts]
    passes: Callable[[LayerArrays, Accelerator, OperandWidths, ArrayCounts, WeightsInputs], WeightsInputs]
    first_tile: Callable[[LayerArrays, Accelerator, MacCost], WeightsInputs]
    formulas: Callable[[LayerShape, Accelerator], DataflowFormulas]
    sums_in_buffer: bool = False
    coded_weights: Callable[[LayerArrays, Accelerator], IntArray] = _code_all
    keep_time: Callable[[LayerArrays], BoolArray] = _keep_none
