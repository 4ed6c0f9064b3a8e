"""What a network reads: one tensor, or a tuple with one for each argument of forward(); and what each is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from explorer.errors import ModelError
from explorer.graph.names import Names

Inputs = Tensor | tuple[Tensor, ...]
"""Each tensor has one entry for each image along its first axis (N x ...); a bare tensor is the only input."""
Shapes = tuple[int, ...] | tuple[tuple[int, ...], ...]
"""Shape of one input without the batch axis, such as C x H x W, or one shape for each of several inputs."""
INPUT, OUTPUT = "images", "logits"
"""What the only input, and the first output, are called in files."""


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the inputs as a tuple, in the order of forward()'s arguments."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def count_images(inputs: Inputs) -> int:
    """Return N, the number of images of a batch."""
    return len(as_tuple(inputs)[0])


def take(inputs: Inputs, images: slice | Tensor | list[int]) -> tuple[Tensor, ...]:
    """Return some images of a batch: a slice of them, or those at these places."""
    return tuple(tensor[images] for tensor in as_tuple(inputs))


def batches(inputs: Inputs, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield a batch in parts of at most `size` images."""
    return (take(inputs, slice(start, start + size)) for start in range(0, count_images(inputs), size))


def join(parts: Sequence[Inputs]) -> tuple[Tensor, ...]:
    """Return several batches as one, the images of each behind those of the one before."""
    return tuple(torch.cat(tensors) for tensors in zip(*map(as_tuple, parts), strict=True))


def to_device(inputs: Inputs, torch_device: torch.device) -> tuple[Tensor, ...]:
    """Return the batch on a device."""
    return tuple(tensor.to(torch_device) for tensor in as_tuple(inputs))


def run(model: nn.Module, inputs: Inputs) -> Any:
    """Return what a network gives for a batch."""
    return model(*as_tuple(inputs))


def get_shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """Return the shape of each input of one image, without the batch axis."""
    return tuple(tuple(tensor.shape[1:]) for tensor in as_tuple(inputs))


def example(model: fx.GraphModule, shapes: Shapes, num_images: int = 2) -> tuple[Tensor, ...]:
    """Return zeros as inputs of a network, where its parameters are.

    Raises:
        ModelError: Where it has another number of them.
    """
    names = [str(node.target) for node in model.graph.nodes if node.op == "placeholder"]
    count = len(several_shapes(shapes))
    if len(names) != count:
        raise ModelError(f"model: expected shapes of {len(names)} inputs ({', '.join(names)}), received {count}")
    torch_device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    return tuple(torch.zeros((num_images, *shape), device=torch_device) for shape in several_shapes(shapes))


def several_shapes(shapes: Shapes) -> tuple[tuple[int, ...], ...]:
    """Return one shape for each input."""
    return shapes if isinstance(shapes[0], tuple) else (shapes,)


def name_inputs(model: fx.GraphModule) -> dict[fx.Node, str]:
    """Return what each input is called in files: as forward()'s argument, or INPUT where it is the only one."""
    nodes = [node for node in model.graph.nodes if node.op == "placeholder"]
    if len(nodes) == 1:
        return {nodes[0]: INPUT}
    names = Names((OUTPUT,))
    return {node: names.free(str(node.target)) for node in nodes}
