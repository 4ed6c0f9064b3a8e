"""Scales next to those of a network with which float32 rounds its sums as whole numbers do."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from explorer.compress.activations import input_quantizer
from explorer.compress.compiled.codes import NEAR, Borders, Target
from explorer.compress.compiled.rules import find_target
from explorer.compress.weights import attach_codes, get_codes, has_codes

SHARE, MOVES = 2.0**-21, 16
"""Share of a scale that it is moved by at once, and how often it may be (assumed: 8 millionths are no bit of 16)."""
ROOM = 2e-5
"""Steps of an activation that float32 may be wrong by: next to 155 its numbers are 1.5e-5 apart (rounded up)."""
WORST = 4
"""Sums on the wrong side count as at most so many of those on the border (assumed)."""


def clear_borders(model: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a compressed network whose codes are the same, with weights' scales moved off the borders.

    A Quant adds its zero point in float32, which cannot tell then on which side of a border between two codes a sum
    lies that is next to it. Such sums are moved away from the border, the frequent ones near 0 before others.
    Scales that are powers of two stay, since sums of those are exact.
    """
    moved = copy.deepcopy(model).cpu()
    for node in moved.graph.nodes:
        module = moved.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is None or not has_codes(module) or bool((torch.frexp(get_codes(module)[1])[0] == 0.5).all()):
            continue
        found = find_target(moved, node, packed=False)
        if found is not None:
            _clear(module, float(input_quantizer(moved, node).scale), found[1])
    return moved


def _clear(module: nn.Conv2d | nn.Linear, source: float, to: Target) -> None:
    codes, scale = get_codes(module)
    biases = torch.zeros(len(scale)) if module.bias is None else module.get_buffer("bias_codes")
    unit = scale.double() * source / to.grid.scale
    borders = Borders.find(unit, to, biases.double(), NEAR + SHARE * MOVES)
    steps = torch.tensor(sorted(range(-MOVES, MOVES + 1), key=abs), dtype=torch.float64)
    tried = (scale * (1 + SHARE * steps[:, None])).float()  # moves x filters
    real = borders.sums * unit[borders.filters]
    half = torch.floor(real) + 0.5
    after = borders.sums * (tried.double() * source / to.grid.scale)[:, borders.filters]
    away = (after - half) * torch.sign(borders.codes - half)
    bad = (1 - away / ROOM).clamp(0, WORST) / (1 + borders.codes.abs()) ** 2
    best = bad.new_zeros(tried.shape).index_add_(1, borders.filters, bad).argmin(0, keepdim=True)
    chosen: Tensor = tried.gather(0, best)[0]
    attach_codes(module, codes, chosen)
    if module.bias is not None:
        module.bias = nn.Parameter((biases * (chosen.double() * source)).float(), requires_grad=False)
