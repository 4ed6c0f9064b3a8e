"""How operations that only move integers from place to place are written into an integer program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from explorer.arrays import Float64Array
from explorer.graph.modules import SelectChannels
from explorer.graph.symbolic import constants
from explorer.integer.builder import refuse
from explorer.integer.lower_layers import Value, Walk, get_shape
from explorer.integer.operations import Concatenate, Pad, PixelShuffle, Reshape, Select, Step
from explorer.integer.values import Affine, Concatenated, ScaledTensor


def reshape(walk: Walk, node: fx.Node, module: object = None) -> Value:
    """Lower a flatten, or any reshape that keeps the images apart."""
    del module
    before, after = node.all_input_nodes[0].meta["shape"], node.meta["shape"]
    if before[0] != after[0]:
        raise refuse(node, "it acts on the batch axis", "act on the other axes only")
    value, shape = walk.value(node), after[1:]
    if not isinstance(value, Concatenated):
        return _reshaped(walk, node, value, walk.name(node), shape)
    if len(after) != 2:
        raise refuse(node, "it reads parts on several grids", "quantise what torch.cat gives")
    parts = tuple(
        _reshaped(walk, node, part, walk.builder.names.free(f"{walk.name(node)}_{number}"), (int(np.prod(part.shape)),))
        for number, part in enumerate(value.parts)
    )
    return Concatenated(parts=parts, shape=shape)


def _reshaped(walk: Walk, node: fx.Node, value: Affine, name: str, shape: tuple[int, ...]) -> Affine:
    def step(tensor: str) -> Step:
        return Reshape(input=tensor, output=name)

    return _moved(walk, node, value, step, lambda array: array.reshape(shape), shape)


def select(walk: Walk, node: fx.Node, axis: int, indices: Any, output: str | None = None) -> Affine:
    """Select entries `indices` of the operand along `axis`, the batch axis counted."""
    value = walk.real(node)
    if axis == 0:
        raise refuse(node, "it acts on the batch axis", "act on the other axes only")
    name = output or walk.name(node)
    array = walk.builder.array(f"{name}.indices", np.asarray(indices), np.int64)
    shape = list(value.shape)
    shape[axis - 1] = len(indices)
    return _moved(
        walk,
        node,
        value,
        lambda tensor: Select(input=tensor, output=name, axis=axis, indices=array),
        lambda values: np.take(values, indices, axis=axis - 1),
        tuple(shape),
    )


def select_channels(walk: Walk, node: fx.Node, module: SelectChannels) -> Affine:
    """Put channels in another order, or some of them, or some twice."""
    return select(walk, node, 1, module.index.cpu().numpy())


def slice_axes(walk: Walk, node: fx.Node) -> Value:
    """Lower a slice with steps along any axes but that of the batch."""
    index = constants(node.args[1])
    listed = list(index) if isinstance(index, tuple) else [index]
    if not all(entry is Ellipsis or isinstance(entry, slice) for entry in listed):
        raise refuse(node, f"its index is {index!r}", "index with slices only")
    rank = len(node.all_input_nodes[0].meta["shape"])
    if Ellipsis in listed:
        place = listed.index(Ellipsis)
        listed[place : place + 1] = [slice(None)] * (rank - len(listed) + 1)
    narrowed = [(axis, entry) for axis, entry in enumerate(listed) if entry != slice(None)]
    source = node.all_input_nodes[0]
    if not narrowed:
        return walk.value(node)
    saved = walk.values[source]
    for number, (axis, entry) in enumerate(narrowed):
        last = number == len(narrowed) - 1
        indices = np.arange(walk.real(node).shape[axis - 1])[entry] if axis else ()
        name = walk.name(node) if last else walk.builder.names.free(f"{walk.name(node)}_{axis}")
        walk.values[source] = select(walk, node, axis, indices, name)
    found, walk.values[source] = walk.values[source], saved
    return found


def upsample(walk: Walk, node: fx.Node, module: Any) -> Affine:
    """Repeat rows and columns: nearest-neighbour upsampling."""
    if module.mode != "nearest":
        raise refuse(node, f"its mode is {module.mode!r}", "use mode='nearest', or a transposed convolution")
    source = node.all_input_nodes[0]
    saved, (height, width) = walk.values[source], get_shape(source)[-2:]
    grid = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    numbers = module(grid)[0, 0].long()  # above 2^53 positions no image comes
    rows = walk.builder.names.free(f"{walk.name(node)}_rows")
    walk.values[source] = select(walk, node, 2, (numbers[:, 0] // width).numpy(), rows)
    found = select(walk, node, 3, (numbers[0] % width).numpy())
    walk.values[source] = saved
    return found


def shuffle_pixels(walk: Walk, node: fx.Node, module: nn.PixelShuffle) -> Affine:
    """Turn channels into positions."""
    term = walk.codes(node)
    step = PixelShuffle(input=term.tensor, output=walk.name(node), block=module.upscale_factor)
    return walk.builder.moved(step, term, get_shape(node))


def pad(walk: Walk, node: fx.Node) -> Affine:
    """Add a border of a constant, zeros as a rule, around any axes but that of the batch."""
    given = {
        key: node.args[place] for place, key in enumerate(("input", "pad", "mode", "value")) if place < len(node.args)
    }
    given |= node.kwargs
    padding, rank = [int(entry) for entry in constants(given["pad"])], len(get_shape(node))
    if given.get("mode", "constant") != "constant" or len(padding) > 2 * rank or min(padding, default=0) < 0:
        raise refuse(node, "it does not pad images with a constant", "use mode='constant' and no negative padding")
    term = walk.codes(node)
    before, after = [0] * rank, [0] * rank
    for reach in range(len(padding) // 2):  # torch lists the last axis first
        before[rank - 1 - reach], after[rank - 1 - reach] = padding[2 * reach : 2 * reach + 2]
    if given.get("value") not in {0, None}:
        raise refuse(node, f"it pads with {given['value']}", "pad with zeros")
    step = Pad(
        input=term.tensor, output=walk.name(node), before=tuple(before), after=tuple(after), value=term.zero_point
    )
    return walk.builder.moved(step, term, get_shape(node))


def concatenate(walk: Walk, node: fx.Node) -> Value:
    """Put tensors behind each other: along the channels each keeps its grid until the whole is quantised."""
    given: Any = node.kwargs.get("tensors", node.args[0] if node.args else ())
    axis: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    parts = [walk.real(node, part) for part in given]
    rank = len(node.meta["shape"])
    if int(axis) % rank == 1:
        return Concatenated(parts=tuple(parts), shape=get_shape(node))
    terms = [walk.codes(node, part) for part in given]
    if int(axis) % rank == 0 or len({(float(term.gain), term.zero_point) for term in terms}) > 1:
        raise refuse(node, "its parts along this axis have grids of their own", "concatenate along axis 1")
    step = Concatenate(inputs=tuple(term.tensor for term in terms), output=walk.name(node), axis=int(axis) % rank)
    return walk.builder.moved(step, terms[0], get_shape(node))


def _moved(
    walk: Walk,
    node: fx.Node,
    value: Affine,
    made_of: Callable[[str], Step],
    move: Callable[[Float64Array], Float64Array],
    shape: tuple[int, ...],
) -> Affine:
    """Return a step on the one tensor of a value, and the same move of what belongs to its channels and positions."""
    if len(value.terms) > 1 or value.pools:
        raise refuse(node, "its operand is not quantised", "let only layers, clips and max poolings lie between")
    term = value.terms[0]
    step = made_of(term.tensor)
    if value.codes is not None:
        return walk.builder.moved(step, term, shape)

    def arranged(array: Float64Array) -> Float64Array:
        return array if array.ndim == 0 else move(np.broadcast_to(array, value.shape))

    name = walk.builder.add(step, shape, *(arranged(bound) for bound in walk.builder.bounds[term.tensor]))
    return replace(
        value,
        terms=(ScaledTensor(tensor=name, zero_point=term.zero_point, gain=arranged(term.gain)),),
        shape=shape,
        offset=arranged(value.offset),
        low=arranged(value.low),
        high=arranged(value.high),
        source=None if value.source is None else replace(value.source, tensor=name),
    )
