"""Modules that a network calls more than once: a clone for each call, which holds the same weights."""

from __future__ import annotations

import copy

from torch import fx, nn

from explorer.graph.names import add_module


def clone_reused(graph_module: fx.GraphModule) -> None:
    """Give every call of a module a module of its own, in place.

    The clones of a layer hold the very parameters of the first (`find_shared_weights` finds them by that), so that they
    stay one set of weights; buffers, such as the statistics of a batch norm, are copied.
    """
    seen: set[int] = set()
    for node in list(graph_module.graph.nodes):
        if node.op != "call_module":
            continue
        module = graph_module.get_submodule(str(node.target))
        if id(module) not in seen:
            seen.add(id(module))
            continue
        own = {id(parameter): parameter for parameter in module.parameters()}
        node.target = add_module(graph_module, f"{node.target}_call", copy.deepcopy(module, own))


def find_shared_weights(graph_module: fx.GraphModule) -> dict[str, str]:
    """Return the path of every layer whose weight an earlier one holds as well, to the path of that one.

    A linear layer of sequences has no rule, and stays in float.
    """
    first: dict[int, str] = {}
    found = {}
    for node in graph_module.graph.nodes:
        module = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d) or (isinstance(module, nn.Linear) and len(node.meta["shape"]) == 2):
            path = str(node.target)
            owner = first.setdefault(id(module.weight), path)
            if owner != path:
                found[path] = owner
    return found
