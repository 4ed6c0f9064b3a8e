"""A copy of the user's network that shares nothing with it, and whose state is all in forward() and in tensors."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.optim.swa_utils import AveragedModel

from explorer.errors import ModelError, describe_error
from explorer.graph.torch_private import (
    clear_other_hooks,
    find_global_hooks,
    find_hooks,
    find_pruned_name,
    remove_pre_hook,
)

_WEIGHT_HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
"""Forward pre-hooks that compute a weight from parameters alone: the copy holds what they compute."""


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside wrappers that compute the same: torch.compile, DataParallel, weight averaging."""
    inside = _inside(model)
    return model if inside is None else unwrap(inside)


def copy_plainly(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode: no wrappers, no hooks, and weights that are tensors of their own.

    Weights that are computed in each call (weight norm, spectral norm, pruning, parametrisations of any kind) become
    what is computed; two that are computed from the same tensors stay one. Hooks of gradients and state dicts change no
    output, and the copy has none of them.

    Raises:
        ModelError: For TorchScript, weights without values yet, forward hooks and replaced methods: these compute what
            neither a trace nor an exported file would have.
    """
    _refuse_hidden_state(model)
    held = [value for module in model.modules() for value in (*vars(module).values(), *module.buffers(recurse=False))]
    memo: dict[int, Any] = {
        id(value): value.detach().clone() for value in held if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        for wrapper in reversed(list(model.modules())):
            if (inside := _inside(wrapper)) is not None:
                memo[id(wrapper)] = copy.deepcopy(inside, memo)
        copied = copy.deepcopy(model, memo).eval()
    except Exception as error:
        raise ModelError(
            f"model: it cannot be copied: {describe_error(error)}; keep what cannot be copied outside the network"
        ) from error
    _store_weights(copied)
    for module in copied.modules():
        clear_other_hooks(module)
    return copied


def _inside(module: nn.Module) -> nn.Module | None:
    """Return what a wrapper wraps, None for any other module."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
        return module.module
    return (
        dict(module.named_children()).get("_orig_mod") if type(module).__module__.startswith("torch._dynamo") else None
    )


def _refuse_hidden_state(model: nn.Module) -> None:
    for kind, hook in find_global_hooks():
        raise _refusal(f"a global {_KINDS[kind]}", hook, "all modules")
    for path, module in model.named_modules():
        where = repr(path) if path else type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"model: {where} is TorchScript, which has no Python code to trace; "
                "give the network that it was made from, with its state_dict()"
            )
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise ModelError(f"model: {where} has weights without values yet; call the network on one batch first")
        for kind, hook in find_hooks(module):
            if not isinstance(hook, _WEIGHT_HOOKS):
                raise _refusal(f"the {_KINDS[kind]}", hook, where)
        if _inside(module) is None:
            for name, function in _replaced(module, module is model):
                raise _refusal(f"the {name}() that was put in the place of its own,", function, where)


_KINDS = {"forward_pre": "forward pre-hook", "forward": "forward hook"}


def _replaced(module: nn.Module, root: bool) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield methods that one object, or a class of torch, has in the place of those of its class.

    A module of the user is traced by what it calls, so that its own are followed; a module of torch, and the whole
    network, are known by their class.
    """
    kind = type(module)
    if kind.__module__.startswith("torch.nn."):
        known = {name for name in vars(module) if callable(getattr(kind, name, None))} - {*dir(nn.Module)} | {"forward"}
        if not is_parametrized(module) and not kind.forward.__module__.startswith("torch."):
            yield "forward", kind.forward
    else:
        known = {"forward"} if root else set()
    yield from ((name, vars(module)[name]) for name in sorted(known & vars(module).keys()))


def _refusal(what: str, function: Any, where: str) -> ModelError:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__qualname__).replace("<locals>.", "")
    code = getattr(function, "__code__", None)
    line = f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code is not None else ""
    return ModelError(
        f"model: {what} {name!r}{line} of {where} computes outside the code of the network, where it can be neither "
        "traced nor exported; remove it, and do the same in forward()"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Computed:
    """A weight that a module computes in each call, and the tensors that it is computed from."""

    module: nn.Module
    name: str
    value: Tensor
    sources: tuple[Tensor, ...]
    hook: Any = None
    """The forward pre-hook that computes it; None where a parametrisation does."""


def _store_weights(copied: nn.Module) -> None:
    """Replace all weights that are computed in each call; all are computed before any is replaced."""
    with torch.no_grad():
        found = [weight for module in list(copied.modules()) for weight in _computed(module)]
    made: dict[tuple[int, ...], nn.Parameter] = {}
    for weight in found:
        module, name = weight.module, weight.name
        parameter = nn.Parameter(weight.value.detach().clone(), requires_grad=weight.value.is_floating_point())
        parameter = made.setdefault(tuple(map(id, weight.sources)), parameter)
        if not torch.equal(parameter, weight.value):  # the same tensors under another mask
            parameter = nn.Parameter(weight.value.detach().clone())
        if weight.hook is not None:
            weight.hook.remove(module)
            remove_pre_hook(module, weight.hook)
            setattr(module, name, parameter)
            continue
        # Copies of a parametrised layer have one class in common with it, so that the class must stay as it is.
        if is_parametrized(module):
            module.__class__ = type(module).__bases__[0]
            del module.parametrizations
        if any(isinstance(source, nn.Parameter) for source in weight.sources):
            module.register_parameter(name, parameter)
        else:
            module.register_buffer(name, parameter.detach())  # as it was: statistics of a batch norm, say


def _computed(module: nn.Module) -> Iterator[_Computed]:
    lists = dict(module.parametrizations.items()) if is_parametrized(module) else {}  # type: ignore[union-attr, operator]
    for name, made in lists.items():
        sources = (*made.parameters(recurse=False), *made.buffers(recurse=False))
        yield _Computed(module=module, name=name, value=getattr(module, name), sources=sources)
    for _, hook in find_hooks(module):
        if isinstance(hook, BasePruningMethod):
            name, value = find_pruned_name(hook), hook.apply_mask(module)  # type: ignore[no-untyped-call]
        elif isinstance(hook, SpectralNorm):
            name, value = hook.name, hook.compute_weight(module, do_power_iteration=False)
        elif isinstance(hook, WeightNorm):
            name, value = hook.name, hook.compute_weight(module)
        else:
            continue
        named = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        sources = tuple(t for n, t in named if n.startswith(f"{name}_"))
        yield _Computed(module=module, name=name, value=value, sources=sources, hook=hook)
