"""What a trace notes down of a network before its channel groups are known, and the graph that becomes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import fx, nn

from explorer.graph.channels import ChannelClasses, Ids, Member, group_channels, shares
from explorer.graph.layers import (
    Activation,
    ChannelGroup,
    IndexMap,
    Layer,
    ModelGraph,
    Operation,
    OperationKind,
    Skipped,
)


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


@dataclass(slots=True)
class TracedOperation:
    """A pooling, an addition or an activation function while it is being traced; shapes are those of batches."""

    name: str
    kind: OperationKind
    module: nn.Module | None
    reads: tuple[Storage, ...]
    target: Storage
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    ids: Ids


@dataclass(slots=True)
class Traced:
    """All that is noted down; `ids` are the channel ids along dimension 1 of every node's value."""

    channels: ChannelClasses = field(default_factory=ChannelClasses)
    ids: dict[fx.Node, Ids] = field(default_factory=dict)
    layers: list[TracedLayer] = field(default_factory=list)
    operations: list[TracedOperation] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    index_maps: list[fx.Node] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)
    """Names of nodes that copy channels from place to place."""
    skipped: list[Skipped] = field(default_factory=list)


def record_graph(traced: Traced, input_shape: tuple[int, ...]) -> ModelGraph:
    """The record of a whole network, for images of `input_shape`."""
    classes, ids = traced.channels.classes, traced.ids
    members = []
    for raw in traced.layers:
        members.append(Member(name=raw.name, role="produces", classes=classes(raw.output_ids)))
        members.append(Member(name=raw.name, role="reads", classes=classes(raw.input_ids)))
    for storage in traced.storages:
        members.append(Member(name=storage.node.name, role="holds", classes=classes(ids[storage.node])))
    groups = group_channels(members, traced.channels.locked_classes())
    return ModelGraph(
        input_shape=input_shape,
        layers=tuple(
            record_layer(raw, classes(raw.output_ids), classes(raw.input_ids), groups) for raw in traced.layers
        ),
        operations=tuple(record_operation(raw, classes(raw.ids), groups) for raw in traced.operations),
        groups=groups,
        activations=tuple(
            record_activation(storage, classes(ids[storage.node]), groups) for storage in traced.storages
        ),
        index_maps=tuple(IndexMap(node=node.name, classes=classes(ids[node])) for node in traced.index_maps),
        skipped=(*traced.skipped, *_moves(traced.moves), *_locked(groups)),
    )


def _locked(groups: Sequence[ChannelGroup]) -> Iterator[Skipped]:
    for group in groups:
        if group.locked and group.producers:
            yield Skipped(path=group.name, reason=f"its {group.size} channels are all kept: {group.locked}")


def _moves(names: Sequence[str]) -> Iterator[Skipped]:
    """One entry for all of them: a DenseNet has dozens."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        reason = "moves data only, which a device may do by addressing: its time and energy are not counted"
        yield Skipped(path=", ".join(names[:3]) + more, reason=reason)


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


def record_operation(raw: TracedOperation, classes: tuple[int, ...], groups: Sequence[ChannelGroup]) -> Operation:
    """The record of an operation, given the class of each of its channels."""
    in_size, out_size = spatial(raw.in_shape), spatial(raw.out_shape)
    return Operation(
        name=raw.name,
        kind=raw.kind,
        step=raw.target.first_step,
        kernel_size=pool_window(raw.module, in_size, out_size) if raw.kind == "pool" else (1, 1),
        operands=len(raw.reads),
        sources=tuple(dict.fromkeys(read.node.name for read in raw.reads)),
        target=raw.target.node.name,
        channels=shares(classes, groups),
        input_size=in_size,
        output_size=out_size,
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


def pool_window(module: nn.Module | None, in_size: tuple[int, int], out_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a pooling's window: its own, or the largest that an adaptive one or a mean has."""
    own = getattr(module, "kernel_size", None)
    if own is not None:
        return (own, own) if isinstance(own, int) else (own[0], own[-1])
    height, width = (_adaptive_window(size, parts) for size, parts in zip(in_size, out_size, strict=True))
    return height, width


def _adaptive_window(size: int, parts: int) -> int:
    """PyTorch's windows start at floor(i * size / parts) and end at ceil((i + 1) * size / parts)."""
    return max(-(-(part + 1) * size // parts) - part * size // parts for part in range(parts))


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of the tensor that a node gave when shapes were propagated."""
    shape: tuple[int, ...] = node.meta["shape"]
    return shape


def spatial(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of an N x C x H x W shape; (1, number of positions) for any other."""
    return (shape[2], shape[3]) if len(shape) == 4 else (1, math.prod(shape[2:]))
