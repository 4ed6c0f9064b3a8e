"""What the steps of layers are divided by: what an error of a weight counts, and what error feedback leaves of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial

from explorer.compress.apply import CompressionContext
from explorer.compress.moments import compute_float_moments
from explorer.compress.rounding import compute_feedback_share
from explorer.graph.inputs import take


def with_step_units(context: CompressionContext, units: Mapping[str, float]) -> CompressionContext:
    """Return the context whose steps are divided by `units`, weighed by error feedback where rounding is adaptive.

    Args:
        units: For every layer the root of what a squared error of each of its weights counts.
    """
    if context.quantizer.rounding != "adaptive":
        return replace(context, step_units=units)
    known = context.step_units
    find = known.find_shares if isinstance(known, FeedbackUnits) else cache(partial(find_feedback_shares, context))
    return replace(context, step_units=FeedbackUnits(units, find))


class FeedbackUnits(Mapping[str, float]):
    """Units of steps, each times the root of the share of an output's squared error that error feedback leaves.

    An error of a weight counts the square of its layer's unit where all are rounded by themselves; fed back it counts
    that share of it. Shares are found when the first unit is asked for, once for a context and all that is made of it:
    what has no steps takes no pass.
    """

    def __init__(self, units: Mapping[str, float], find_shares: Callable[[], Mapping[str, float]]) -> None:
        self._units, self.find_shares = units, find_shares

    def __getitem__(self, layer: str) -> float:
        """Return the unit of a layer."""
        return self._units[layer] * math.sqrt(self.find_shares().get(layer, 1.0))

    def __iter__(self) -> Iterator[str]:
        """Return the names of the layers."""
        return iter(self._units)

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._units)


def find_feedback_shares(context: CompressionContext) -> Mapping[str, float]:
    """Return for each layer what error feedback leaves of its output's squared error; layers rounded otherwise lack.

    By what a layer reads in the float network, on the images that adaptive rounding looks at: the more its inputs
    resemble each other, the less is left, and the coarser its step may be. Takes one pass.
    """
    images = take(context.calibration.images, slice(context.quantizer.rounding_images))
    measured = compute_float_moments(context.model, images, context.static.solvable)
    return {layer: compute_feedback_share(given) for layer, given in measured}
