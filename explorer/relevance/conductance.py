"""Conductance: what flows through each filter on the way from the reference to the image, all layers at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from explorer.progress import Progress
from explorer.relevance.by_image import score_by_image
from explorer.relevance.gradients import compute_derivatives
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance

STEPS = 24
"""Steps of the path (assumed; Captum's default is 50)."""


def conductance(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return conductance of what the sample explains, at every layer's output.

    The integral of d explained / d output times the change of the output, along the straight line from reference to
    image, as the sum over STEPS steps between the points of Gauss and Legendre: Captum's LayerConductance. Every point
    serves all layers in one pass. Kept for each image; nothing is said of weights and inputs. In units of the logits.

    Source:
        Dhamdhere et al., 2019.
    """
    return score_by_image(sample, "conductance", _contributions, progress)


def get_path_points(count: int) -> tuple[tuple[float, float], ...]:
    """Return (place, weight) of the points of Gauss and Legendre on 0..1; the weights add up to 1."""
    places, weights = np.polynomial.legendre.leggauss(count)
    return tuple(zip(((1 + places) / 2).tolist(), (weights / 2).tolist(), strict=True))


def _contributions(sample: Sample) -> Iterable[tuple[str, Tensor]]:
    totals: dict[str, Tensor] = {}
    before = None
    for place, _ in get_path_points(STEPS + 1):
        between = zip(sample.references, sample.inputs, strict=True)
        inputs = tuple(reference + place * (given - reference) for reference, given in between)
        found = compute_derivatives(
            sample.model, inputs, sample.graph.layer_names, lambda logits: (logits * sample.directions).sum()
        )
        if before is not None:
            for name, gradient in before.by_given.items():
                step = gradient * (found.given[name] - before.given[name])
                totals[name] = totals[name] + step if name in totals else step
        before = found
    return totals.items()
