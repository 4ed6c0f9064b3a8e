"""How much of a network the layers of its graph hold: what inference reads, and what of it stays in float."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from torch import Tensor, fx, nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class StoredValues(NamedTuple):
    """Numbers that inference reads, weights and the like; `in_float` are those that no layer of the graph holds."""

    values: int
    in_float: int


def count_stored_values(
    model: fx.GraphModule, layers: Collection[str], beside: tuple[type[nn.Module], ...] = ()
) -> StoredValues:
    """Count the numbers that a canonical network reads, each tensor once; integers, such as indices, do not count.

    Modules of the types `beside` are left out.

    Args:
        layers: The paths of the layers that are traced: their weights and biases, and the batch norms that fold into
            them, do not stay in float.
    """
    held: dict[int, int] = {}
    in_float: dict[int, int] = {}
    for node in model.graph.nodes:
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and isinstance(module, beside):
            continue
        counted = module is not None and (node.target in layers or _folds(node, module, layers))
        into = held if counted else in_float
        into.update({id(tensor): tensor.numel() for tensor in _tensors(model, node) if tensor.is_floating_point()})
    return StoredValues(values=sum({**held, **in_float}.values()), in_float=sum(in_float.values()))


def _folds(node: fx.Node, module: nn.Module, layers: Collection[str]) -> bool:
    """Return True for a batch norm that alone reads a layer."""
    source = node.all_input_nodes[0]
    return (
        isinstance(module, _NORMS) and source.op == "call_module" and source.target in layers and len(source.users) == 1
    )


def _tensors(model: fx.GraphModule, node: fx.Node) -> Iterator[Tensor]:
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        yield from module.parameters()
        yield from module.buffers()
    elif node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(model.get_submodule(owner), name)
        if isinstance(value, Tensor):
            yield value
