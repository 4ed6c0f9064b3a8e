"""From what a trace noted down to the records of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from explorer.graph.channels import Member, group_channels, shares
from explorer.graph.layers import Activation, ChannelGroup, IndexMap, Layer, ModelGraph, Operation, Skipped
from explorer.graph.modules import TransposedConv2d
from explorer.graph.traced import Storage, Traced, TracedLayer, TracedOperation, find_source, get_shape


def build_graph(traced: Traced, input_shapes: tuple[tuple[int, ...], ...], shared: Mapping[str, str]) -> ModelGraph:
    """Return the record of a network, for inputs of these shapes; `shared` maps layers to their weights' owners."""
    classes, ids = traced.channels.classes, traced.ids
    members = []
    for raw in traced.layers:
        members.append(Member(name=raw.name, role="produces", classes=classes(raw.output_ids)))
        members.append(Member(name=raw.name, role="reads", classes=classes(raw.input_ids)))
    for storage in traced.storages:
        members.append(Member(name=storage.node.name, role="holds", classes=classes(ids[storage.node])))
    groups = group_channels(members, traced.channels.locked_classes())
    scales = _scales(traced.storages)
    return ModelGraph(
        input_shapes=input_shapes,
        layers=tuple(build_layer(raw, traced, groups, shared.get(raw.name, "")) for raw in traced.layers),
        operations=tuple(build_operation(raw, traced, groups) for raw in traced.operations),
        groups=groups,
        activations=tuple(
            build_activation(storage, classes(ids[storage.node]), groups, (scales[id(storage)], traced.num_images))
            for storage in traced.storages
        ),
        index_maps=tuple(
            IndexMap(node=node.name, classes=classes(ids[node]), read_classes=classes(ids[find_source(node)]))
            for node in traced.index_maps
        ),
        skipped=(*traced.skipped, *_moves(traced.moves), *_locked(groups)),
    )


def _locked(groups: Sequence[ChannelGroup]) -> Iterator[Skipped]:
    for group in groups:
        if group.locked and group.producers:
            yield Skipped(path=group.name, reason=f"its {group.size} channels are all kept: {group.locked}")


