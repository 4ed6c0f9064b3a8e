"""Free names: nothing that we name replaces what the user, or we ourselves, have named before."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from torch import fx, nn

from explorer.errors import ExplorerError

LAYER_BUFFERS = ("weight_codes", "weight_scale", "bias_codes")
"""What the buffers are called in which a compressed layer holds its integers: a canonical one has none of them."""


class Names:
    """Names in use in one place, such as a file; `between` stands before the number of a name that gives way."""

    def __init__(self, taken: Iterable[str] = (), between: str = "_") -> None:
        self._taken, self._between = set(taken), between

    def free(self, wanted: str) -> str:
        """Return `wanted`, or the first that is free of it with 2, 3, ... behind it; taken from now on."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}{self._between}{number}", number + 1
        return self.take(name)

    def take(self, name: str) -> str:
        """Take a name.

        Raises:
            ExplorerError: Where it is taken, which `free` never lets happen.
        """
        if name in self._taken:
            raise ExplorerError(f"two things in one place would be called {name!r}; please report this")
        self._taken.add(name)
        return name


def find_free_name(wanted: str, *models: nn.Module) -> str:
    """Return `wanted`, or with a number behind it where one of the models has an attribute of that name."""
    name, number = wanted, 2
    while keyword.iskeyword(name) or any(hasattr(model, name) for model in models):
        name, number = f"{wanted}_{number}", number + 1
    return name


def hold_by_other_names(root: nn.Module, graph: fx.Graph) -> None:
    """Let `root` hold once more, under another name, what a fx.GraphModule cannot hold under its own, in place.

    A layer may be called `graph` or `code`, which a GraphModule is asked for itself, or as a word of Python, which a
    ModuleDict takes as a key.
    """
    asked = fx.GraphModule(nn.Module(), fx.Graph())
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        target = str(node.target)
        parts = target.split(".") if node.op in {"call_module", "get_attr"} else ()
        if parts and target not in renamed and (hasattr(asked, parts[0]) or any(map(keyword.iskeyword, parts))):
            owner, _, own = target.rpartition(".")
            renamed[target] = find_free_name("_".join(parts), root, asked)
            setattr(root, renamed[target], getattr(root.get_submodule(owner), own))
        node.target = renamed.get(target, node.target) if parts else node.target


def add_module(model: fx.GraphModule, wanted: str, module: nn.Module) -> str:
    """Add a module to a network under a free name, dots of `wanted` as underscores; returns the name."""
    name = find_free_name(wanted.replace(".", "_"), model)
    model.add_submodule(name, module)
    return name


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put another module in the place of the one at a path."""
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, module)
