"""Chance, which every criterion has to beat."""

from __future__ import annotations

import numpy as np
import torch

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def random_scores(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return scores of filters and multipliers of weights drawn evenly from [0, 1), without unit.

    The draws are fixed by the sample's seed and the layer's name, whatever other layers there are. Neither the
    network's weights nor images are looked at.
    """
    layers = []
    for name in sample.graph.layer_names:
        draw, shape = (
            np.random.default_rng([sample.seed, *name.encode()]),
            layer_module(sample.model, name).weight.shape,
        )
        filters, weights = draw.random(shape[0]), draw.random(tuple(shape))
        layers.append(
            build_layer_relevance(
                sample,
                name,
                filter_scores=torch.from_numpy(filters),
                weight_multipliers=torch.from_numpy(weights),
            )
        )
        if progress is not None:
            progress(len(layers), len(sample.graph.layers))
    return build_relevance(sample, "random", tuple(layers))
