"""How sums become codes in the C source: the arrays of a rescaling, an entry for each channel, position, or all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from explorer.arrays import Int64Array
from explorer.export.c.memory import StoredTensor
from explorer.integer.operations import Requantize, Threshold
from explorer.integer.program import Integers

Arrays = Mapping[str, Integers]
AddArray = Callable[[str, Integers], str]
"""Defines an array of that kind; returns its identifier."""


def count_channels(tensor: StoredTensor) -> int:
    """Return how many integers stand behind each other as the channels of one position."""
    return tensor.shape[0] if tensor.is_channels_last else len(tensor.order)


def describe_scale(
    tensor: StoredTensor, rescale: Requantize | None, threshold: Threshold | None, arrays: Arrays, add: AddArray
) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of `net_scale` for what is stored in a tensor, and the multipliers of each operand."""
    channels = count_channels(tensor)
    fields: dict[str, Any] = {"channels": channels}
    if rescale is None:
        return fields, []
    names = (*rescale.multipliers, rescale.shift, rescale.offset, rescale.low, rescale.high)
    spread = [_spread(arrays[name], tensor, channels) for name in names]
    (*multipliers, shift, offset, low, high), steps = _collapse(spread)
    fields |= {"position_step": steps[0], "channel_step": steps[1]}
    added = [add("multipliers", multiplier.astype(np.int32)) for multiplier in multipliers]
    fields |= {"multipliers": added[0], "shifts": add("shifts", shift.astype(np.uint8))}
    zero_point = _find_zero_point(offset, shift)
    if zero_point is None:
        fields["offsets"] = add("offsets", offset)
    else:
        fields["zero_point"] = zero_point
    if len(np.unique(low)) == len(np.unique(high)) == 1:
        fields |= {"low": int(low[0]), "high": int(high[0])}
    else:
        fields["bounds"] = add("bounds", np.stack([low, high], axis=1).astype(np.int32))
    if threshold is not None:
        breakpoints, table = (arrays[name] for name in (threshold.breakpoints, threshold.table))
        fields["depth"] = len(breakpoints).bit_length()
        fields["breakpoints"] = add("breakpoints", breakpoints.astype(np.int32))
        fields["table"] = add("table", table.astype(np.uint8))
    return fields, added


def _spread(array: Integers, tensor: StoredTensor, channels: int) -> Int64Array:
    """Return an array that broadcasts against a tensor, positions x channels as it is stored; 1 x 1 for a scalar."""
    if array.size == 1:
        return array.reshape(1, 1).astype(np.int64)
    if array.shape == (channels, *(1,) * (len(tensor.shape) - 1)) and tensor.is_channels_last:
        return array.reshape(1, channels).astype(np.int64)
    entries = np.broadcast_to(array, tensor.shape).reshape(-1)[tensor.order]
    return entries.reshape(-1, channels).astype(np.int64)


def _collapse(arrays: list[Int64Array]) -> tuple[list[Int64Array], tuple[int, int]]:
    """Return arrays of one length, as many entries as there are different ones, and the steps to the next one."""
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    full = [np.broadcast_to(array, shape) for array in arrays]
    if all((array == array[:1]).all() for array in full):
        full = [array[:1] for array in full]
    if all((array == array[:, :1]).all() for array in full):
        full = [array[:, :1] for array in full]
    positions, channels = full[0].shape
    steps = (channels if positions > 1 else 0, 1 if channels > 1 else 0)
    return [array.reshape(-1) for array in full], steps


def _find_zero_point(offset: Int64Array, shift: Int64Array) -> int | None:
    """Return the zero point of which each offset is 2^shift times, and half of that added; None where there is none."""
    doubled = offset >> (shift - 1)
    exact = (doubled << (shift - 1) == offset).all() and (doubled == doubled[0]).all() and doubled[0] % 2 == 1
    return int(doubled[0] - 1) // 2 if exact and abs(int(doubled[0])) < 2**31 else None
