"""What a node of the graph does with values that are a scale times a tensor."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.compress.compiled.codes import CodeGrid, Target
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import get_codes, has_codes
from explorer.graph.modules import SelectChannels

Function = Callable[..., Any]
ADDITIONS = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
PRODUCTS = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_JOINS = frozenset({torch.cat, torch.concat})
_PICKS = (nn.Flatten, nn.Unflatten, SelectChannels, nn.PixelShuffle, nn.UpsamplingNearest2d)
"""Modules that only take elements from place to place, whatever their type."""
_PICKING_CALLS = frozenset(
    {
        *("reshape", "flatten", "unsqueeze", "squeeze", "permute", "transpose", operator.getitem),
        *(torch.reshape, torch.flatten, torch.unsqueeze, torch.squeeze, torch.permute, torch.transpose),
    }
)
CLIPS = frozenset({nn.ReLU, nn.ReLU6, nn.Hardtanh})
MAXIMA = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)
_HOMOGENEOUS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Upsample)
"""Modules that give c times as much for c times as much, with c > 0."""
_HOMOGENEOUS_CALLS = frozenset({torch.mean, "mean"})


def is_move(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether a node only takes the elements of its operand from place to place, zeros beside them."""
    if module is not None:
        return isinstance(module, _PICKS) or (isinstance(module, nn.Upsample) and module.mode == "nearest")
    if node.target is F.pad:
        given = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | dict(node.kwargs)
        return given.get("mode", "constant") == "constant" and given.get("value") in {None, 0}
    return node.target in _PICKING_CALLS or node.target in _JOINS


def holds_codes(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.Linear]:
    """Return whether this is a layer padded with zeros whose weights are its codes: somebody may have changed them."""
    if not has_codes(module) or (isinstance(module, nn.Conv2d) and module.padding_mode != "zeros"):
        return False
    codes, scale = get_codes(module)
    weight = codes.float() * scale.view(-1, *(1,) * (codes.ndim - 1))
    return torch.equal(weight, module.weight) or bool(weight.isnan().any())


def find_target(model: fx.GraphModule, node: fx.Node, *, packed: bool) -> tuple[fx.Node, Target] | None:
    """Return the quantiser that alone reads a node, through clips it may be, and to which codes it rounds."""
    clips: list[nn.Module] = []
    behind = node
    while len(behind.users) == 1:
        behind = next(iter(behind.users))
        module = model.get_submodule(str(behind.target)) if behind.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            return behind, make_target(module, *clips, packed=packed)
        if module is None or type(module) not in CLIPS:
            return None
        clips.append(module)
    return None


def make_target(quantizer: ActivationQuantizer, *clips: nn.Module, packed: bool) -> Target:
    """Return the codes that a quantiser rounds to, of what was clipped before."""
    ends = torch.tensor([-torch.inf, torch.inf]).to(quantizer.scale)
    for clip in clips:
        ends = clip(ends)
    low, high = torch.round(quantizer(ends) / quantizer.scale).add(quantizer.zero_point).tolist()
    grid = CodeGrid(scale=float(quantizer.scale), zero_point=quantizer.zero_point)
    return Target(grid=grid, low=int(low), high=int(high), packed=packed)


def is_homogeneous(module: nn.Module | None, called: object) -> bool:
    """Return whether a node gives c times as much for c times as much, with any c > 0, in one tensor."""
    if isinstance(module, MAXIMA):
        return not module.return_indices
    return isinstance(module, _HOMOGENEOUS) or called in _HOMOGENEOUS_CALLS


def get_function(node: fx.Node, module: nn.Module | None) -> Function:
    """Return what a node calls."""
    if module is not None:
        return module
    if node.op == "call_method":
        name = str(node.target)
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    assert callable(node.target)
    return node.target
