"""What follows each layer directly, and what nodes of a network give on a sample, without hooks on its modules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from explorer.graph.modules import BatchNorm
from explorer.progress import Progress
from explorer.relevance.deeplift_run import ELEMENTWISE_MODULES
from explorer.relevance.sample import Sample

See = Callable[[str, Tensor], None]
"""Called with a layer's name and what the node that stands for it gives for a part of the sample."""


def find_layer_nodes(sample: Sample) -> dict[str, fx.Node]:
    """Return the node of each layer, by the layer's name, in order of computation."""
    nodes = {str(node.target): node for node in sample.model.graph.nodes if node.op == "call_module"}
    return {name: nodes[name] for name in sample.graph.layer_names}


def find_norm_after(model: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, BatchNorm] | None:
    """Return the batch norm that alone reads a node, and its own node; None where there is no such one."""
    reader, module = _only_reader(model, node)
    return (reader, module) if reader is not None and isinstance(module, BatchNorm) else None


def find_activated(model: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Return the node after the batch norm and after the activation that directly follow a layer and alone read it.

    Where the one or the other is absent, where an addition comes in between, or where more than one node reads the
    layer, the last node before.
    """
    norm = find_norm_after(model, node)
    last = node if norm is None else norm[0]
    reader, module = _only_reader(model, last)
    return reader if reader is not None and isinstance(module, ELEMENTWISE_MODULES) else last


def watch(sample: Sample, nodes: Mapping[str, fx.Node], see: See, progress: Progress | None = None) -> None:
    """Run the network in evaluation mode on the sample, part by part, and show what the nodes give, without gradients.

    Several layers may have the same node: `see` is called for each of them. `progress` counts images.
    """
    run, done = _Watching(sample.model.eval(), nodes, see), 0
    for part in sample.batches():
        with torch.no_grad():
            run.run(*part.inputs)
        done += len(part)
        if progress is not None:
            progress(done, len(sample))


def _only_reader(model: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, nn.Module] | tuple[None, None]:
    """Return the module that alone reads a node, and its node."""
    if len(node.users) != 1:
        return None, None
    (reader,) = node.users
    return (reader, model.get_submodule(str(reader.target))) if reader.op == "call_module" else (None, None)


class _Watching(fx.Interpreter):
    def __init__(self, model: fx.GraphModule, nodes: Mapping[str, fx.Node], see: See) -> None:
        super().__init__(model)
        self.see = see
        self.names: defaultdict[fx.Node, list[str]] = defaultdict(list)
        for name, node in nodes.items():
            self.names[node].append(name)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        for name in self.names.get(n, ()):
            self.see(name, value)
        return value
