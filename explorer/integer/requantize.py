"""From what a tensor stands for to the steps that give its codes, or the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from explorer.arrays import Float64Array
from explorer.compress.quantize import ActivationQuantizer
from explorer.errors import ExportError
from explorer.graph.inputs import OUTPUT
from explorer.integer.builder import ProgramBuilder
from explorer.integer.operations import Concatenate, LookUp, MaxPool, QuantizeInput, Requantize, Threshold
from explorer.integer.program import Integers
from explorer.integer.values import Affine, Concatenated, ScaledTensor, find_fixed_point, make_codes, make_scalar

FINE_BITS = 26
"""Width of the grid on which a function of sums finds its code: finer than float32 is."""
FINEST = 2.0**-24
"""Smallest step of that grid, in steps of the sums: finer than these it would tell nothing."""
COARSE = 256
"""Every so many points of that grid a code is computed, and at each point where two of these differ (assumed)."""
LOGIT_BITS = 30
"""Magnitude bits of the logits: more than the 24 of float32."""


def quantize(builder: ProgramBuilder, value: Affine | Concatenated, to: ActivationQuantizer, name: str) -> Affine:
    """Add the steps from a value to the codes that `to` gives for it; the tensor is called `name`."""
    if isinstance(value, Concatenated):
        names = [builder.names.free(f"{name}_{number}") for number in range(len(value.parts))]
        parts = [quantize(builder, part, to, called) for called, part in zip(names, value.parts, strict=True)]
        first = parts[0].terms[0]
        step = Concatenate(inputs=tuple(part.terms[0].tensor for part in parts), output=name, axis=1)
        return builder.moved(step, first, value.shape)
    before = builder.names.free(f"{name}_unpooled") if value.pools else name
    if value.terms[0].tensor in builder.inputs:
        _quantize_input(builder, value, to, before)
    elif value.source is not None:
        _look_up(builder, value, to, before)
    elif value.functions:
        _step(builder, value, to, before)
    else:
        low, high = (rounded(bound, to) for bound in (value.low, value.high))
        requantize(builder, before, value, (float(to.scale), to.zero_point), (low, high))
    term = ScaledTensor(tensor=before, zero_point=to.zero_point, gain=make_scalar(float(to.scale)))
    codes = make_codes(term, builder.tensors[before].shape)
    for number, window in enumerate(value.pools):
        last = number == len(value.pools) - 1
        pool = MaxPool(
            input=codes.terms[0].tensor,
            output=name if last else builder.names.free(f"{name}_pooled_{number}"),
            kernel=window.kernel,
            stride=window.stride,
            padding=window.padding,
            dilation=window.dilation,
        )
        codes = builder.moved(pool, codes.terms[0], window.shape)
    return codes


def quantize_logits(builder: ProgramBuilder, value: Affine | Concatenated) -> float:
    """Add the steps from a value to int32 logits on one grid for all classes; returns its scale, a power of two."""
    parts = value.parts if isinstance(value, Concatenated) else (value,)
    reach = max(abs(end) for part in parts for end in _range(builder, part))
    scale = 2.0 ** int(np.frexp(reach / 2**LOGIT_BITS)[1]) if reach > 0 else 1.0
    names = [OUTPUT]
    if len(parts) > 1:
        names = [builder.names.free(f"{OUTPUT}_{number}") for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        low, high = (
            np.clip(np.rint(bound / scale), -(2.0**LOGIT_BITS), 2.0**LOGIT_BITS) for bound in (part.low, part.high)
        )
        requantize(builder, name, part, (scale, 0), (low, high))
    if len(names) > 1:
        low_, high_ = -(2.0**LOGIT_BITS), 2.0**LOGIT_BITS
        builder.add(Concatenate(inputs=tuple(names), output=OUTPUT, axis=1), value.shape, low_, high_)
    return scale


def requantize(
    builder: ProgramBuilder,
    name: str,
    value: Affine,
    grid: tuple[float, int],
    bounds: tuple[Float64Array, Float64Array],
) -> str:
    """Return terms and offset of `value` on the `grid` (scale, zero point), clipped to the integer `bounds`."""
    (scale, zero_point), (low, high) = grid, bounds
    factors, start = [term.gain / scale for term in value.terms], value.offset / scale + zero_point
    if max(float(np.abs(factor).max()) for factor in factors) >= 2**30 and float(np.abs(start).max()) >= 2**29:
        raise ExportError(
            f"integer: {name!r} has no multipliers of 32 bits: its batch norm's offset is beyond all sums"
        )
    multipliers, rounding, shift = find_fixed_point(factors, start, np.maximum(np.abs(low), np.abs(high)))
    offset = rounding.astype(np.int64)
    for term, multiplier in zip(value.terms, multipliers, strict=True):
        offset = offset - term.zero_point * multiplier.astype(np.int64)
    _check_64_bits(
        builder, name, value.terms, multipliers, float(np.abs(rounding).max() + (np.abs(low) * 2**shift).max())
    )
    step = Requantize(
        inputs=tuple(term.tensor for term in value.terms),
        output=name,
        multipliers=tuple(
            builder.array(f"{name}.multiplier{number}", _collapsed(multiplier), np.int32)
            for number, multiplier in enumerate(multipliers)
        ),
        offset=builder.array(f"{name}.offset", _collapsed(offset), np.int64),
        shift=builder.array(f"{name}.shift", _collapsed(shift), np.uint8),
        low=builder.array(f"{name}.low", _collapsed(low), np.int32),
        high=builder.array(f"{name}.high", _collapsed(high), np.int32),
    )
    shape = np.broadcast_shapes(*(builder.tensors[term.tensor].shape for term in value.terms))
    return builder.add(step, shape, float(low.min()), float(high.max()))


def _check_64_bits(
    builder: ProgramBuilder, name: str, terms: Sequence[ScaledTensor], multipliers: Sequence[Float64Array], rest: float
) -> None:
    """Raise ExportError where products, offset and the lower bound, all before the shift, leave 64 bits together."""
    reach = rest
    for term, multiplier in zip(terms, multipliers, strict=True):
        tensor = builder.tensors[term.tensor]
        reach += (max(abs(tensor.low), abs(tensor.high)) + abs(term.zero_point)) * float(np.abs(multiplier).max())
    if reach >= 2**63:
        raise ExportError(f"integer: rescaling {name!r} can overflow 64 bits; choose fewer activation bits")


def _quantize_input(builder: ProgramBuilder, value: Affine, to: ActivationQuantizer, name: str) -> None:
    low, high = (int(rounded(bound, to)) for bound in (value.low, value.high))
    scale = float(to.scale)
    given = builder.inputs[value.terms[0].tensor]
    step = QuantizeInput(input=given.name, output=name, scale=scale, zero_point=to.zero_point, low=low, high=high)
    builder.add(step, given.shape, low, high)


def _look_up(builder: ProgramBuilder, value: Affine, to: ActivationQuantizer, name: str) -> None:
    """Add one entry for each code, computed as the simulated network computes it: exact."""
    source = value.source
    assert source is not None
    codes = torch.arange(builder.tensors[source.tensor].high + 1, dtype=torch.float32)
    values = (codes - source.zero_point) * torch.tensor(float(source.gain), dtype=torch.float32)
    with torch.no_grad():
        for function in value.chain:
            values = function(values)
    table = rounded(values, to)
    step = LookUp(input=source.tensor, output=name, table=builder.array(f"{name}.table", table, np.uint8))
    builder.add(step, builder.tensors[step.input].shape, table.min(), table.max())


def _step(builder: ProgramBuilder, value: Affine, to: ActivationQuantizer, name: str) -> None:
    """Add a function of sums: these go to a fine grid, on which the function's codes change at few places."""
    low, high = _range(builder, value)

    def code(points: Float64Array) -> Float64Array:
        return rounded(_applied(value.functions, points), to)

    low, high = _narrowed(code, low, high, float(to.scale))
    top = 2**FINE_BITS - 1
    step = max(float(np.abs(term.gain).max()) for term in value.terms)
    scale = max((high - low) / top, step * FINEST) or 1.0
    zero_point = round(-low / scale)
    places, codes = _places(lambda points: code((points - zero_point) * scale), top)
    depth = max(1, len(places).bit_length())
    spare = 2**depth - 1 - len(places)
    breakpoints = np.concatenate([places, np.full(spare, 2**31 - 1)])
    table = np.concatenate([codes, np.full(spare, codes[-1])])
    lowest, highest = (np.clip(np.rint(bound / scale) + zero_point, 0, top) for bound in (value.low, value.high))
    fine = requantize(builder, builder.names.free(f"{name}_fine"), value, (scale, zero_point), (lowest, highest))
    steps = Threshold(
        input=fine,
        output=name,
        breakpoints=builder.array(f"{name}.breakpoints", breakpoints, np.int32),
        table=builder.array(f"{name}.table", table, np.uint8),
    )
    builder.add(steps, builder.tensors[fine].shape, table.min(), table.max())


