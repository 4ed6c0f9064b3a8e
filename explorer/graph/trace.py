"""Trace a canonical network into a ModelGraph: layers, operations, coupled channels, activations, what is skipped."""

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
from explorer.graph.layers import ModelGraph, OperationKind, Skipped
from explorer.graph.traced import Storage, Traced, TracedLayer, TracedOperation, record_graph, shape_of

_FUNCTIONS = tuple(factory for factory in ACTIVATIONS.values() if isinstance(factory, type))
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

    `elementwise` names further module types that act on each element alone and are no operation for the device,
    such as activation quantisers. Raises ModelError when the network has no convolution or fully connected layer.
    """
    propagate_shapes(model, example)
    tracer = _Tracer(model, elementwise)
    for node in model.graph.nodes:
        tracer.visit(node)
    if not tracer.found.layers:
        raise ModelError("model: no convolution (nn.Conv2d) or fully connected layer (nn.Linear) was found")
    return record_graph(tracer.found, tuple(example.shape[1:]))


class _Tracer:
    """One walk over the nodes."""

    def __init__(self, model: fx.GraphModule, elementwise: tuple[type[nn.Module], ...]) -> None:
        self.model = model
        self.elementwise_types = (*_FUNCTIONS, *_BATCH_NORMS, *elementwise)
        self.found = Traced()
        self.channels, self.ids = self.found.channels, self.found.ids
        self.storage: dict[fx.Node, Storage] = {}
        self.paths = {str(node.target) for node in model.graph.nodes if node.op == "call_module"}
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
        self.found.layers.append(
            TracedLayer(
                name=str(node.target),
                module=module,
                step=written.first_step,
                source=read,
                target=written,
                in_shape=self._read_shape(source),
                out_shape=shape_of(node),
                output_ids=output_ids,
                input_ids=input_ids,
            )
        )

    def _read_shape(self, source: fx.Node) -> tuple[int, ...]:
        """Shape of what is read of a stored tensor: neither a border of zeros nor what a slice leaves out."""
        stored = shape_of(self.storage[source].node)
        return shape_of(source)[:2] + min(shape_of(source)[2:], stored[2:], key=math.prod)

    def _elementwise(self, node: fx.Node) -> None:
        source = _source(node)
        self.ids[node] = self.ids[source]
        module = self.model.get_submodule(str(node.target))
        if isinstance(module, _BATCH_NORMS):
            self.found.index_maps.append(node)
            if not self._folds(source):
                reason = "a batch norm that follows no layer runs in float; its time, energy and memory are not counted"
                self.found.skipped.append(Skipped(path=str(node.target), reason=reason))
        if not isinstance(module, _CLIPPING):
            for pooled in self.storage[source].pooled_from:
                pooled.monotone_only = False
        if len(source.users) == 1 and self.storage[source].node is source and source.op != "placeholder":
            self.storage[node] = self.storage[source]
            self.storage[node].node = node
        else:
            self._derive(node, source)
        if isinstance(module, _FUNCTIONS):
            self._operation(node, "activation", (source,))

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
        self._operation(node, "pool", (source,), module)

    def _mean(self, node: fx.Node) -> None:
        source = _source(node)
        axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        over_positions = isinstance(axes, Sequence) and {int(axis) % 4 for axis in axes} == {2, 3}  # type: ignore[arg-type]
        if len(shape_of(source)) == 4 and over_positions:
            self.ids[node] = self.ids[source]
            self._derive(node, source)
            self._operation(node, "pool", (source,))
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
        # Beside a number, or beside itself, a tensor has a function applied to each element.
        self._operation(node, "add" if len(sources) > 1 else "activation", sources)

    def _operation(
        self, node: fx.Node, kind: OperationKind, sources: Sequence[fx.Node], module: nn.Module | None = None
    ) -> None:
        name = str(node.target) if node.op == "call_module" else node.name
        if node.op != "call_module" and name in self.paths:
            name += "()"  # a function that came before a module of its name
        self.found.operations.append(
            TracedOperation(
                name=name,
                kind=kind,
                module=module,
                reads=tuple(self.storage[source] for source in sources),
                target=self.storage[node],
                # A gate with one position for each channel counts as large as what it scales.
                in_shape=self._read_shape(sources[0]) if kind == "pool" else shape_of(node),
                out_shape=shape_of(node),
                ids=self.ids[node],
            )
        )

    def _concatenate(self, node: fx.Node) -> None:
        dimension = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        given = node.kwargs.get("tensors", node.args[0] if node.args else None)
        parts = [part for part in given if isinstance(part, fx.Node)] if isinstance(given, Sequence) else []
        if not parts or dimension not in {1, 1 - len(shape_of(node))}:
            self._unknown(node)
            return
        self.ids[node] = np.concatenate([self.ids[part] for part in parts])
        self._derive(node, *parts)
        self.found.moves.append(node.name)

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
            self.found.index_maps.append(node)
        self.found.moves.append(node.name)

    def _slice(self, node: fx.Node) -> None:
        source = _source(node)
        if shape_of(source)[:2] != shape_of(node)[:2] or len(shape_of(source)) != len(shape_of(node)):
            self._unknown(node)
            return
        self.ids[node] = self.ids[source]
        self.storage[node] = self.storage[source]
        self.found.moves.append(node.name)

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
        kept = "its weights stay in float" if has_weights else "nothing there is pruned"
        reason = f"no rule for this operation: {kept} and its cost is not counted"
        self.found.skipped.append(Skipped(path=str(node.target), reason=reason))
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
        self.found.storages.append(storage)
        return storage


def channel_padding(node: fx.Node, dimensions: int) -> tuple[int, int]:
    """How many channels an F.pad call puts before and after dimension 1."""
    padding = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
    reach = 2 * (dimensions - 2)
    entries = [int(entry) for entry in padding]  # type: ignore[union-attr, arg-type]
    return (entries[reach], entries[reach + 1]) if len(entries) >= reach + 2 else (0, 0)


def _source(node: fx.Node) -> fx.Node:
    return node.all_input_nodes[0]
