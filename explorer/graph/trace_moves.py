"""Rules of the trace for what moves data only: concatenation, padding, slices, selections, reshapes, resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from explorer.graph.modules import SelectChannels
from explorer.graph.symbolic import constants
from explorer.graph.traced import Traced, find_source, get_shape


def concatenate(found: Traced, node: fx.Node) -> bool:
    """Trace a concatenation of channels; False where it joins another axis."""
    dimension = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    given = node.kwargs.get("tensors", node.args[0] if node.args else None)
    parts = [part for part in given if isinstance(part, fx.Node)] if isinstance(given, Sequence) else []
    if not parts or dimension not in {1, 1 - len(get_shape(node))} or any(part not in found.ids for part in parts):
        return False
    found.ids[node] = np.concatenate([found.ids[part] for part in parts])
    found.derive(node, *parts)
    found.storage[node].joins = [found.storage[part] for part in parts]
    found.moves.append(node.name)
    return True


def pad(found: Traced, node: fx.Node) -> bool:
    """Trace F.pad with zeros or copies of the border; zero channels are classes of their own. False for cropping."""
    source = find_source(node)
    before, after = get_channel_padding(node, len(get_shape(node)))
    value = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else 0)
    mode = node.kwargs.get("mode", node.args[2] if len(node.args) > 2 else "constant")
    images = get_shape(source)[0] == get_shape(node)[0]
    if (mode == "constant" and value not in {0, None}) or min(before, after) < 0 or not images:
        return False
    parts = (found.channels.fresh(before), found.ids[source], found.channels.fresh(after))
    found.ids[node] = np.concatenate(parts)
    found.alias(node, source)
    found.fetched[node] = _with_border(found.stored_positions(source), _padding(node))
    if before or after:
        found.index_maps.append(node)
    found.moves.append(node.name)
    return True


def cut(found: Traced, node: fx.Node) -> bool:
    """Trace a slice of positions that keeps all channels and images; False for any other."""
    source = find_source(node)
    if get_shape(source)[:2] != get_shape(node)[:2] or len(get_shape(source)) != len(get_shape(node)):
        return False
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if not all(entry is Ellipsis or isinstance(entry, slice) for entry in index):
        return False  # an order of the channels or images, for one
    found.ids[node] = found.ids[source]
    found.alias(node, source)
    stored = np.broadcast_to(found.stored_positions(source), get_shape(source))
    found.fetched[node] = stored[constants(index)][0, 0]
    found.moves.append(node.name)
    return True


def select(found: Traced, node: fx.Node, module: SelectChannels) -> None:
    """Trace channels in another order, some of them, or some of them several times."""
    source = find_source(node)
    found.ids[node] = found.ids[source][module.index.cpu().numpy()]
    found.alias(node, source)
    found.fetched[node] = found.stored_positions(source)
    found.index_maps.append(node)
    found.moves.append(node.name)


def flatten(found: Traced, node: fx.Node, module: nn.Flatten) -> bool:
    """Trace all positions as features, or as one axis; False for flattening that takes in the batch axis."""
    source = find_source(node)
    if module.start_dim == 1 and len(get_shape(node)) == 2:
        found.ids[node] = found.ids[source].repeat(get_shape(node)[1] // len(found.ids[source]))
    elif module.start_dim == 2 and len(get_shape(node)) == 3:
        found.ids[node] = found.ids[source]
    else:
        return False
    found.alias(node, source)
    return True


def unflatten(found: Traced, node: fx.Node) -> bool:
    """Trace features as channels with positions: all features of a channel stay or go together."""
    source = find_source(node)
    channels = get_shape(node)[1]
    if len(get_shape(source)) != 2 or len(get_shape(node)) != 4:
        return False
    columns = found.ids[source].reshape(channels, -1)
    for column in columns.T[1:]:
        found.channels.tie(columns[:, 0], column)
    found.ids[node] = columns[:, 0]
    found.alias(node, source)
    return True


def shuffle_pixels(found: Traced, node: fx.Node, factor: int) -> None:
    """Trace channels as positions: the factor^2 channels that form one stay or go together.

    Source:
        Shi et al., 2016.
    """
    source = find_source(node)
    columns = found.ids[source].reshape(-1, factor * factor)
    for column in columns.T[1:]:
        found.channels.tie(columns[:, 0], column)
    found.ids[node] = columns[:, 0]
    found.derive(node, source)
    found.moves.append(node.name)


def resample(found: Traced, node: fx.Node) -> None:
    """Trace upsampling by copies of the nearest pixel, and padding with copies of the border."""
    source = find_source(node)
    found.ids[node] = found.ids[source]
    found.derive(node, source)
    found.moves.append(node.name)


def get_channel_padding(node: fx.Node, dimensions: int) -> tuple[int, int]:
    """Return how many channels an F.pad call puts before and after dimension 1."""
    entries = _padding(node)
    reach = 2 * (dimensions - 2)
    return (entries[reach], entries[reach + 1]) if len(entries) >= reach + 2 else (0, 0)


def _padding(node: fx.Node) -> list[int]:
    """Return the entries of an F.pad call: two for each axis, the last axis first."""
    padding = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
    return [int(entry) for entry in padding]  # type: ignore[union-attr, arg-type]


def _with_border(stored: NDArray[np.bool_], padding: list[int]) -> NDArray[np.bool_]:
    """Return which positions are stored once F.pad has put a border around them, or has cut one off."""
    for axis, (before, after) in zip(
        reversed(range(stored.ndim)), zip(padding[::2], padding[1::2], strict=True), strict=False
    ):
        width = [(0, 0)] * stored.ndim
        width[axis] = (max(before, 0), max(after, 0))
        kept = np.arange(max(-before, 0), stored.shape[axis] - max(-after, 0))
        stored = np.pad(stored.take(kept, axis), width)
    return stored
