"""From the sums of an integer program to codes as the runtime computes them, in the file and in its own program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.export.tflite.kernels import (
    LARGEST_SCALE,
    LARGEST_WIDE_SCALE,
    PRODUCT_BITS,
    SMALLEST_SCALE,
    FixedPoint,
    Reach,
    effective_scales,
    find_breakpoints,
    find_scales,
    find_wide_scales,
    to_fixed_point,
    to_multipliers,
    to_wide_multipliers,
)
from explorer.export.tflite.translation import Clipped, Translation, refuse
from explorer.integer.operations import Conv, Linear, Requantize, Step, Threshold
from explorer.integer.program import Integers

LARGEST_RAISED = 2**30
"""Sums that raised weights may reach."""
LARGEST_WEIGHT, LARGEST_PACKED = 127, 7
RAISED_GAIN = 2.0**-10
"""Scale of the sums of a filter that is a constant, in steps of the output."""
EQUAL = 1e-6
"""Relative error of a scale in float32, with room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaling:
    """A requantisation of the program in real numbers: sum of gain * (tensor - zero point), plus `offset`.

    `bounds` are the codes that it is clipped to, zero point subtracted; None keeps those of the logits' grid.
    """

    step: Step
    gains: tuple[Float64Array, ...]
    offset: Float64Array
    target: Clipped
    bounds: tuple[int, int]

    @property
    def has_offset(self) -> bool:
        """Whether the offset is more than rounding."""
        return bool(np.abs(self.offset).max() > EQUAL * float(np.abs(self.gains[0]).max()))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterBank:
    """Weights (filters first), biases and scales of a layer, as a file has them, and what sums are multiplied with."""

    weight: Integers
    bias: Integers
    scales: Float64Array
    fixed: FixedPoint
    largest: int
    is_packed: bool
    is_wide: bool
    rounds_twice: bool


def fit(
    parts: Translation, made: Rescaling, source: str, weight: Integers, bias: Float64Array, *, packed: bool = False
) -> FilterBank:
    """Return the weights, biases and scale of each filter: scale of the input times that is the gain.

    Weights of at most 4 bits are raised as far as 8 bits and the sums allow: runtimes that round a sum twice, on the
    way to its code, do so in finer steps then. A filter with next to no gain is a constant: it becomes one that has a
    multiplier.
    """
    count, step, scale = len(weight), parts.grid(made.step.output).scale, parts.grid(source).scale
    axes = (-1, *(1,) * (weight.ndim - 1))
    gains = np.broadcast_to(made.gains[0].reshape(-1), (count,)).astype(np.float64)
    offset, signs = np.broadcast_to(made.offset.reshape(-1), (count,)), np.sign(gains)
    wide, bias, gains = weight.astype(np.int64) * signs.astype(np.int64).reshape(axes), bias * signs, np.abs(gains)
    constant = gains < SMALLEST_SCALE * step
    wide[constant] = 0
    bias = np.where(constant, (gains * bias + offset) / (RAISED_GAIN * step), bias)
    gains = np.where(constant, RAISED_GAIN * step, gains)
    bias = bias + np.where(constant, 0.0, offset / gains)
    rows = np.abs(wide).reshape(count, -1)
    reach = rows.sum(1) * 255.0 + np.abs(bias)
    if rows.max() > LARGEST_WEIGHT or reach.max() >= 2**31:
        raise refuse(made.step, "a weight takes more than 8 bits, or a sum more than 32")
    is_wide = parts.is_wide(made.step.output)
    packed = packed and not is_wide and bool(rows.max() <= LARGEST_PACKED) and bool(gains.max() < step)
    rounds_twice = packed and weight.ndim == 4  # as the kernels of packed convolutions do
    times = np.ones(count, np.int64) if packed else _raise(rows.max(1), reach, gains / step)
    if (gains / times).max() >= (LARGEST_WIDE_SCALE if is_wide else LARGEST_SCALE) * step:
        raise refuse(made.step, "its sums are multiplied with more than runtimes take")
    raised, biases = wide * times.reshape(axes), np.rint(bias * times).astype(np.int64)
    largest = np.abs(raised).reshape(count, -1).sum(1) * 255 + np.abs(biases)
    if is_wide:
        scales = find_wide_scales(gains / times / scale, scale, step)
        fixed = to_wide_multipliers(scale * scales / step)
    else:
        sums = Reach(base=biases, step=times, largest=largest)
        scales = find_scales(gains / times / scale, scale, step, made.bounds, sums)
        effective = effective_scales(scales.astype(np.float32), scale, step)
        fixed = to_multipliers(scale * scales / step) if rounds_twice else to_fixed_point(effective)
    return FilterBank(
        weight=raised.astype(np.int8),
        bias=biases.astype(np.int32),
        scales=scales,
        fixed=fixed,
        largest=int(largest.max()),
        is_packed=packed,
        is_wide=is_wide,
        rounds_twice=rounds_twice,
    )


