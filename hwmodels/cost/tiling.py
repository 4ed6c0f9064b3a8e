"""How often the loops of a dataflow fetch weights and inputs from DRAM, given what the buffers hold.

An operand that its buffer holds as a whole is fetched once. Otherwise half of the buffer holds the current
block and the other half receives the next one, and the loops around a block decide. Partial sums never
leave the chip: blocks are small enough for the output buffer (columns x positions accumulators) where k
needs several folds.

Weight stationary, three ways to block m x k x n:

- large: `for block of positions: for folds of n: for fold of k`, the block as large as the sums permit.
  Weights are fetched once for each block; inputs once if the block's lines stay, else once for as many
  folds of n as the output buffer holds sums for (while the fold's slice of the block stays; if it cannot,
  once for each fold of n).
- small: the same with a block small enough for its input lines to stay: inputs once, weights for each block.
- resident: `for block of channels: for positions: for folds of n and k`, with the weights of the block
  staying: weights once, inputs once for each block of channels.

Input stationary is the same with positions and channels, inputs and weights, in exchanged roles. Output
stationary keeps sums in the array, and has two loop orders: `for block of positions: for fold of n` fetches
weights once for each block, `for block of channels: for fold of positions` inputs once for each block; the
operand of the inner loop's tile is fetched once if that tile stays, else in every repetition. So does an engine of
unrolled loops. Row stationary keeps sums in half of the buffer (see `hwmodels.cost.row_stationary`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, IntArray, ceil_div
from hwmodels.cost.dataflow import ArrayCounts, OperandWidths, WeightsInputs
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer_arrays import LayerArrays


class _Capacity(NamedTuple):
    """What the buffers hold of one group's product, `... x layers`."""

    weights_fit: BoolArray
    inputs_fit: BoolArray
    positions_kept: IntArray
    """Output positions whose input lines fit in half the input buffer: all if inputs fit, maybe none."""
    channels_kept: IntArray
    """Output channels whose weights fit in half the weight buffer: all if weights fit, maybe none."""
    weight_words_kept: IntArray
    input_words_kept: IntArray
    """Single weights and inputs that half the buffer holds."""
    sums_kept: IntArray
    """Partial sums that the output buffer holds."""


class _Roles(NamedTuple):
    """One group's product: a stationary operand along one dimension, a streamed one along the other."""

    streamed: IntArray
    streamed_fits: BoolArray
    streamed_kept: IntArray
    streamed_words_kept: IntArray
    stationary: IntArray
    stationary_fits: BoolArray
    stationary_kept: IntArray
    k: IntArray


def choose_stationary(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, counts: ArrayCounts, pass_bits: WeightsInputs
) -> WeightsInputs:
    """Return the passes of a weight or input stationary array in the cheapest of three ways to block its loops."""
    kept = _measure_capacity(layers, accelerator, widths)
    weights = (layers.n, kept.weights_fit, kept.channels_kept)
    inputs = (layers.m, kept.inputs_fit, kept.positions_kept)
    if accelerator.dataflow == "ws":
        roles = _Roles(*inputs, kept.input_words_kept, *weights, layers.k)
        return _choose_cheapest(
            _list_stationary_options(roles, accelerator.columns, kept.sums_kept, counts), *pass_bits
        )
    roles = _Roles(*weights, kept.weight_words_kept, *inputs, layers.k)
    options = _list_stationary_options(roles, accelerator.columns, kept.sums_kept, counts)
    return _choose_cheapest(tuple(option[::-1] for option in options), *pass_bits)


