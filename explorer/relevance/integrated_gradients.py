"""Integrated gradients of each layer's output, with everything before the layer held as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from explorer.progress import Progress
from explorer.relevance.activations import find_layer_nodes
from explorer.relevance.by_image import score_by_image
from explorer.relevance.conductance import get_path_points
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance

STEPS = 16
"""Points of the path (assumed; Captum's default is 50)."""


def integrated_gradients(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return integrated gradients of what the sample explains, at every layer's output.

    A layer's output goes in a straight line from that of the reference to that of the image, at STEPS points of Gauss
    and Legendre; what does not depend on the layer stays that of the image: Captum's LayerIntegratedGradients. The path
    is each layer's own, so only what follows a layer is computed again for it. Kept for each image; nothing is said of
    weights and inputs. In units of the logits.

    Source:
        Sundararajan et al., 2017.
    """
    return score_by_image(sample, "integrated_gradients", _contributions, progress)


def _contributions(sample: Sample) -> Iterator[tuple[str, Tensor]]:
    run = _Downstream(sample)
    for name, node in find_layer_nodes(sample).items():
        yield name, run.contributions(node)


class _Downstream(fx.Interpreter):
    """Keeps what every node gives for the images, and each layer for the references; computes anew what follows one."""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample.model.eval(), garbage_collect_values=False)
        self.sample = sample
        with torch.no_grad():
            self.run(*sample.references)
            self.before: dict[fx.Node, Any] = {node: self.env[node] for node in find_layer_nodes(sample).values()}
            self.run(*sample.inputs)
        self.kept: dict[fx.Node, Any] = dict(self.env)

    def contributions(self, layer: fx.Node) -> Tensor:
        """Return integrated gradients of a layer's output, of its shape."""
        before: Tensor = self.before[layer]
        after: Tensor = self.kept[layer]
        following: dict[fx.Node, None] = {layer: None}
        for node in self.sample.model.graph.nodes:
            if any(source in following for source in node.all_input_nodes):
                following[node] = None
        total = torch.zeros_like(after)
        for place, weight in get_path_points(STEPS):
            varied = (before + place * (after - before)).requires_grad_()
            total += weight * self._gradient(varied, list(following))
        return total * (after - before)

    def _gradient(self, varied: Tensor, following: list[fx.Node]) -> Tensor:
        """Return derivatives of what is explained by what the first of these nodes, in order of computation, gives."""
        self.env = {**self.kept, following[0]: varied}
        with torch.enable_grad():
            for node in following[1:]:
                self.env[node] = self.run_node(node)
            if following[-1].op != "output":
                return torch.zeros_like(varied)  # nothing that is explained depends on this layer
            explained = (self.env[following[-1]] * self.sample.directions).sum()
            (gradient,) = torch.autograd.grad(explained, varied, allow_unused=True)
        return torch.zeros_like(varied) if gradient is None else gradient