def _raise(peaks: Int64Array, reach: Float64Array, scales: Float64Array) -> Int64Array:
    """Return what the weights of each filter are multiplied with, from the largest weight, sum, and their scale.

    One number for a layer (less for a filter whose sums would be too large) of weights of at most 4 bits leaves as few
    different integers as before, which compilers code as well. Wider ones would take up to another bit each: at 6 bits
    13 % more flash for ResNet-8 on an Ethos-U55.
    """
    if peaks.max() > LARGEST_PACKED:
        return np.ones(len(peaks), np.int64)
    most = np.full(len(peaks), LARGEST_WEIGHT // np.maximum(peaks.max(), 1))
    for bound in (LARGEST_RAISED / np.maximum(reach, 1), scales / SMALLEST_SCALE):
        most = np.minimum(most, bound.astype(np.int64))
    return np.where(peaks == 0, 1, np.maximum(most, 1))


def widen(parts: Translation, made: Rescaling, source: str, number: int) -> int:
    """Return int8 codes of `source`, as an operator reads them: of 16 bits, less their zero point, if it gives such."""
    if not parts.is_wide(made.step.output):
        return number
    grid = replace(parts.grid(source), zero_point=0, type="int16")
    wide = parts.file.add_activation(f"{made.step.output}_wide", parts.file.tensors[number].shape, grid)
    parts.file.add_operator("QUANTIZE", (number,), wide, "QuantizeOptions")
    return wide


def write_bank(
    parts: Translation, layer: Conv | Linear, source: str, bank: FilterBank, kernel: Integers, axis: int
) -> list[int]:
    """Add the weights, as the file orders them, and biases of a layer; `axis` is that of the filters."""
    scales = bank.scales[:1] if len(np.unique(bank.scales)) == 1 else bank.scales
    bias = bank.bias.astype(np.int64) if bank.is_wide else bank.bias
    return [
        parts.file.add_weights(layer.weight, kernel, scales, axis, packed=bank.is_packed),
        parts.file.add_weights(f"{layer.output}.bias", bias, scales * parts.grid(source).scale, 0),
    ]


def keep_requantize(parts: Translation, made: Rescaling, source: str, bank: FilterBank) -> None:
    """Append what the runtime does with the sums `source` to the program of the file."""
    output, fixed = made.step.output, bank.fixed
    axes = (-1, *(1,) * (len(parts.shape(output)) - 1))
    multipliers, shifts = (array.reshape(axes) for array in (fixed.multipliers, fixed.shifts))
    if bank.rounds_twice:
        source, multipliers = _keep_product(parts, made, source, multipliers), np.ones_like(multipliers)
    half, zero_point = (np.int64(1) << shifts) >> 1, np.int64(find_zero(parts, output))
    arrays: dict[str, Integers] = {
        "multiplier0": multipliers.astype(np.int32),
        "offset": (zero_point << shifts) + half,
        "shift": shifts.astype(np.uint8),
    }
    keep_clipped(parts, made, (source,), ("multiplier0",), arrays)


def _keep_product(parts: Translation, made: Rescaling, source: str, multipliers: Int64Array) -> str:
    """Append the upper bits of sums times multipliers, rounded; returns their name."""
    name, (low, high) = f"{made.step.output}_product", (-(2**31), 2**31 - 1)
    arrays: dict[str, Integers] = {
        f"{name}.multiplier0": multipliers.astype(np.int32),
        f"{name}.offset": np.array(2 ** (PRODUCT_BITS - 1), np.int64),
        f"{name}.shift": np.array(PRODUCT_BITS, np.uint8),
        f"{name}.low": np.array(low, np.int32),
        f"{name}.high": np.array(high, np.int32),
    }
    offset, shift, least, largest = (f"{name}.{key}" for key in ("offset", "shift", "low", "high"))
    step = Requantize(
        inputs=(source,),
        output=name,
        multipliers=(f"{name}.multiplier0",),
        offset=offset,
        shift=shift,
        low=least,
        high=largest,
    )
    parts.keep(step, arrays, shape=parts.shape(made.step.output), type="int32", low=low, high=high)
    return name


def keep_clipped(
    parts: Translation,
    made: Rescaling,
    inputs: tuple[str, ...],
    multipliers: tuple[str, ...],
    arrays: dict[str, Integers],
) -> None:
    """Append a requantisation with these arrays, clipped as `made` says."""
    output = made.step.output
    zero_point = find_zero(parts, output)
    low, high = (bound + zero_point for bound in made.bounds)
    named = {f"{output}.{key}": np.asarray(values) for key, values in arrays.items()}
    named |= {f"{output}.low": np.array(low, np.int32), f"{output}.high": np.array(high, np.int32)}
    step = Requantize(
        inputs=inputs,
        output=output,
        multipliers=tuple(f"{output}.{name}" for name in multipliers),
        offset=f"{output}.offset",
        shift=f"{output}.shift",
        low=f"{output}.low",
        high=f"{output}.high",
    )
    parts.keep(step, named, low=low, high=high, type="uint8" if low >= 0 and high <= 255 else "int32")


def keep_threshold(parts: Translation, made: Rescaling, source: str, scale: np.float32, largest: int) -> None:
    """Append a table of sums, for what the runtime scales by no scale of ours."""
    output = made.step.output
    zero_point = find_zero(parts, output)
    codes = np.arange(made.bounds[0], made.bounds[1] + 1) + zero_point
    places = find_breakpoints(np.float32(scale), made.bounds, largest)
    spare = 2 ** max(1, len(places).bit_length()) - 1 - len(places)
    kind = np.uint8 if codes[0] >= 0 and codes[-1] <= 255 else np.int32
    arrays = {
        f"{output}.breakpoints": np.append(places, np.full(spare, 2**31 - 1)).astype(np.int32),
        f"{output}.table": np.append(codes, np.full(spare, codes[-1])).astype(kind),
    }
    step = Threshold(input=source, output=output, breakpoints=f"{output}.breakpoints", table=f"{output}.table")
    parts.keep(step, arrays, low=int(codes[0]), high=int(codes[-1]), type="uint8" if kind is np.uint8 else "int32")


def find_zero(parts: Translation, name: str) -> int:
    """Return the zero point of a tensor in the program of the file: 0 for the logits."""
    return 0 if parts.is_output(name) else parts.grids[name].zero_point


def keep_raised(parts: Translation, layer: Conv | Linear, bank: FilterBank, shape: tuple[int, ...]) -> None:
    """Append the sums of a layer, with the weights and biases of the file."""
    arrays = {layer.weight: bank.weight, f"{layer.output}.bias": bank.bias}
    step = replace(layer, bias=f"{layer.output}.bias")
    parts.keep(step, arrays, shape=shape, type="int32", low=-bank.largest, high=bank.largest)
