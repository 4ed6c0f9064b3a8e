"""Trace a canonical network into a ModelGraph: layers, operations, coupled channels, activations, what is skipped."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.errors import ModelError
from explorer.graph import trace_moves
from explorer.graph.blocks import find_blocks
from explorer.graph.build import build_graph
from explorer.graph.channels import Ids
from explorer.graph.coverage import count_stored_values
from explorer.graph.functional import ACTIVATIONS, POOLS
from explorer.graph.inputs import Inputs, get_shapes
from explorer.graph.layers import ModelGraph, OperationKind, Skipped
from explorer.graph.lines import find_line
from explorer.graph.modules import SelectChannels
from explorer.graph.names import Names
from explorer.graph.reuse import find_shared_weights
from explorer.graph.symbolic import propagate_shapes
from explorer.graph.traced import Traced, TracedLayer, TracedOperation, find_source, get_shape

_FUNCTIONS = (nn.PReLU, *(factory for factory in ACTIVATIONS.values() if isinstance(factory, type)))
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_POOLS = tuple(factory for factory in POOLS.values() if isinstance(factory, type))
_MAX_POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
_BORDERS = (nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d)
_CLIPPING = (nn.ReLU, nn.ReLU6)
"""Activations after which a quantised value is still on its grid."""
_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_", operator.sub, operator.isub, torch.sub, "sub", "sub_"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_QUOTIENTS = {operator.truediv, operator.itruediv, torch.div, "div", "div_"}
_MEANS = {torch.mean, "mean"}
_INTERPOLATING = {"linear", "bilinear", "bicubic", "trilinear"}


def trace(model: fx.GraphModule, example: Inputs, elementwise: tuple[type[nn.Module], ...] = ()) -> ModelGraph:
    """Trace a canonical network (see `canonicalise`) on `example` images, N x C x H x W, or a tuple of inputs.

    `elementwise` names further module types that act on each element alone and are no operation for the device, such as
    activation quantisers.

    Raises:
        ModelError: When the network has no convolution or fully connected layer.
    """
    propagate_shapes(model, example)
    shared = find_shared_weights(model)
    tracer = _GraphTracer(model, elementwise, shared)
    for node in model.graph.nodes:
        tracer.visit(node)
    if not tracer.found.layers:
        raise ModelError("model: no convolution (nn.Conv2d) or fully connected layer (nn.Linear) was found")
    graph = build_graph(tracer.found, get_shapes(example), shared)
    in_float = count_stored_values(model, graph.layer_names, elementwise).in_float
    return replace(graph, float_values=in_float, blocks=find_blocks(model, graph))


class _GraphTracer:
    """One walk over the nodes."""

    def __init__(self, model: fx.GraphModule, elementwise: tuple[type[nn.Module], ...], shared: dict[str, str]) -> None:
        self.model = model
        self.elementwise_types = (*_FUNCTIONS, *_BATCH_NORMS, *elementwise)
        self.found = Traced()
        self.channels, self.ids = self.found.channels, self.found.ids
        self.paths = {str(node.target) for node in model.graph.nodes if node.op == "call_module"}
        self.names = Names(self.paths)
        self.shared = shared

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.ids[node] = self.channels.fresh(get_shape(node)[1] if len(get_shape(node)) > 1 else 1)
            self.channels.lock(self.ids[node], "they are the network's input")
            self.found.store(node)
            self.found.num_images = self.found.num_images or get_shape(node)[0]
        elif node.op == "output":
            for source in self._tensors(node):
                self.channels.lock(self.ids[source], "they are the network's output")
                self.found.storage[source].last_step = self.found.step
        elif node.op == "get_attr":
            if node.meta["shape"] is not None:
                self.found.constant(node)
        elif node.meta["shape"] is None:
            pass  # a size or another number: nothing is stored
        elif not (self._module(node) if node.op == "call_module" else self._function(node)):
            self._unknown(node)

    def _module(self, node: fx.Node) -> bool:
        """Follow the rule of a module; False where there is none."""
        module = self.model.get_submodule(str(node.target))
        source = find_source(node)
        if isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and len(get_shape(node)) == 2):
            self._layer(node, module)
        elif isinstance(module, self.elementwise_types):
            self._elementwise(node, module)
        elif isinstance(module, _POOLS):
            self._pool(node, module)
        elif isinstance(module, nn.Upsample) and module.mode in _INTERPOLATING:
            self._pool(node, nn.AvgPool2d(2))  # four neighbours are weighed for each pixel
        elif isinstance(module, (nn.Upsample, *_BORDERS)):
            trace_moves.resample(self.found, node)
        elif isinstance(module, SelectChannels):
            trace_moves.select(self.found, node, module)
        elif isinstance(module, nn.PixelShuffle):
            trace_moves.shuffle_pixels(self.found, node, module.upscale_factor)
        elif isinstance(module, nn.Flatten):
            return source in self.ids and trace_moves.flatten(self.found, node, module)
        elif isinstance(module, nn.Unflatten):
            return source in self.ids and trace_moves.unflatten(self.found, node)
        else:
            return False
        return True

    def _function(self, node: fx.Node) -> bool:
        """Follow the rule of a function or a method; False where there is none."""
        rules: tuple[tuple[set[object], Callable[[fx.Node], bool]], ...] = (
            (_SUMS | _PRODUCTS | _QUOTIENTS, self._join),
            (_MEANS, self._mean),
            ({torch.cat, torch.concat, torch.concatenate}, lambda found: trace_moves.concatenate(self.found, found)),
            ({F.pad}, lambda found: trace_moves.pad(self.found, found)),
            ({operator.getitem}, lambda found: found.args[0] in self.ids and trace_moves.cut(self.found, found)),
        )
        called = node.op != "get_attr"  # a buffer may have the name of a method
        return called and any(node.target in targets and rule(node) for targets, rule in rules)

    def _layer(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        source = find_source(node)
        input_ids, output_ids = self.ids[source], self.channels.fresh(get_shape(node)[1])
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            self._tie_groups(module.groups, input_ids, output_ids)
        self.ids[node] = output_ids
        read = self.found.storage[source]
        read.readers.append(str(node.target))
        written = self.found.store(node, read)
        layer = TracedLayer(
            name=str(node.target),
            module=module,
            step=written.first_step,
            source=read,
            target=written,
            in_shape=self.found.read_shape(source),
            out_shape=get_shape(node),
            output_ids=output_ids,
            input_ids=input_ids,
        )
        owner = self.shared.get(layer.name)
        for other in self.found.layers:
            if other.name == owner:  # one set of weights loses the same filters and inputs in every call
                self.channels.tie(other.output_ids, output_ids)
                if len(other.input_ids) == len(input_ids):
                    self.channels.tie(other.input_ids, input_ids)
                    continue
                for ids in (other.input_ids, input_ids):
                    self.channels.lock(ids, "their weights are read in another number of groups as well")
        self.found.layers.append(layer)
        if get_shape(node)[0] % self.found.num_images:
            count = f"{get_shape(node)[0]} inputs for {self.found.num_images} images"
            reason = f"has {count}{find_line(node)}: its cost is that of one input"
            self.found.skipped.append(Skipped(path=layer.name, reason=reason))

    def _tie_groups(self, groups: int, input_ids: Ids, output_ids: Ids) -> None:
        """Couple the channels of a grouped convolution so that all groups keep one size.

        Channel j of one group stays or goes with channel j of every other, on either side. Where each group reads
        one channel, the group goes as a whole, and the filters that read it with it.
        """
        inputs, outputs = input_ids.reshape(groups, -1), output_ids.reshape(groups, -1)
        if inputs.shape[1] == 1:
            for column in outputs.T:
                self.channels.tie(input_ids, column)
            return
        for rows in (inputs, outputs):
            for row in rows[1:]:
                self.channels.tie(rows[0], row)

    def _elementwise(self, node: fx.Node, module: nn.Module) -> None:
        source = find_source(node)
        storage = self.found.storage
        self.ids[node] = self.ids[source]
        if isinstance(module, _BATCH_NORMS):
            self.found.index_maps.append(node)
            if not self._folds(source):
                reason = "a batch norm that follows no layer runs in float; its time, energy and memory are not counted"
                self.found.skipped.append(Skipped(path=str(node.target), reason=reason))
        if isinstance(module, nn.PReLU) and module.num_parameters > 1:
            self.found.index_maps.append(node)
        if not isinstance(module, _CLIPPING):
            for pooled in storage[source].pooled_from:
                pooled.monotone_only = False
        if len(source.users) == 1 and storage[source].node is source and source.op != "placeholder":
            self.found.alias(node, source)
            storage[node].node = node
            if not isinstance(module, _CLIPPING):
                storage[node].joins = []
        else:
            self.found.derive(node, source)
        if isinstance(module, _FUNCTIONS):
            self._operation(node, "activation", (source,))

    def _folds(self, source: fx.Node) -> bool:
        """Return True when `source` is a layer that nothing else reads, into which a batch norm folds."""
        module = self.model.get_submodule(str(source.target)) if source.op == "call_module" else None
        return isinstance(module, nn.Conv2d | nn.Linear) and len(source.users) == 1

    def _pool(self, node: fx.Node, module: nn.Module) -> None:
        source = find_source(node)
        self.ids[node] = self.ids[source]
        is_max = isinstance(module, _MAX_POOLS)
        self.found.derive(node, source, monotone=is_max)
        if is_max:
            self.found.storage[node].pooled_from.append(self.found.storage[source])
        self._operation(node, "pool", (source,), module)

    def _mean(self, node: fx.Node) -> bool:
        source = find_source(node)
        rank = len(get_shape(source))
        axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        listed = [axes] if isinstance(axes, int) else axes
        if not isinstance(listed, Sequence) or {int(axis) % rank for axis in listed} != set(range(2, rank)):  # type: ignore[arg-type]
            return False
        self.ids[node] = self.ids[source]
        self.found.derive(node, source)
        self._operation(node, "pool", (source,))
        return True

    def _join(self, node: fx.Node) -> bool:
        sources = [source for source in node.all_input_nodes if source in self.ids]
        constants = [source for source in node.all_input_nodes if source.op == "get_attr"]
        same = all(get_shape(source)[:2] == get_shape(node)[:2] for source in sources)
        # What is divided by may not be the zero of a masked channel.
        divides = node.target in _QUOTIENTS and any(source is not node.args[0] for source in sources)
        if not sources or not same or constants or divides:
            return False
        if node.target in _SUMS and any(get_shape(source) != get_shape(node) for source in sources):
            return False
        for source in sources[1:]:
            self.channels.tie(self.ids[sources[0]], self.ids[source])
        self.ids[node] = self.ids[sources[0]]
        self.found.derive(node, *sources)
        # Beside a number, or beside itself, a tensor has a function applied to each element.
        self._operation(node, "add" if len(sources) > 1 else "activation", sources)
        return True

    def _operation(
        self, node: fx.Node, kind: OperationKind, sources: Sequence[fx.Node], module: nn.Module | None = None
    ) -> None:
        name = str(node.target) if node.op == "call_module" else node.name
        if node.op != "call_module" and name in self.paths:
            name = self.names.free(f"{name}()")  # a function that came before a module of its name
        self.found.operations.append(
            TracedOperation(
                name=name,
                kind=kind,
                module=module,
                reads=tuple(self.found.storage[source] for source in sources),
                target=self.found.storage[node],
                # A gate with one position for each channel counts as large as what it scales.
                in_shape=self.found.read_shape(sources[0]) if kind == "pool" else get_shape(node),
                out_shape=get_shape(node),
                ids=self.ids[node],
            )
        )

    def _unknown(self, node: fx.Node) -> None:
        """Keep everything around an operation without a rule as it is, and say so."""
        origin = node
        while origin.target in {operator.getitem, getattr} and find_source(origin) not in self.ids:
            origin = find_source(origin)  # which gives several tensors at once
        target = origin.target if origin.op == "call_module" else getattr(origin.target, "__name__", origin.target)
        reason = f"operation {target}{find_line(origin)} has no pruning rule"
        sources = self._tensors(node)
        for source in sources:
            self.channels.lock(self.ids[source], reason)
        shape = get_shape(node)
        self.ids[node] = self.channels.fresh(shape[1] if len(shape) > 1 else 1)
        self.channels.lock(self.ids[node], reason)
        module = self.model.get_submodule(str(target)) if origin.op == "call_module" else nn.Module()
        has_weights = any(True for _ in module.parameters()) or any(
            source.op == "get_attr" for source in (*node.all_input_nodes, *origin.all_input_nodes)
        )
        kept = "its weights stay in float" if has_weights else "nothing there is pruned"
        reason = f"no rule for this operation{find_line(origin)}: {kept} and its cost is not counted"
        skipped = Skipped(path=str(target), reason=reason)
        if skipped not in self.found.skipped:
            self.found.skipped.append(skipped)
        self.found.derive(node, *sources)

    def _tensors(self, node: fx.Node) -> list[fx.Node]:
        """Return the tensors that a node is computed from, through nodes that give several at once, such as chunk."""
        found: dict[fx.Node, None] = {}
        for source in node.all_input_nodes:
            found.update({source: None} if source in self.ids else dict.fromkeys(self._tensors(source)))
        return list(found)
