"""From what a criterion computed to the record that is kept of it."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from explorer.relevance.aggregation import Floats
from explorer.relevance.sample import Sample
from explorer.relevance.scores import LayerRelevance, Relevance


def relevance_of(
    sample: Sample, method: str, layers: tuple[LayerRelevance, ...], completeness: float | None = None
) -> Relevance:
    """The record of what a method said of a sample."""
    return Relevance(
        method=method,
        reference=sample.reference,
        target=sample.target,
        aggregation=sample.aggregation,
        samples=len(sample),
        completeness=completeness,
        explained=tuple(sample.explained.tolist()),
        layers=layers,
    )


def layer_of(sample: Sample, name: str) -> nn.Conv2d | nn.Linear:
    """The convolution or linear module of a layer."""
    module = sample.model.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def as_array(tensor: Tensor) -> Floats:
    """The tensor in float32, on the CPU."""
    array: Floats = tensor.detach().float().cpu().numpy().astype(np.float32, copy=False)
    return array
