"""Criteria that score filters image by image and say nothing else, from what they compute for a part of a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance

Contributions = Callable[[Sample], Iterable[tuple[str, Tensor]]]
"""For a part of the sample every layer's name and what each element of its output contributes for each image."""


def score_by_image(
    sample: Sample, method: str, contributions: Contributions, progress: Progress | None = None
) -> Relevance:
    """Return scores of filters from contributions (N x out_channels x ...); `progress` counts images times layers."""
    names = sample.graph.layer_names
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
    done = 0
    for part in sample.batches():
        for name, found in contributions(part):
            module = layer_module(sample.model, name)
            parts[name].append((sum_per_channel(module, found), sum_per_channel(module, found.abs())))
            done += len(part)
            if progress is not None:
                progress(done, len(sample) * len(names))
    layers = []
    for name in names:
        table, magnitudes = (torch.cat(each) for each in zip(*parts[name], strict=True))
        layers.append(build_layer_relevance(sample, name, contributions=table, magnitudes=magnitudes))
    return build_relevance(sample, method, tuple(layers))
