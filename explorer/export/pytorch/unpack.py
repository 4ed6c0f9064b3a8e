"""What the written module does with stored weights; its source becomes a part of that module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def unpack(packed: Tensor, bits: int, codebook: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the int8 codes of a weight (`shape`, output channels first).

    Place i of `codebook` (1 or output channels x values) is stored in bits i * bits to (i + 1) * bits of `packed`
    (uint8), the lowest bit of each byte first.
    """
    count = torch.Size(shape).numel()
    stream = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    places = stream.flatten()[: count * bits].view(count, bits).long() @ 2 ** torch.arange(bits)
    return codebook.expand(shape[0], -1).gather(1, places.view(shape[0], -1)).view(shape)


def load_packed(network: nn.Module, widths: Mapping[str, int], state: dict[str, Any]) -> None:
    """Fill a network with a state dict in which the layers of `widths` have packed codes for their weight."""
    for name, bits in widths.items():
        layer: Any = network.get_submodule(name)
        codes = unpack(state.pop(f"{name}.packed"), bits, state.pop(f"{name}.codebook"), tuple(layer.weight.shape))
        scale = state.pop(f"{name}.weight_scale")
        state[f"{name}.weight"] = codes.float() * scale.view(-1, *(1,) * (codes.ndim - 1))
        layer.register_buffer("weight_codes", codes, persistent=False)
        layer.register_buffer("weight_scale", scale.clone(), persistent=False)
    network.load_state_dict(state)


def place(root: nn.Module, path: str, value: nn.Module | Tensor) -> None:
    """Put a module, or a tensor, at a path such as "layer1.0.conv1"."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in dict(root.named_children()):
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    if isinstance(value, Tensor):
        root.register_buffer(name, value)
    else:
        root.add_module(name, value)