def _places(code: Callable[[Float64Array], Float64Array], top: int) -> tuple[Float64Array, Float64Array]:
    """Return where the code changes on 0..top, and the codes before, between and behind these places."""
    coarse = np.append(np.arange(0.0, top, COARSE), top)
    cells = coarse[np.flatnonzero(np.diff(code(coarse)))]
    points = np.minimum(cells[:, None] + np.arange(COARSE + 1), top)
    rows, columns = np.nonzero(np.diff(code(points), axis=1))
    places = points[rows, columns + 1]
    return places, code(np.concatenate([[0.0], places]))


def _range(builder: ProgramBuilder, value: Affine) -> tuple[float, float]:
    """Return the least and the largest real value that the terms can reach, clipped as the value is."""
    lowest, highest = value.offset, value.offset
    for term in value.terms:
        ends = [term.gain * (end - term.zero_point) for end in builder.bounds[term.tensor]]
        lowest, highest = lowest + np.minimum(*ends), highest + np.maximum(*ends)
    return (
        float(np.clip(lowest, value.low, value.high).min()),
        float(np.clip(highest, value.low, value.high).max()),
    )


def _applied(functions: Sequence[Callable[[torch.Tensor], torch.Tensor]], points: Float64Array) -> Float64Array:
    values = torch.from_numpy(np.ascontiguousarray(points))
    with torch.no_grad():
        for function in functions:
            values = function(values)
    found: Float64Array = values.double().numpy()
    return found


