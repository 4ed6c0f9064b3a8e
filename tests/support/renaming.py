"""A network with the names of its modules, parameters and buffers changed, its code left as it is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn


def renamed(model: nn.Module, names: Sequence[str], draw: random.Random) -> nn.Module:
    """Rename, in place, all that the classes of a user hold, level by level, to names drawn from `names`.

    `forward` goes on reading the old names: attributes that are not found are looked up under the new ones. Names that
    were in use before stay so.
    """
    old = {part for path in (*dict(model.named_modules()), *model.state_dict()) for part in path.split(".")}
    names = [name for name in names if name not in old]
    for module in [*model.modules()]:
        if isinstance(module, nn.Sequential):
            _rename(module._modules, draw.sample(names, len(module)))
        elif not type(module).__module__.startswith("torch."):
            registered = (module._modules, module._parameters, module._buffers)
            new = iter(draw.sample(names, sum(len(each) for each in registered)))
            mapping = {old: name for each in registered for old, name in _rename(each, new).items()}
            module.__class__ = _reading(type(module), mapping)
    return model


def _rename(registered: dict[str, Any], names: Iterator[str] | Sequence[str]) -> dict[str, str]:
    mapping = dict(zip(registered, names, strict=False))
    values = [registered.pop(old) for old in mapping]
    registered.update(zip(mapping.values(), values, strict=True))
    return mapping


def _reading(kind: type[nn.Module], mapping: dict[str, str]) -> type[nn.Module]:
    def look_up(self: nn.Module, name: str) -> Any:
        return nn.Module.__getattr__(self, mapping.get(name, name))

    return type(kind.__name__, (kind,), {"__getattr__": look_up})
