"""Cycles of an engine that decodes weights in front of its lanes, and writes blocks of outputs behind them.

A step takes a micro-block of positions (`unroll`). Its weights come in sets: the compiler chooses for each layer
whether a set has many input channels of one kernel element, or few channels of several elements (`blocks.traversals`).
Where a set serves few positions, the lanes wait for the next one to leave the decoder. One block is written while the
next one is computed; the shorter of both is waited for once, at the end.

Source: Vela 5.2 (npu_performance.py, architecture_features.py) has these sets, rates and stages. Its search for the
best size of a block is replaced by one size; `tests/golden/test_vela.py` says how near its own figures that comes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import IntArray, ceil_div
from hwmodels.cost.citation import name_units
from hwmodels.cost.dataflow import ArrayCounts, DataflowFormulas, DataflowModel, Formula, OperandWidths, WeightsInputs
from hwmodels.cost.tiling import choose_in_place, count_in_place_tile
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

_SHARE_OF_LONGER = 4
"""Blocks whose commands are in flight together: a block takes at least this part of its stages to get through."""

_LEAST_CHANNELS = 16
"""Output channels of a block, unless the layer has fewer; larger blocks have a multiple of them."""
_MANY = np.iinfo(np.int64).max


class _Sets(NamedTuple):
    """How the weights of a layer are cut into sets, `... x layers`."""

    kernel_steps: IntArray
    lane_steps: IntArray
    """Steps for one micro-block of positions are the product of both."""
    coded_weights: IntArray
    """Weights with the zeros that fill up lanes, which are coded too."""


def _cut(layers: LayerArrays, accelerator: Accelerator) -> _Sets:
    """Return the sets of the traversal that takes the fewest steps, the first one in a tie."""
    unroll, blocks = accelerator.unroll, accelerator.blocks
    window, filters = layers.kernel_h * layers.kernel_w, layers.n * layers.groups
    channels = layers.in_channels // layers.groups
    padded_channels = ceil_div(channels, unroll.in_channels) * unroll.in_channels
    channel_folds = ceil_div(_fill_blocks(layers.n), unroll.out_channels) * layers.groups
    depthwise = (layers.groups > 1) & (layers.in_channels == layers.groups)
    kernel_sets = ceil_div(window, blocks.depthwise_kernel)
    best = _Sets(
        kernel_sets * -(-blocks.depthwise_kernel // unroll.kernel),
        layers.n * ceil_div(_fill_blocks(layers.groups), unroll.depthwise_channels),
        filters * kernel_sets * blocks.depthwise_kernel,
    )
    least = np.where(depthwise, 0, _MANY)
    for set_channels, set_kernel in blocks.traversals:
        kernel_sets = ceil_div(window, set_kernel)
        each = _Sets(
            kernel_sets * -(-set_kernel // unroll.kernel),
            channel_folds * ceil_div(channels, set_channels) * -(-set_channels // unroll.in_channels),
            filters * padded_channels * kernel_sets * set_kernel,
        )
        steps = each.kernel_steps * each.lane_steps
        better, least = steps < least, np.minimum(steps, least)
        best = _Sets(*(np.where(better, new, old) for new, old in zip(each, best, strict=True)))
    return best


def _fill_blocks(channels: IntArray) -> IntArray:
    """Return channels with those of the last block, which is computed as a whole."""
    block = np.minimum(channels, _LEAST_CHANNELS)
    return ceil_div(channels, block) * block


def count_coded_weights(layers: LayerArrays, accelerator: Accelerator) -> IntArray:
    """Return how many weights are coded: those of the layer, and zeros in lanes that they leave empty."""
    return _cut(layers, accelerator).coded_weights


def _count(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return cycles by stage and together, and reads as from the edge of unrolled loops."""
    unroll, blocks = accelerator.unroll, accelerator.blocks
    sets = _cut(layers, accelerator)
    steps = sets.kernel_steps * ceil_div(sets.lane_steps * mac.serial_cycles, mac.parallel_macs)
    positions = layers.batch * ceil_div(layers.out_h, unroll.out_h) * ceil_div(layers.out_w, unroll.out_w)
    lanes = unroll.out_channels * unroll.in_channels * unroll.kernel
    array = np.ceil(positions * steps / unroll.rate).astype(np.int64)
    decoder = np.ceil(steps * lanes / blocks.weights_per_cycle).astype(np.int64)
    writing = np.ceil(layers.outputs / blocks.outputs_per_cycle).astype(np.int64)
    computing = np.maximum(array, decoder)
    longer, shorter = np.maximum(computing, writing), np.minimum(computing, writing)
    last = np.maximum(shorter, longer / _SHARE_OF_LONGER) / ceil_div(layers.outputs, blocks.outputs)
    channel_folds = ceil_div(layers.n, unroll.out_channels)
    ideal = layers.macs * mac.serial_cycles / mac.parallel_macs
    return ArrayCounts(
        cycles=np.ceil(longer + last).astype(np.int64),
        mapping_efficiency=ideal / np.maximum(positions * steps * float(unroll.units), 1.0),
        ifmap_reads=layers.m * layers.k * channel_folds * layers.groups,
        filter_reads=layers.k * layers.n * positions * layers.groups,
        ofmap_writes=layers.outputs,
        row_folds=positions,
        column_folds=channel_folds,
        array_cycles=array,
        decoder_cycles=decoder,
        writing_cycles=writing,
    )


