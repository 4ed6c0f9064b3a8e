"""What a trace notes down of a layer and of a stored activation before their channel groups are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import fx, nn

from explorer.graph.channels import Ids, shares
from explorer.graph.layers import Activation, ChannelGroup, Layer


@dataclass(slots=True)
class Storage:
    """A stored activation while it is being traced."""

    node: fx.Node
    first_step: int
    last_step: int
    readers: list[str] = field(default_factory=list)
    feeds: list[Storage] = field(default_factory=list)
    pooled_from: list[Storage] = field(default_factory=list)
    """What a max pooling made it from: quantising either gives the same, as long as only clipping follows."""
    monotone_only: bool = True

    @property
    def quantized(self) -> bool:
        """Whether it needs a quantiser of its own, rather than that of the one activation pooled from it."""
        stands_for_it = self.monotone_only and len(self.feeds) == 1 and self.feeds[0].quantized
        return bool(self.readers) or (bool(self.feeds) and not stands_for_it)


@dataclass(slots=True)
class TracedLayer:
    """A convolution or linear layer while it is being traced; shapes are those of whole batches."""

    name: str
    module: nn.Conv2d | nn.Linear
    step: int
    source: Storage
    target: Storage
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    output_ids: Ids
    input_ids: Ids


def record_layer(
    raw: TracedLayer,
    output_classes: tuple[int, ...],
    input_classes: tuple[int, ...],
    groups: tuple[ChannelGroup, ...],
) -> Layer:
    """The record of a layer, given the class of each of its output and input channels."""
    module = raw.module
    convolution = isinstance(module, nn.Conv2d)
    return Layer(
        name=raw.name,
        kind="conv" if convolution else "linear",
        step=raw.step,
        in_channels=raw.in_shape[1],
        out_channels=raw.out_shape[1],
        kernel_size=tuple(module.kernel_size) if convolution else (1, 1),  # type: ignore[arg-type]
        groups=module.groups if isinstance(module, nn.Conv2d) else 1,
        bias=module.bias is not None,
        input_size=spatial(raw.in_shape),
        output_size=spatial(raw.out_shape),
        source=raw.source.node.name,
        target=raw.target.node.name,
        output_classes=output_classes,
        input_classes=input_classes,
        produces=shares(output_classes, groups),
        reads=shares(input_classes, groups),
    )


def record_activation(storage: Storage, classes: tuple[int, ...], groups: Sequence[ChannelGroup]) -> Activation:
    """The record of a stored activation, given the class of each of its channels."""
    return Activation(
        name=storage.node.name,
        size=spatial(shape_of(storage.node)),
        channels=shares(classes, groups),
        first_step=storage.first_step,
        last_step=storage.last_step,
        readers=tuple(storage.readers),
        feeds=tuple(fed.node.name for fed in storage.feeds),
        quantized=storage.quantized,
    )


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of the tensor that a node gave when shapes were propagated."""
    shape: tuple[int, ...] = node.meta["shape"]
    return shape


def spatial(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of an N x C x H x W shape; (1, number of positions) for any other."""
    return (shape[2], shape[3]) if len(shape) == 4 else (1, math.prod(shape[2:]))
