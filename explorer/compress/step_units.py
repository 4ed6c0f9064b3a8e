"""What the steps of layers are divided by where their rounding errors are fed back."""

from __future__ import annotations

from dataclasses import replace

from explorer.compress.apply import CompressionContext
from explorer.compress.moments import compute_float_moments
from explorer.compress.rounding import compute_feedback_share
from explorer.graph.inputs import take


def weigh_by_feedback(context: CompressionContext) -> CompressionContext:
    """Return the context whose step units are multiplied by the root of the share of errors that feedback leaves.

    An error of a weight counts the square of its multiplier where all are rounded by themselves. Fed back it counts
    that share of it, by what the layer reads in the float network, on the images that adaptive rounding looks at: the
    more its inputs resemble each other, the coarser its step may be. Layers that are not rounded so keep their units.
    """
    settings, units = context.quantizer, dict(context.step_units or {})
    if settings.rounding != "adaptive":
        return context
    images = take(context.calibration.images, slice(settings.rounding_images))
    layers = [name for name in context.static.solvable if name in units]
    for layer, given in compute_float_moments(context.model, images, layers):
        units[layer] *= compute_feedback_share(given) ** 0.5
    return replace(context, step_units=units)