def _choose_passes(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, counts: ArrayCounts, pass_bits: WeightsInputs
) -> WeightsInputs:
    """Return the passes of staged weights, or of weights that each block of positions reads where they are kept.

    The latter stay for all positions, and each block of channels reads the inputs, where a block of the fewest channels
    has room for them and less is read so. Weights that fit a decoder are read for each block, too, if that is less.
    """
    staged = choose_in_place(layers, accelerator, widths, counts, pass_bits)
    weight_bits, input_bits = pass_bits
    buffer = accelerator.find_buffer("weights")
    fit = weight_bits <= buffer.size_bytes * 8
    if buffer.staged_in and fit.all():
        return staged
    number = ceil_div(layers.outputs, accelerator.blocks.outputs)
    # A weight has a part in the outputs of each position, an input in those of each channel, and in no others.
    weights_again, inputs_again = np.minimum(number, layers.m), np.minimum(number, layers.n)
    less = weights_again * weight_bits + input_bits > weight_bits + inputs_again * input_bits
    weights_stay = less & (layers.m * np.minimum(layers.n, _LEAST_CHANNELS) <= accelerator.blocks.outputs)
    direct = np.where(weights_stay, 1, weights_again), np.where(weights_stay, inputs_again, 1)
    if not buffer.staged_in:
        fit &= staged[0] * weight_bits + staged[1] * input_bits <= direct[0] * weight_bits + direct[1] * input_bits
    return np.where(fit, staged[0], direct[0]), np.where(fit, staged[1], direct[1])


def _count_tile(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> WeightsInputs:
    """Return the words that the lanes start with: their weights, and the inputs of a block."""
    weights, _ = count_in_place_tile(layers, accelerator, mac)
    return weights, ceil_div(layers.inputs, ceil_div(layers.outputs, accelerator.blocks.outputs))


def _explain(shape: LayerShape, device: Accelerator) -> DataflowFormulas:
    reference = "sets of weights, and the folds of every loop that runs side by side (hwmodels.cost.blocks)"
    positions = "batch * ceil(out_h / unroll_out_h) * ceil(out_w / unroll_out_w)"
    if shape.groups > 1 and shape.in_channels == shape.groups:
        lanes = f"n * ceil({_explain_blocks('groups')} / unroll_depthwise_channels)"
        steps = _explain_steps(str(device.blocks.depthwise_kernel), lanes)
    else:
        each = [
            _explain_steps(
                str(kernel),
                f"ceil({_explain_blocks('n')} / unroll_out_channels) * groups "
                f"* ceil(in_channels / groups / {channels}) * ceil({channels} / unroll_in_channels)",
            )
            for channels, kernel in device.blocks.traversals
        ]
        steps = f"min({', '.join(each)})" if len(each) > 1 else each[0]
    number = "ceil(outputs / blocks_outputs)"
    computing = "max(array_cycles, decoder_cycles)"
    depth = "min(k, parallel_macs * unroll_in_channels * unroll_kernel)"
    return DataflowFormulas(
        reference=reference,
        compute_cycles=Formula(
            f"ceil(max({computing}, writing_cycles) + max(min({computing}, writing_cycles), "
            f"max({computing}, writing_cycles) / {_SHARE_OF_LONGER}) / {number})",
            "the longest stage, and the last block on its way through (hwmodels.cost.blocks)",
        ),
        array_cycles=Formula(f"ceil({positions} * {steps} / unroll_rate)", reference),
        decoder_cycles=Formula(
            f"ceil({steps} * unroll_out_channels * unroll_in_channels * unroll_kernel / blocks_weights_per_cycle)",
            "every lane of a set takes a weight out of the decoder (hwmodels.cost.blocks)",
        ),
        writing_cycles=Formula("ceil(outputs / blocks_outputs_per_cycle)", "results written (hwmodels.cost.blocks)"),
        mapping_efficiency=Formula(
            f"macs * serial_cycles / parallel_macs / ({positions} * {steps} * {name_units(device)})", reference
        ),
        ifmap_reads="m * k * ceil(n / unroll_out_channels) * groups",
        filter_reads=f"k * n * {positions} * groups",
        first_tile=(f"min(n, unroll_out_channels) * {depth}", f"ceil(inputs / {number})"),
    )


def _explain_blocks(channels: str) -> str:
    """Return channels as whole blocks."""
    block = f"min({channels}, {_LEAST_CHANNELS})"
    return f"ceil({channels} / {block}) * {block}"


def _explain_steps(kernel: str, lanes: str) -> str:
    """Return the steps of a micro-block of positions, for sets of so many kernel elements."""
    return (
        f"ceil(kernel_h * kernel_w / {kernel}) * ceil({kernel} / unroll_kernel) "
        f"* ceil({lanes} * serial_cycles / parallel_macs)"
    )


BLOCKS = DataflowModel(
    count=_count, passes=_choose_passes, first_tile=_count_tile, formulas=_explain, coded_weights=count_coded_weights
)
