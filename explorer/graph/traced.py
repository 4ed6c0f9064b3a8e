"""What a trace notes down of a network: the channels of every tensor, where it is stored, and who reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from explorer.graph.channels import ChannelClasses, Ids
from explorer.graph.layers import OperationKind, Skipped


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
    joins: list[Storage] = field(default_factory=list)
    """What a concatenation puts together in it, as long as only clipping follows in place."""

    @property
    def quantized(self) -> bool:
        """Whether it needs a quantiser of its own, rather than that of the one activation pooled from it."""
        if self.node.meta.get("codes"):
            return False  # an index or a mask
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

    storage: dict[fx.Node, Storage] = field(default_factory=dict)
    fetched: dict[fx.Node, NDArray[np.bool_]] = field(default_factory=dict)
    """For nodes with a border that nobody stores: which of their positions are stored."""
    step: int = 0
    num_images: int = 0
    """How many images are traced at once."""

    def store(self, node: fx.Node, *reads: Storage) -> Storage:
        """Return a new stored tensor that `node` writes in a step of its own, after reading `reads`."""
        storage = Storage(node=node, first_step=self.step, last_step=self.step)
        for read in reads:
            read.last_step = self.step
        if node.op != "placeholder":
            self.step += 1
        self.storage[node] = storage
        self.storages.append(storage)
        return storage

    def derive(self, node: fx.Node, *sources: fx.Node, monotone: bool = False) -> None:
        """Let `node` write a tensor that is computed from those of `sources` without weights."""
        reads = [self.storage[source] for source in sources]
        written = self.store(node, *reads)
        for read in reads:
            read.feeds.append(written)
            read.monotone_only = read.monotone_only and monotone

    def constant(self, node: fx.Node) -> None:
        """Note a parameter or buffer that an operation reads: it takes no step, and is no activation."""
        shape = get_shape(node)
        self.ids[node] = self.channels.fresh(shape[1] if len(shape) > 1 else 1)
        self.storage[node] = Storage(node=node, first_step=self.step, last_step=self.step)

    def alias(self, node: fx.Node, source: fx.Node) -> None:
        """Let `node` be another view of what is stored of `source`."""
        self.storage[node] = self.storage[source]

    def stored_positions(self, node: fx.Node) -> NDArray[np.bool_]:
        """Return which positions of a node's value are stored, rather than a border of F.pad."""
        known = self.fetched.get(node)
        return np.ones(get_shape(node)[2:], dtype=np.bool_) if known is None else known

    def read_shape(self, source: fx.Node) -> tuple[int, ...]:
        """Return the shape of what is fetched by who reads the value of `source`: all of it but a border of F.pad."""
        stored = self.stored_positions(source)
        axes = range(stored.ndim)
        sizes = (int(stored.any(axis=tuple(other for other in axes if other != axis)).sum()) for axis in axes)
        return get_shape(source)[:2] + tuple(max(1, size) for size in sizes)


def find_source(node: fx.Node) -> fx.Node:
    """Return the first tensor that a node reads."""
    return node.all_input_nodes[0]


def get_shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of the tensor that a node gave when shapes were propagated."""
    shape: tuple[int, ...] = node.meta["shape"]
    return shape
