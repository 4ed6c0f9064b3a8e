"""Every use of a name that torch keeps to itself, to be looked at with each new version of it.

Public ones are used wherever there are any; `tests/architecture/test_private_names.py` holds that no other file needs
one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx._lazy_graph_module import _LazyGraphModule
from torch.nn.modules import module as module_of_torch
from torch.nn.utils.prune import BasePruningMethod
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

Hook = Callable[..., Any]
M = TypeVar("M", bound=nn.Module)
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


def copy_module(module: M) -> M:
    """Return a copy that shares no tensor and no hook with a module, in a fraction of the time of `copy.deepcopy`.

    What else it has, it has in common with it.
    """
    copied = copy.copy(module)
    for name, value in vars(module).items():
        if isinstance(value, dict | set):
            vars(copied)[name] = value.copy()
    for name, parameter in module._parameters.items():
        if parameter is not None:
            copied._parameters[name] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        copied._buffers[name] = None if buffer is None else buffer.clone()
    for name, child in module._modules.items():
        copied._modules[name] = None if child is None else copy_module(child)
    return copied


class _WrittenWhenCalled(_LazyGraphModule):
    """Its first call goes on with `forward`, where torch's begins anew: hooks of the network would run twice."""

    def _lazy_forward(self, *inputs: Any) -> Any:
        self.real_recompile()
        return self.forward(*inputs)

    forward = _lazy_forward


def make_graph_module(modules: dict[str, Any], graph: fx.Graph) -> fx.GraphModule:
    """Return a network whose Python code is written when it is first called, not whenever its graph has changed."""
    return _WrittenWhenCalled(modules, graph)


def restore_order(copied: nn.Module, module: nn.Module) -> None:
    """Put the modules in a copy, in place, in the order that they have in what it is of: `torch.fx` sorts by depth."""
    own = copied._modules
    copied._modules = {name: own[name] for name in module._modules if name in own}
    for name, child in copied._modules.items():
        counterpart = module._modules[name]
        if child is not None and counterpart is not None:
            restore_order(child, counterpart)


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating-point operations within it, as torch's `FlopCounterMode`, but without its seconds of imports.

    That one's every call goes through torch._dynamo, which is nothing but switched off there.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, taken apart where it is not known, and count it."""
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None and func is not torch.ops.prim.device.default:
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        found = func(*args, **kwargs)
        self.total += 0 if count is None else int(count(*args, **kwargs, out_val=found))
        return found
