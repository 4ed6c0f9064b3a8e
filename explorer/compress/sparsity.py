"""Which weights stay: N:M patterns, and the largest of a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.compress.candidate import LayerChoice
from explorer.compress.plan import count_kept
from explorer.settings.pattern import group_count, parse_pattern


def mask_largest(scores: Tensor, count: int) -> Tensor:
    """Return a mask like `scores` that is True for the `count` largest of them, ties by position."""
    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[torch.sort(scores.flatten(), descending=True, stable=True).indices[:count]] = True
    return mask.view_as(scores)


def mask_weights(weight: Tensor, choice: LayerChoice) -> Tensor:
    """Return a mask like `weight` (out x in x ...) that is True for the weights that stay.

    A pattern is applied first; of what it leaves the largest stay, down to the share `weight_density` of all weights of
    the layer. Where the pattern leaves no more than that, `weight_density` changes nothing. Ties go by position.
    """
    count, magnitudes = count_kept(choice.weight_density, weight.numel()), weight.abs()
    if choice.pattern is not None:
        left = mask_pattern(weight, choice.pattern)
        if count >= int(left.sum()):
            return left
        # Below any magnitude: what the pattern removes comes behind what is zero by itself.
        magnitudes = torch.where(left, magnitudes, -1.0)
    return mask_largest(magnitudes, count)


def mask_pattern(weight: Tensor, pattern: str) -> Tensor:
    """Return a mask like `weight` (out x in x ...) of an "n:m" pattern: of every m weights the n of largest magnitude.

    The m weights of a group are consecutive along the input channels (of one group of the convolution), at one
    position of the kernel, or along the input features: the axis of summation that sparse matrix units skip along
    (Mishra et al., 2021, "Accelerating Sparse Deep Neural Networks"). A shorter group at the end of a row keeps n/m of
    it, rounded up. Ties go by position. Exactly `pattern_count` entries are True.
    """
    _, of = parse_pattern(pattern)
    rows = weight.abs().movedim(1, -1)
    length = rows.shape[-1]
    groups = F.pad(rows, (0, -length % of), value=-1.0).reshape(*rows.shape[:-1], -1, of)
    rank = groups.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    sizes = [min(of, length - start) for start in range(0, length, of)]
    kept = torch.tensor([group_count(pattern, size) for size in sizes], device=weight.device)
    mask: Tensor = (rank < kept[:, None]).flatten(-2)[..., :length]
    return mask.movedim(-1, 1).contiguous()
