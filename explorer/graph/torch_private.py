"""Every use of a name that torch keeps to itself, to be looked at with each new version of it.

Public ones are used wherever there are any; `tests/architecture/test_private_names.py` holds that no other file needs
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as module_of_torch
from torch.nn.utils.prune import BasePruningMethod
from torch.utils._pytree import tree_leaves

Hook = Callable[..., Any]
_WITHOUT_OUTPUT = (
    *("_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)


def list_leaves(value: object) -> list[Any]:
    """Return what is in nested tuples, lists and dictionaries, from left to right."""
    return tree_leaves(value)


def list_output_padding(module: nn.ConvTranspose2d, inputs: Tensor, size: Sequence[int]) -> tuple[int, ...]:
    """Return what a transposed convolution adds to one side, so that its output has this height and width."""
    sizes = module.stride, module.padding, module.kernel_size
    return tuple(module._output_padding(inputs, list(size), *sizes, 2, module.dilation))  # type: ignore[arg-type]


def list_padding(module: nn.Conv2d) -> list[int]:
    """Return the padding of a convolution as F.pad takes it, with "same" and "valid" as numbers."""
    return list(module._reversed_padding_repeated_twice)


def find_global_hooks() -> Iterator[tuple[str, Hook]]:
    """Yield ("forward_pre" or "forward", hook) for each that every module calls."""
    for kind in ("forward_pre", "forward"):
        yield from ((kind, hook) for hook in getattr(module_of_torch, f"_global_{kind}_hooks").values())


def find_hooks(module: nn.Module) -> Iterator[tuple[str, Hook]]:
    """Yield ("forward_pre" or "forward", hook) for each of a module."""
    for kind in ("forward_pre", "forward"):
        yield from ((kind, hook) for hook in getattr(module, f"_{kind}_hooks").values())


def remove_pre_hook(module: nn.Module, hook: Hook) -> None:
    """Remove a forward pre-hook of a module."""
    hooks = module._forward_pre_hooks
    del hooks[next(key for key, each in hooks.items() if each is hook)]


def clear_other_hooks(module: nn.Module) -> None:
    """Remove all hooks of gradients and state dicts, which change no output."""
    for name in _WITHOUT_OUTPUT:
        getattr(module, name).clear()


def find_pruned_name(hook: BasePruningMethod) -> str:
    """Return which parameter of its module a hook of torch.nn.utils.prune masks."""
    return str(hook._tensor_name)


def list_own_names(module: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a module's own parameters and buffers, also of those that are None, and of its children."""
    return (*module._parameters, *module._buffers), tuple(module._modules)