def count_stationary_tile(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> WeightsInputs:
    """Return the stationary tile and one streamed vector."""
    depth = np.minimum(layers.k, accelerator.rows * mac.parallel_macs)
    if accelerator.dataflow == "ws":
        return np.minimum(layers.n, accelerator.columns) * depth, depth
    return depth, np.minimum(layers.m, accelerator.columns) * depth


def _choose_cheapest(options: tuple[WeightsInputs, ...], weight_bits: IntArray, input_bits: IntArray) -> WeightsInputs:
    """Return for each layer the option with the least traffic; the first one wins a tie."""
    weight_passes, input_passes = options[0]
    least = weight_passes * weight_bits + input_passes * input_bits
    for weights, inputs in options[1:]:
        traffic = weights * weight_bits + inputs * input_bits
        less = traffic < least
        weight_passes = np.where(less, weights, weight_passes)
        input_passes = np.where(less, inputs, input_passes)
        least = np.where(less, traffic, least)
    return weight_passes, input_passes


def capacities(accelerator: Accelerator, needs: dict[str, IntArray]) -> dict[str, IntArray]:
    """Return for each operand the buffer bits that it can use, given the bits that each needs as a whole.

    In a shared buffer each operand has what the others leave of it, and never less than an equal share.
    """
    usable = {}
    for operand, need in needs.items():
        buffer = accelerator.find_buffer(operand)
        size = buffer.size_bytes * 8
        others = sum(needs[other] for other in buffer.operands if other != operand)
        usable[operand] = np.maximum(size // len(buffer.operands), size - others + 0 * need)
    return usable


def _measure_capacity(layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths) -> _Capacity:
    """Return what the buffers hold of one group's operands."""
    channel_bits = layers.k * widths.weights
    weights = layers.n * channel_bits
    inputs = layers.inputs // layers.groups * widths.inputs
    sums = layers.m * np.minimum(layers.n, accelerator.columns) * accelerator.accumulator_bits
    usable = capacities(accelerator, {"weights": weights, "inputs": inputs, "outputs": sums})
    weights_fit, inputs_fit = weights <= usable["weights"], inputs <= usable["inputs"]

    line_bits = layers.in_w * (layers.in_channels // layers.groups) * widths.inputs
    lines = usable["inputs"] // 2 // line_bits
    out_lines = np.where(lines >= layers.reach_h, (lines - layers.reach_h) // layers.stride_h + 1, 0)
    out_lines = np.minimum(out_lines, ceil_div(layers.m, layers.out_w))
    return _Capacity(
        weights_fit=weights_fit,
        inputs_fit=inputs_fit,
        positions_kept=np.where(
            inputs_fit, layers.m, np.minimum(np.minimum(out_lines, layers.m) * layers.out_w, layers.m)
        ),
        channels_kept=np.where(weights_fit, layers.n, np.minimum(usable["weights"] // 2 // channel_bits, layers.n)),
        weight_words_kept=usable["weights"] // 2 // widths.weights,
        input_words_kept=usable["inputs"] // 2 // widths.inputs,
        sums_kept=usable["outputs"] // accelerator.accumulator_bits,
    )


def _list_stationary_options(
    roles: _Roles, columns: int, sums_kept: IntArray, counts: ArrayCounts
) -> tuple[WeightsInputs, ...]:
    """Return (passes of the stationary operand, passes of the streamed one) of the three ways to block."""
    across = np.minimum(roles.stationary, columns)
    one_fold_of_k = counts.row_folds == 1
    block = np.where(
        # With one fold of k, sums are complete at once: none has to wait in the buffer.
        one_fold_of_k | (roles.streamed * across <= sums_kept),
        roles.streamed,
        np.maximum(sums_kept // 2 // across, 1),
    )
    # A fold's slice of the streamed operand serves several folds of the stationary one if it stays meanwhile.
    slice_stays = block * ceil_div(roles.k, counts.row_folds) <= roles.streamed_words_kept
    with_sums = np.where(one_fold_of_k, counts.column_folds, np.maximum(sums_kept // 2 // (block * across), 1))
    folds_together = np.where(slice_stays, with_sums, 1)
    stays = roles.streamed_fits | (block <= roles.streamed_kept)
    refetches = np.where(stays, 1, ceil_div(counts.column_folds, folds_together))
    large = (np.where(roles.stationary_fits, 1, ceil_div(roles.streamed, block)), refetches)

    # Where nothing stays, small and resident blocks are no choice: the large one's counts stand in.
    can_stay = roles.streamed_kept > 0
    small_block = np.minimum(block, np.maximum(roles.streamed_kept, 1))
    small = (
        np.where(roles.stationary_fits, 1, ceil_div(roles.streamed, np.where(can_stay, small_block, block))),
        np.where(can_stay, 1, refetches),
    )
    can_reside = roles.stationary_kept >= across
    blocks = ceil_div(roles.stationary, np.maximum(roles.stationary_kept, 1))
    resident = (
        np.where(can_reside, 1, large[0]),
        np.where(can_reside, np.where(roles.streamed_fits, 1, blocks), refetches),
    )
    return large, small, resident


def choose_in_place(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, counts: ArrayCounts, pass_bits: WeightsInputs
) -> WeightsInputs:
    """Return the passes in the cheaper loop order of an array that keeps sums where they are computed."""
    fit = _measure_capacity(layers, accelerator, widths)
    rows, columns, _ = accelerator.side_by_side
    row_tile, column_tile = np.minimum(layers.m, rows), np.minimum(layers.n, columns)
    rows_stay, columns_stay = fit.positions_kept >= row_tile, fit.channels_kept >= column_tile
    # A block of several folds is worth something only if the inner loop's tile stays for all of them.
    positions = np.where(columns_stay, np.maximum(row_tile, fit.positions_kept), row_tile)
    channels = np.where(rows_stay, np.maximum(column_tile, fit.channels_kept), column_tile)
    positions_outside = (
        np.where(fit.weights_fit, 1, ceil_div(layers.m, positions)),
        np.where(fit.inputs_fit | rows_stay, 1, counts.column_folds),
    )
    channels_outside = (
        np.where(fit.weights_fit | columns_stay, 1, counts.row_folds),
        np.where(fit.inputs_fit, 1, ceil_div(layers.n, channels)),
    )
    return _choose_cheapest((positions_outside, channels_outside), *pass_bits)


def count_in_place_tile(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> WeightsInputs:
    """Return the words that such an array starts with: the first elements of every row and column."""
    rows, columns, depth = accelerator.side_by_side
    at_once = np.minimum(layers.k, mac.parallel_macs * depth)
    return np.minimum(layers.n, columns) * at_once, np.minimum(layers.m, rows) * at_once