def _moves(names: Sequence[str]) -> Iterator[Skipped]:
    """Return one entry for all of them: a DenseNet has dozens."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        reason = "moves data only, which a device may do by addressing: its time and energy are not counted"
        yield Skipped(path=", ".join(names[:3]) + more, reason=reason)


def build_layer(raw: TracedLayer, traced: Traced, groups: tuple[ChannelGroup, ...], shares_weights: str) -> Layer:
    """Return the record of a layer."""
    output_classes, input_classes = traced.channels.classes(raw.output_ids), traced.channels.classes(raw.input_ids)
    module = raw.module
    convolution = isinstance(module, nn.Conv2d)
    transposed = isinstance(module, TransposedConv2d)
    return Layer(
        name=raw.name,
        kind="conv" if convolution else "linear",
        step=raw.step,
        in_channels=raw.in_shape[1],
        out_channels=raw.out_shape[1],
        kernel_size=_pair(module.kernel_size) if convolution else (1, 1),
        stride=_pair(module.stride) if convolution else (1, 1),
        dilation=_pair(module.dilation) if convolution else (1, 1),
        groups=module.groups if isinstance(module, nn.Conv2d) else 1,
        transposed=transposed,
        shares_weights=shares_weights,
        bias=module.bias is not None,
        input_size=_for_one_image(raw.in_shape, traced.num_images),
        output_size=_for_one_image(raw.out_shape, traced.num_images),
        images=_count_images(raw.in_shape, traced.num_images),
        source=raw.source.node.name,
        target=raw.target.node.name,
        output_classes=output_classes,
        input_classes=input_classes,
        produces=shares(output_classes, groups),
        reads=shares(input_classes, groups),
    )


def build_operation(raw: TracedOperation, traced: Traced, groups: Sequence[ChannelGroup]) -> Operation:
    """Return the record of an operation."""
    window, stride, dilation = (
        get_pool_window(raw.module, get_spatial_size(raw.in_shape), get_spatial_size(raw.out_shape))
        if raw.kind == "pool"
        else ((1, 1),) * 3
    )
    images = {_count_images(shape, traced.num_images) for shape in (raw.in_shape, raw.out_shape)}
    return Operation(
        name=raw.name,
        kind=raw.kind,
        step=raw.target.first_step,
        kernel_size=window,
        stride=stride,
        dilation=dilation,
        operands=len(raw.reads),
        sources=tuple(dict.fromkeys(read.node.name for read in raw.reads)),
        target=raw.target.node.name,
        channels=shares(traced.channels.classes(raw.ids), groups),
        input_size=_for_one_image(raw.in_shape, traced.num_images),
        output_size=_for_one_image(raw.out_shape, traced.num_images),
        images=min(images),
    )


def _scales(storages: Sequence[Storage]) -> dict[int, str]:
    """Return for every storage (by its identity) the first of those that it shares a scale with, by name."""
    first = {id(storage): storage for storage in storages}

    def find(storage: Storage) -> Storage:
        while first[id(storage)] is not storage:
            storage = first[id(storage)]
        return storage

    order = {id(storage): index for index, storage in enumerate(storages)}
    for storage in storages:
        for part in storage.joins:
            low, high = sorted((find(storage), find(part)), key=lambda each: order[id(each)])
            first[id(high)] = low
    return {id(storage): find(storage).node.name for storage in storages}


def build_activation(
    storage: Storage, classes: tuple[int, ...], groups: Sequence[ChannelGroup], of: tuple[str, int]
) -> Activation:
    """Return the record of a stored activation, given the class of each of its channels.

    Args:
        of: The name of the activation whose scale it has, and the number of images that were traced.
    """
    scale_of, images = of
    shape = get_shape(storage.node)
    # Images that are not along the first axis: all elements, shared out among images and channels.
    apart = not shape or shape[0] != images
    size = (1, max(1, -(-math.prod(shape) // (images * max(1, len(classes)))))) if apart else get_spatial_size(shape)
    return Activation(
        name=storage.node.name,
        size=size,
        channels=shares(classes, groups),
        first_step=storage.first_step,
        last_step=storage.last_step,
        readers=tuple(storage.readers),
        feeds=tuple(fed.node.name for fed in storage.feeds),
        quantized=storage.quantized,
        scale_of=scale_of,
    )


def get_pool_window(
    module: nn.Module | None, in_size: tuple[int, int], out_size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return window, stride and dilation of a pooling, each as (height, width).

    The window of an adaptive one or of a mean is the largest that it has, its stride that of windows side by side.
    """
    own = getattr(module, "kernel_size", None)
    if own is not None:
        return _pair(own), _pair(module.stride), _pair(getattr(module, "dilation", 1))  # type: ignore[union-attr]
    height, width = (_adaptive_window(size, parts) for size, parts in zip(in_size, out_size, strict=True))
    stride_h, stride_w = (-(-size // parts) for size, parts in zip(in_size, out_size, strict=True))
    return (height, width), (stride_h, stride_w), (1, 1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _adaptive_window(size: int, parts: int) -> int:
    """Return PyTorch's windows: they start at floor(i * size / parts) and end at ceil((i + 1) * size / parts)."""
    return max(-(-(part + 1) * size // parts) - part * size // parts for part in range(parts))


def get_spatial_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width of an N x C x H x W shape; (1, number of positions) for any other."""
    return (shape[2], shape[3]) if len(shape) == 4 else (1, math.prod(shape[2:]))


def _count_images(shape: tuple[int, ...], num_images: int) -> int:
    """Return how many maps a layer takes for one image: it may read each pixel, or each of several crops, as one."""
    return shape[0] // num_images if shape and shape[0] % num_images == 0 else 1


def _for_one_image(shape: tuple[int, ...], num_images: int) -> tuple[int, int]:
    """Return the height and width of all that belongs to one image, one below the other where it has several maps."""
    height, width = get_spatial_size(shape)
    return height * _count_images(shape, num_images), width