def rounded(values: Float64Array | torch.Tensor, to: ActivationQuantizer) -> Float64Array:
    """Return what a quantiser rounds values to, whatever their size, as float64 integers."""
    scale = to.scale.cpu()
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.asarray(values, dtype=np.float64))
    codes = torch.round(tensor / scale.to(tensor.dtype)).add(to.zero_point).clamp(0, 2**to.bits - 1)
    found: Float64Array = codes.double().numpy()
    return found


def _narrowed(
    code: Callable[[Float64Array], Float64Array], low: float, high: float, step: float
) -> tuple[float, float]:
    """Return the part of low..high outside of which the code stays, found on fine and on ever coarser points."""
    reach = max(abs(low), abs(high), step)
    sizes = np.geomspace(step * 2**-6, reach, 4096)
    points = np.unique(np.clip(np.concatenate([-sizes, [0.0], sizes, np.linspace(low, high, 4097)]), low, high))
    changes = np.flatnonzero(np.diff(code(points)))
    if len(changes) == 0:
        return low, high
    return float(points[changes[0]]), float(points[changes[-1] + 1])


def _collapsed(values: Float64Array | Integers) -> Integers:
    """Return a scalar where all entries are equal."""
    array = np.asarray(values)
    return array.reshape(-1)[0] if array.size and (array == array.reshape(-1)[0]).all() else array
