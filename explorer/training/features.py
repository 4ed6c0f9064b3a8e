"""How far what the layers of a network in training read is from what they read in the teacher."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.modules import layer_module

LARGEST_LOSS = 0.25
"""Share of its channels that a layer may have lost (assumed)."""


class FeatureDistance:
    """The mean, over layers, of the squared difference of what they read, relative to its mean square in the teacher.

    After Romero et al. (2015). Channels that the network in training has not are left out, and layers that have lost
    more than LARGEST_LOSS of them: these have to make other use of what is left. `kept` are the channel classes that it
    has; both networks have run on the same images when the distance is asked for.
    """

    def __init__(self, model: nn.Module, teacher: nn.Module, graph: ModelGraph, kept: Collection[int]) -> None:
        self._channels = {
            layer.name: torch.tensor([place for place, each in enumerate(layer.input_classes) if each in kept])
            for layer in choose_layers(graph, kept)
        }
        self._own: dict[str, Tensor] = {}
        self._wanted: dict[str, Tensor] = {}
        self._hooks = [
            layer_module(network, name).register_forward_pre_hook(_keeper(name, found))
            for network, found in ((model, self._own), (teacher, self._wanted))
            for name in self._channels
        ]

    def measure(self) -> Tensor | float:
        """Return the distance for the images that both networks have just seen; 0 where no layer is looked at."""
        total: Tensor | float = 0.0
        for name, channels in self._channels.items():
            own, wanted = self._own.pop(name), self._wanted.pop(name)
            axis = 1 if own.ndim == 4 else -1
            if len(channels) < wanted.shape[axis]:
                wanted = wanted.index_select(axis, channels.to(wanted.device))
            least = torch.promote_types(own.dtype, torch.float32)
            found: Tensor = _Distance.apply(own.to(least), wanted.to(least))  # type: ignore[no-untyped-call]
            total = total + found / len(self._channels)
        return total

    def close(self) -> None:
        """Look at the networks no longer."""
        for hook in self._hooks:
            hook.remove()


def choose_layers(graph: ModelGraph, kept: Collection[int]) -> tuple[Layer, ...]:
    """Return the layers that read what the network computes, not its input, and have kept enough of their channels."""
    return tuple(
        layer
        for layer in graph.layers[1:]
        if not layer.shares_weights
        and sum(each in kept for each in layer.input_classes) >= (1.0 - LARGEST_LOSS) * len(layer.input_classes)
    )


class _Distance(torch.autograd.Function):
    """The squared difference of two tensors relative to the square of the second, without a square of each element.

    These would be a quarter of the time of a training step.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, wanted: Tensor) -> Tensor:
        difference = own - wanted
        size = torch.linalg.vector_norm(wanted).square_().clamp_min_(torch.finfo(wanted.dtype).tiny)
        ctx.save_for_backward(difference, size)
        distance: Tensor = torch.linalg.vector_norm(difference).square_() / size
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        difference, size = ctx.saved_tensors
        return difference * (2.0 * gradient / size), None


def _keeper(name: str, found: dict[str, Tensor]) -> Any:
    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[name] = inputs[0]

    return keep
