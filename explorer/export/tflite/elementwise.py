"""Operators on two tensors of codes."""

from __future__ import annotations

import numpy as np

from explorer.export.tflite.kernels import ADDITION_RATIOS, to_addition
from explorer.export.tflite.rescale import EQUAL, Rescaling, find_zero, keep_clipped, keep_threshold
from explorer.export.tflite.translation import Translation, refuse
from explorer.integer.operations import Multiply, Requantize
from explorer.integer.program import Integers
from explorer.integer.stages import Stage


def add(parts: Translation, made: Rescaling, step: Requantize) -> None:
    """Add a sum or a difference, with the multipliers of the default kernels."""
    signs = [float(np.sign(gain.reshape(-1)[0])) for gain in made.gains]
    for name, sign, gain in zip(step.inputs, signs, made.gains, strict=True):
        if np.abs(sign * gain / parts.grid(name).scale - 1).max() > EQUAL or max(signs) < 0:
            raise refuse(step, "a summand is multiplied by a number")
    if made.has_offset or any(name in parts.orders for name in step.inputs):
        raise refuse(step, "a number is added, or its summands are flattened maps")
    if len({parts.shape(name) for name in step.inputs}) > 1:
        raise refuse(step, "its summands differ in shape")
    plus, minus = step.inputs if signs[0] > 0 else step.inputs[::-1]
    operator = "ADD" if min(signs) > 0 else "SUB"
    parts.file.add_operator(
        operator,
        (parts.read(step, plus), parts.read(step, minus)),
        made.target.number,
        "AddOptions" if operator == "ADD" else "SubOptions",
        fusedActivationFunction=made.target.activation,
    )
    target, first, second = (parts.grid(name).scale for name in (step.output, plus, minus))
    if not all(ADDITION_RATIOS[0] <= scale / target < ADDITION_RATIOS[1] for scale in (first, second)):
        raise refuse(step, "its summands' scales differ too much from that of the sum")
    one, other, shift = to_addition(first, second, target)
    factors = [one, other if operator == "ADD" else -other]
    offset = (find_zero(parts, step.output) << shift) + (1 << (shift - 1))
    for name, factor in zip((plus, minus), factors, strict=True):
        offset -= parts.grids[name].zero_point * factor
    arrays: dict[str, Integers] = {
        f"multiplier{place}": np.array(factor, np.int32) for place, factor in enumerate(factors)
    }
    arrays |= {"offset": np.array(offset, np.int64), "shift": np.array(shift, np.uint8)}
    keep_clipped(parts, made, (plus, minus), ("multiplier0", "multiplier1"), arrays)


def multiply(parts: Translation, made: Rescaling, stage: Stage) -> None:
    """Add a product, which one scale for all channels brings to its codes."""
    product: Multiply = stage.step
    names = (product.left, product.right)
    scales = [np.float32(parts.grid(name).scale) for name in names]
    whole = float(scales[0]) * float(scales[1])
    if made.has_offset or np.abs(made.gains[0] / whole - 1).max() > EQUAL:
        raise refuse(made.step, "a number is added to a product, or multiplied with it")
    if any(name in parts.orders for name in names):
        raise refuse(made.step, "it multiplies flattened maps")
    parts.file.add_operator(
        "MUL",
        [parts.read(made.step, name) for name in names],
        made.target.number,
        "MulOptions",
        fusedActivationFunction=made.target.activation,
    )
    parts.keep(product)
    scale = scales[0] * scales[1] / np.float32(parts.grid(made.step.output).scale)
    keep_threshold(parts, made, product.output, np.float32(scale), 255**2)
