"""Networks on which every criterion of relevance is tried: small ones, the bases of the tests, and some styles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import as_tuple
from explorer.graph.trace import trace
from explorer.relevance.sample import Sample, make_sample
from tests.support import styles
from tests.support.attribution import Body, Case, canonical, functional, pooled, residual, reused

IMAGES = 6


def transposed(m: Any, x: Tensor) -> Any:
    return m.head(F.relu(m.own(F.relu(m.conv1(x)))).mean((2, 3)))


def normed(m: Any, x: Tensor) -> Any:
    """One after the other, with a batch norm behind a convolution and one behind a linear layer."""
    x = F.relu(m.conv2(F.relu(m.norm(m.conv1(x)))))
    return m.head(F.relu(m.norm1(m.fc(F.avg_pool2d(x, 2).flatten(1)))))


SMALL: dict[str, tuple[Body, Callable[[], dict[str, nn.Module]]]] = {
    **{body.__name__: (body, dict[str, nn.Module]) for body in (functional, residual, reused, pooled)},
    "transposed": (
        transposed,
        lambda: {"own": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), "head": nn.Linear(6, 3)},
    ),
    "normed": (normed, lambda: {"norm": nn.BatchNorm2d(4), "norm1": nn.BatchNorm1d(3), "head": nn.Linear(3, 3)}),
}
"""Networks in float64; the others are in float32."""
BASES = ("option_a", "projection", "mixed", "gated")
STYLES = ("reused", "channels_last", "pair", "metadata", "siamese")
"""The styles with clones of shared layers, with linear layers of sequences, which are no layers of a graph, and with
two inputs."""
NETWORKS = (*SMALL, *BASES, *(f"style_{name}" for name in STYLES))


def small(name: str) -> Case:
    """A network of SMALL; its batch norms have gains and statistics of all kinds."""
    body, layers = SMALL[name]
    torch.manual_seed(5)
    made = layers()
    for layer in made.values():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            styles.unsettle(layer)
    return canonical(body, **made)


def sample_on(name: str, context: Callable[[str], CompressionContext]) -> Sample:
    """The sample of a network of NETWORKS, with its first images."""
    with torch.random.fork_rng():
        if name in SMALL:
            model, graph, images, labels = small(name)
            return make_sample(model, graph, images, labels)
        if name in BASES:
            base = context(name)
            (images,) = as_tuple(base.calibration.images)
            return make_sample(base.model, base.graph, images[:IMAGES], torch.arange(IMAGES) % 3)
        style = name.removeprefix("style_")
        given = styles.inputs(style, IMAGES)
        model = canonicalise(styles.build(style), given)
        return make_sample(model, trace(model, given), given, torch.arange(IMAGES) % 3)
