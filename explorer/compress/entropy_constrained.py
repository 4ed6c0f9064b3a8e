"""Integers chosen by how near they are and how few bits they take when coded at their entropy."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 32
"""Rounds of choosing integers and counting them (assumed: few change after ten)."""
COSTS_AT_ONCE = 2**22
"""Costs held at a time: 32 MB."""


def find_entropy_codes(real: Tensor, limit: int, rate: float, relevance: Tensor | None = None) -> Tensor:
    """Return integers in -limit..limit (float, of the shape of `real`) for the real-valued codes of a layer.

    Each becomes the integer c of least (real - c)^2 - rate log2 p(c), with p the shares that the integers have among
    all of the layer, starting from nearest rounding, in turn until nothing changes; one that no code has any more is
    out. `rate` is what a bit may cost in squared steps. With `relevance` (of that shape, not negative) the cost of zero
    is multiplied by a code's relevance over their mean: what is relevant stays, what is not goes. Of equal costs the
    integer nearest to zero counts.

    Source:
        Becking et al., 2022: ECQ, and ECQx with relevance, there of LRP and to a power that holds a wanted sparsity.
    """
    values = torch.arange(-limit, limit + 1, dtype=torch.float64, device=real.device)
    values = values[values.abs().argsort(stable=True)]
    flat = real.detach().double().flatten()
    share = None if relevance is None else relevance.detach().double().flatten()
    if share is not None:
        mean = float(share.mean())
        share = share / mean if mean > 0 else torch.ones_like(share)
    codes = flat.round().clamp(-limit, limit)
    for _ in range(ROUNDS):
        counts = _count(codes, values)
        values, counts = values[counts > 0], counts[counts > 0]
        bits = -torch.log2(counts / counts.sum())
        chosen = _choose(flat, values, rate * bits, share)
        if torch.equal(chosen, codes):
            break
        codes = chosen
    return codes.view_as(real).to(real)


def _count(codes: Tensor, values: Tensor) -> Tensor:
    """Return how often each of `values`, which are all that `codes` may be, occurs."""
    limit = int(values.abs().max())
    return torch.bincount((codes + limit).long(), minlength=2 * limit + 1)[(values + limit).long()]


def _choose(flat: Tensor, values: Tensor, costs: Tensor, share: Tensor | None) -> Tensor:
    """Return of each real code the value of least distance and cost; of zero both count times the code's share."""
    chosen = torch.empty_like(flat)
    at_once = max(1, COSTS_AT_ONCE // len(values))
    for start in range(0, len(flat), at_once):
        part = slice(start, start + at_once)
        total = (flat[part, None] - values).square() + costs
        if share is not None and bool((values == 0).any()):
            total[:, values == 0] *= share[part, None]
        chosen[part] = values[total.argmin(1)]
    return chosen
