"""Trace a canonical network into a ModelGraph: layers, coupled channel groups, activations, what is skipped."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.errors import ModelError
from explorer.graph.canonical import ACTIVATIONS, POOLS, propagate_shapes
from explorer.graph.channels import ChannelClasses, Ids, Member, group_channels
from explorer.graph.layers import IndexMap, ModelGraph, Skipped
from explorer.graph.traced import Storage, TracedLayer, record_activation, record_layer, shape_of

_ELEMENTWISE = (
    *(factory for factory in ACTIVATIONS.values() if isinstance(factory, type)),
    nn.BatchNorm1d,
    nn.BatchNorm2d,
)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_POOLS = tuple(factory for factory in POOLS.values() if isinstance(factory, type))
_MAX_POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
_CLIPPING = (nn.ReLU, nn.ReLU6)
"""Activations after which a quantised value is still on its grid."""
_WEIGHTED_FUNCTIONS = {F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, F.linear, torch.conv2d}
_ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_MEANS = {torch.mean, "mean"}


def trace(model: fx.GraphModule, example: torch.Tensor, elementwise: tuple[type[nn.Module], ...] = ()) -> ModelGraph:
    """Trace a canonical network (see `canonicalise`) on `example` images, N x C x H x W.

    `elementwise` names further module types that act on each element alone, such as activation quantisers.
    Raises ModelError when the network has no convolution or fully connected layer.
    """
    propagate_shapes(model, example)
    tracer = _Tracer(model, elementwise)
    for node in model.graph.nodes:
        tracer.visit(node)
    if not tracer.layers:
        raise ModelError("model: no convolution (nn.Conv2d) or fully connected layer (nn.Linear) was found")
    return tracer.graph(tuple(example.shape[1:]))


class _Tracer:
    """One walk over the nodes; `ids` are the channel ids along dimension 1 of every node's value."""

    def __init__(self, model: fx.GraphModule, elementwise: tuple[type[nn.Module], ...]) -> None:
        self.model = model
        self.elementwise_types = (*_ELEMENTWISE, *elementwise)
        self.index_maps: list[fx.Node] = []
        self.channels = ChannelClasses()
        self.ids: dict[fx.Node, Ids] = {}
        self.storage: dict[fx.Node, Storage] = {}
        self.storages: list[Storage] = []
        self.layers: list[TracedLayer] = []
        self.skipped: list[Skipped] = []
        self.step = 0

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.ids[node] = self.channels.fresh(shape_of(node)[1])
            self.channels.lock(self.ids[node], "they are the network's input")
            self._store(node)
        elif node.op == "output":
            for source in node.all_input_nodes:
                self.channels.lock(self.ids[source], "they are the network's output")
                self.storage[source].last_step = self.step
        elif node.meta["shape"] is None:
            pass  # a size or another number: nothing is stored
        else:
            self._rule(node)(node)

    def _rule(self, node: fx.Node) -> Callable[[fx.Node], None]:
        if node.op == "call_module":
            module = self.model.get_submodule(str(node.target))
            if isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and len(shape_of(node)) == 2):
                return self._layer
            if isinstance(module, self.elementwise_types):
                return self._elementwise
            if isinstance(module, _POOLS):
                return self._pool
            if isinstance(module, nn.Flatten) and module.start_dim == 1 and len(shape_of(node)) == 2:
                return self._flatten
            return self._unknown
        if node.target in _ADDITIONS or node.target in _PRODUCTS:
            return self._join
        if node.target in _MEANS:
            return self._mean
        if node.target in {torch.cat, torch.concat}:
            return self._concatenate
        if node.target is F.pad:
            return self._pad
        if node.target is operator.getitem and node.args[0] in self.ids:
            return self._slice
        return self._unknown

    def _layer(self, node: fx.Node) -> None:
        module = self.model.get_submodule(str(node.target))
        assert isinstance(module, nn.Conv2d | nn.Linear)
        source = _source(node)
        input_ids, output_ids = self.ids[source], self.channels.fresh(shape_of(node)[1])
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            if module.groups == module.in_channels == module.out_channels:
                self.channels.tie(input_ids, output_ids)
            else:
                reason = f"grouped convolution {node.target} fixes them"
                self.channels.lock(input_ids, reason)
                self.channels.lock(output_ids, reason)
        self.ids[node] = output_ids
        read = self.storage[source]
        read.readers.append(str(node.target))
        written = self._store(node, read)
        self.layers.append(
            TracedLayer(
                name=str(node.target),
                module=module,
                step=written.first_step,
                source=read,
                target=written,
                in_shape=shape_of(source)[:2] + min(shape_of(source)[2:], shape_of(read.node)[2:], key=math.prod),
                out_shape=shape_of(node),
                output_ids=output_ids,
                input_ids=input_ids,
            )
        )

    def _elementwise(self, node: fx.Node) -> None:
        source = _source(node)
        self.ids[node] = self.ids[source]
        module = self.model.get_submodule(str(node.target))
        if isinstance(module, _BATCH_NORMS):
            self.index_maps.append(node)
            if not self._folds(source):
                reason = "a batch norm that follows no layer runs in float; its time, energy and memory are not counted"
                self.skipped.append(Skipped(path=str(node.target), reason=reason))
        if not isinstance(module, _CLIPPING):
            for pooled in self.storage[source].pooled_from:
                pooled.monotone_only = False
        if len(source.users) == 1 and self.storage[source].node is source and source.op != "placeholder":
            self.storage[node] = self.storage[source]
            self.storage[node].node = node
        else:
            self._derive(node, source)

    def _folds(self, source: fx.Node) -> bool:
        """True when `source` is a layer that nothing else reads, into which a batch norm folds."""
        module = self.model.get_submodule(str(source.target)) if source.op == "call_module" else None
        return isinstance(module, nn.Conv2d | nn.Linear) and len(source.users) == 1

    def _pool(self, node: fx.Node) -> None:
        source = _source(node)
        self.ids[node] = self.ids[source]
        module = self.model.get_submodule(str(node.target))
        is_max = isinstance(module, _MAX_POOLS)
        self._derive(node, source, monotone=is_max)
        if is_max:
            self.storage[node].pooled_from.append(self.storage[source])

    def _mean(self, node: fx.Node) -> None:
        source = _source(node)
        axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        over_positions = isinstance(axes, Sequence) and {int(axis) % 4 for axis in axes} == {2, 3}  # type: ignore[arg-type]
        if len(shape_of(source)) == 4 and over_positions:
            self.ids[node] = self.ids[source]
            self._derive(node, source)
        else:
            self._unknown(node)

    def _flatten(self, node: fx.Node) -> None:
        source = _source(node)
        self.ids[node] = self.ids[source].repeat(shape_of(node)[1] // len(self.ids[source]))
        self.storage[node] = self.storage[source]

    def _join(self, node: fx.Node) -> None:
        sources = [source for source in node.all_input_nodes if source in self.ids]
        same = all(shape_of(source)[:2] == shape_of(node)[:2] for source in sources)
        if not same or (node.target in _ADDITIONS and any(shape_of(s) != shape_of(node) for s in sources)):
            self._unknown(node)
            return
        for source in sources[1:]:
            self.channels.tie(self.ids[sources[0]], self.ids[source])
        self.ids[node] = self.ids[sources[0]]
        self._derive(node, *sources)

    def _concatenate(self, node: fx.Node) -> None:
        dimension = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        given = node.kwargs.get("tensors", node.args[0] if node.args else None)
        parts = [part for part in given if isinstance(part, fx.Node)] if isinstance(given, Sequence) else []
        if not parts or dimension not in {1, 1 - len(shape_of(node))}:
            self._unknown(node)
            return
        self.ids[node] = np.concatenate([self.ids[part] for part in parts])
        self._derive(node, *parts)

    def _pad(self, node: fx.Node) -> None:
        source = _source(node)
        before, after = channel_padding(node, len(shape_of(node)))
        zero = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else 0) in {0, None}
        mode = node.kwargs.get("mode", node.args[2] if len(node.args) > 2 else "constant")
        if (mode == "constant" and not zero) or min(before, after) < 0:
            self._unknown(node)
            return
        parts = (self.channels.fresh(before), self.ids[source], self.channels.fresh(after))
        self.ids[node] = np.concatenate(parts)
        self.storage[node] = self.storage[source]
        if before or after:
            self.index_maps.append(node)

    def _slice(self, node: fx.Node) -> None:
        source = _source(node)
        if shape_of(source)[:2] != shape_of(node)[:2] or len(shape_of(source)) != len(shape_of(node)):
            self._unknown(node)
            return
        self.ids[node] = self.ids[source]
        self.storage[node] = self.storage[source]

    def _unknown(self, node: fx.Node) -> None:
        """Keep everything around an operation without a rule as it is, and say so."""
        if node.target in _WEIGHTED_FUNCTIONS:
            function_name = getattr(node.target, "__name__", str(node.target))
            raise ModelError(
                f"model: {node.name} calls {function_name} as a function with weights of its own, which "
                "cannot be compressed; use the module nn.Conv2d or nn.Linear, and no subclass of it"
            )
        reason = f"operation {node.target if node.op != 'call_module' else node.name} has no pruning rule"
        sources = self._tensors(node)
        for source in sources:
            self.channels.lock(self.ids[source], reason)
        shape = shape_of(node)
        self.ids[node] = self.channels.fresh(shape[1] if len(shape) > 1 else 1)
        self.channels.lock(self.ids[node], reason)
        has_weights = node.op == "call_module" and any(
            True for _ in self.model.get_submodule(str(node.target)).parameters()
        )
        kept = "its weights stay in float and its cost is not counted" if has_weights else "nothing there is pruned"
        self.skipped.append(Skipped(path=str(node.target), reason=f"no rule for this operation: {kept}"))
        self._derive(node, *sources)

    def _tensors(self, node: fx.Node) -> list[fx.Node]:
        """The tensors that a node is computed from, through nodes that give several at once, such as chunk."""
        found: dict[fx.Node, None] = {}
        for source in node.all_input_nodes:
            found.update({source: None} if source in self.ids else dict.fromkeys(self._tensors(source)))
        return list(found)

    def _derive(self, node: fx.Node, *sources: fx.Node, monotone: bool = False) -> None:
        reads = [self.storage[source] for source in sources]
        written = self._store(node, *reads)
        for read in reads:
            read.feeds.append(written)
            read.monotone_only = read.monotone_only and monotone

    def _store(self, node: fx.Node, *reads: Storage) -> Storage:
        storage = Storage(node=node, first_step=self.step, last_step=self.step)
        for read in reads:
            read.last_step = self.step
        if node.op != "placeholder":
            self.step += 1
        self.storage[node] = storage
        self.storages.append(storage)
        return storage

    def graph(self, input_shape: tuple[int, ...]) -> ModelGraph:
        classes = self.channels.classes
        members = []
        for raw in self.layers:
            members.append(Member(name=raw.name, role="produces", classes=classes(raw.output_ids)))
            members.append(Member(name=raw.name, role="reads", classes=classes(raw.input_ids)))
        for storage in self.storages:
            members.append(Member(name=storage.node.name, role="holds", classes=classes(self.ids[storage.node])))
        groups = group_channels(members, self.channels.locked_classes())
        skipped = [
            Skipped(path=group.name, reason=f"its {group.size} channels are all kept: {group.locked}")
            for group in groups
            if group.locked and group.producers
        ]
        return ModelGraph(
            input_shape=input_shape,
            layers=tuple(
                record_layer(raw, classes(raw.output_ids), classes(raw.input_ids), groups) for raw in self.layers
            ),
            groups=groups,
            activations=tuple(
                record_activation(storage, classes(self.ids[storage.node]), groups) for storage in self.storages
            ),
            index_maps=tuple(IndexMap(node=node.name, classes=classes(self.ids[node])) for node in self.index_maps),
            skipped=(*self.skipped, *skipped),
        )


def channel_padding(node: fx.Node, dimensions: int) -> tuple[int, int]:
    """How many channels an F.pad call puts before and after dimension 1."""
    padding = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
    reach = 2 * (dimensions - 2)
    entries = [int(entry) for entry in padding]  # type: ignore[union-attr, arg-type]
    return (entries[reach], entries[reach + 1]) if len(entries) >= reach + 2 else (0, 0)


def _source(node: fx.Node) -> fx.Node:
    return node.all_input_nodes[0]
