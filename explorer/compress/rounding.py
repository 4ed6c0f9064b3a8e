"""Solve, prune and round the weights of a layer together, so that errors cancel in the layer's output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.compress.moments import Moments

DAMPING = 0.01
"""Share of the inputs' mean second moment added to each, so that weights that no image excites stay where they are
(Frantar et al., 2022)."""
STARTS = (0.9, 1.0, 1.1, 1.2)
"""Scales from which rounding starts, in units of the scale of least weight error (measured on ResNet-20 at 2 to 4
bits: 16 starts from 0.5 to 2 reach an output error at most 2 % lower)."""
ROUNDS, SWEEPS = 4, 3
"""Fits of the scale, and passes over the weights between them (assumed: few codes still change after them)."""
BLOCK = 64
"""Columns whose codes are looked at together, which changes nothing but the time."""
TOLERANCE, MOST_STEPS = 1e-8, 60
"""Share of the squared residual at which conjugate gradients end, and the steps after which they do (assumed)."""

Project = Callable[[Tensor], Tensor]
"""Real-valued codes (groups x rows x k) to the nearest admissible ones."""


def solve_weights(weight: Tensor, given: Moments) -> Tensor:
    """Return the weights (out_channels x kept inputs x ...) that come closest to the float layer's outputs.

    `weight` (out_channels x all inputs x ...) is the float layer's. Lowers E|w' x - w y|^2 plus a share of the inputs'
    mean second moment times the squared distance to the weights that are kept: DAMPING, and the number of weights of a
    filter over that of samples, which is the best there is where half of what is solved for can be explained (Hoerl
    and Kennard, 1970), so that a layer with more inputs than there are images hardly moves.
    """
    groups, size = given.received.shape[:2]
    share = DAMPING + (size / given.samples if given.samples else 0.0)
    _, target = _damped_target(weight.detach().double().reshape(groups, -1, given.wanted.shape[2]), given, share)
    return target.reshape(len(weight), -1, *weight.shape[2:]).to(weight)


def solve_masked(weight: Tensor, given: Moments, mask: Tensor) -> Tensor:
    """Return weights that are 0 where `mask` is False, the others moved so that the layer's output changes least.

    `weight` are those of `solve_weights`, and `mask` is of their shape. Every filter has its own places, so that all
    are solved for at once by conjugate gradients, scaled by the diagonal (Hestenes and Stiefel, 1952).
    """
    groups, size = given.received.shape[:2]
    rows = weight.detach().double().reshape(groups, -1, size)
    free = mask.double().reshape(groups, -1, size)
    damped, _ = _damped(given, DAMPING)
    inverse = free / damped.diagonal(dim1=1, dim2=2)[:, None]
    found = rows * free
    rest = ((rows - found) @ damped) * free
    scaled = inverse * rest
    direction, size_before = scaled, (rest * scaled).sum(2, keepdim=True)
    enough = TOLERANCE * size_before
    for _ in range(MOST_STEPS):
        along = (direction @ damped) * free
        curvature = (direction * along).sum(2, keepdim=True)
        step = torch.where(curvature > 0, size_before / curvature.where(curvature > 0, 1 + curvature), 0.0)
        found, rest = found + step * direction, rest - step * along
        scaled = inverse * rest
        size_now = (rest * scaled).sum(2, keepdim=True)
        if bool((size_now <= enough).all()):
            break
        ratio = torch.where(size_before > 0, size_now / size_before.where(size_before > 0, 1 + size_before), 0.0)
        direction, size_before = scaled + ratio * direction, size_now
    return found.reshape(weight.shape).to(weight)


def find_adaptive_codes(
    weight: Tensor,
    given: Moments,
    scale: Tensor,
    project: Project,
    mask: Tensor | None = None,
    *,
    fit: str = "channel",
) -> tuple[Tensor, Tensor]:
    """Return codes and scales that keep the layer's output, not the single weights, close to the float layer's.

    `weight` is out_channels x ..., `scale` (out_channels) that of least weight error, `project` maps real codes to
    admissible ones, `mask` (of the weight's shape) is False where a code has to be 0. With the weights w' that
    reproduce the float output best on the inputs as they are now, (s q - w')^T H (s q - w') is lowered: from
    several scales s by rounding weight after weight, the error passed on to those not yet rounded (GPTQ; Frantar
    et al., 2022), then by choosing each code anew, given all others, in turn with the least-squares scale. Of
    all starts, nearest rounding at `scale` among them, the best is kept for each filter. That is with `fit` "channel":
    with "tensor" `scale` is one and the same, and the layer has one scale, fitted and chosen for all of its filters;
    with "none" the scales stay as they are given, and so does the only start. Deterministic.
    """
    groups, size = given.received.shape[:2]
    rows = weight.detach().double().reshape(groups, -1, given.wanted.shape[2])
    damped, target = _damped_target(rows, given, DAMPING)
    free = torch.ones_like(target) if mask is None else mask.double().reshape(groups, -1, size)
    own = scale.double().reshape(groups, -1)
    order = _order(damped)
    starts = (1.0,) if fit == "none" else STARTS
    count = len(starts)
    problem = _Problem(
        target=target.repeat(1, count, 1),
        moments=damped,
        free=free.repeat(1, count, 1),
        order=order,
        ordered=damped[:, order][:, :, order],
        project=project,
        fit=fit,
        starts=count,
    )
    scales = torch.cat([own * start for start in starts], dim=1)
    codes, scales = _improved(problem, _fed_back(problem, scales), scales)
    nearest = project(given.keep(rows) / own[:, :, None]) * free
    codes, scales = torch.cat((codes, nearest), dim=1), torch.cat((scales, own), dim=1)
    errors = _errors(codes, scales, target.repeat(1, count + 1, 1), damped).view(groups, count + 1, -1)
    best = (_sum_filters(errors) if fit == "tensor" else errors).argmin(1)
    chosen = best * rows.shape[1] + torch.arange(rows.shape[1], device=best.device)
    codes = codes.gather(1, chosen[:, :, None].expand(-1, -1, size))
    return codes.reshape(len(weight), -1, *weight.shape[2:]).to(weight), scales.gather(1, chosen).flatten().to(weight)


def compute_output_errors(weight: Tensor, codes: Tensor, scale: Tensor, given: Moments) -> Tensor:
    """Return the mean squared error of each filter's output (out_channels), up to what no codes could change.

    All of it where `given.wanted` is `given.received`, as on the float network's own inputs.
    """
    groups, size = given.received.shape[:2]
    damped, target = _damped_target(weight.detach().double().reshape(groups, -1, size), given, DAMPING)
    grouped = codes.double().reshape(groups, -1, size)
    return _errors(grouped, scale.double().reshape(groups, -1), target, damped).flatten()


def compute_feedback_share(given: Moments) -> float:
    """Return the share of the squared output error of nearest rounding that error feedback leaves (above 0, up to 1).

    At fine steps errors of nearest rounding are independent of each other and count the second moment of what they
    multiply; passed on to the weights still to come, in the order in which these are rounded, each counts what of its
    input no later ones explain: the pivots of the moments' Cholesky decomposition (Frantar et al., 2022).
    """
    damped, _ = _damped(given, DAMPING)
    order = _order(damped)
    pivots = torch.linalg.cholesky(damped[:, order.flip(0)][:, :, order.flip(0)]).diagonal(dim1=1, dim2=2).square()
    return float(pivots.mean() / damped.diagonal(dim1=1, dim2=2).mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """Targets and free places (groups x rows x k), second moments (groups x k x k), the order of the columns.

    The moments are there as they come and `ordered`. `fit` is what has a scale of its own; the rows are those of all
    filters of a group for each of the `starts` in turn.
    """

    target: Tensor
    moments: Tensor
    free: Tensor
    order: Tensor
    ordered: Tensor
    project: Project
    fit: str
    starts: int


def _damped(given: Moments, share: float) -> tuple[Tensor, Tensor]:
    """Return second moments with a share of their mean added to each, and what is added (groups x 1 x 1)."""
    received = given.received.double()
    mean = received.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(torch.float32).tiny)
    ridge = share * mean[:, None, None]
    return received + ridge * torch.eye(received.shape[1], dtype=torch.float64, device=received.device), ridge


def _order(damped: Tensor) -> Tensor:
    """Return the order in which columns are rounded: what is largest first."""
    return damped.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True, stable=True)


def _damped_target(rows: Tensor, given: Moments, share: float) -> tuple[Tensor, Tensor]:
    """Return damped second moments, and the weights that give the float output best on the inputs received."""
    damped, ridge = _damped(given, share)
    if given.wanted is given.received:
        return damped, rows
    wished = given.wanted.double() @ rows.mT + ridge * given.keep(rows).mT
    return damped, torch.linalg.solve(damped, wished).mT


def _fed_back(problem: _Problem, scales: Tensor) -> Tensor:
    """Round column after column, each error spread over the columns still to come as the moments ask."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.ordered))
    upper = torch.linalg.cholesky(inverse, upper=True)
    rest, free = problem.target[:, :, problem.order], problem.free[:, :, problem.order]
    codes = torch.zeros_like(problem.target)
    for place, column in enumerate(problem.order.tolist()):
        real = rest[:, :, place] / scales
        code = problem.project(real[:, :, None])[:, :, 0] * free[:, :, place]
        codes[:, :, column] = code
        error = (rest[:, :, place] - code * scales) / upper[:, place, place, None]
        rest[:, :, place:] -= error[:, :, None] * upper[:, None, place, place:]
    return codes


def _improved(problem: _Problem, codes: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Fit scales and choose codes one at a time, in turn; the error never grows."""
    if problem.fit == "none":
        _choose_anew(problem, codes, scales)
        return codes, scales
    scales = _fitted(problem, codes, scales)
    for _ in range(ROUNDS):
        _choose_anew(problem, codes, scales)
        scales = _fitted(problem, codes, scales)
    return codes, scales


def _choose_anew(problem: _Problem, codes: Tensor, scales: Tensor) -> None:
    """Choose every code anew given all others, in place, until none changes or SWEEPS are done."""
    slope = (codes * scales[:, :, None] - problem.target) @ problem.moments
    curvature = scales[:, :, None] * problem.moments.diagonal(dim1=1, dim2=2)[:, None]
    chosen, slope, curvature, free = (each[:, :, problem.order] for each in (codes, slope, curvature, problem.free))
    parts = [slice(start, start + BLOCK) for start in range(0, codes.shape[2], BLOCK)]
    for _ in range(SWEEPS):
        changed = [_choose_block(problem, chosen, slope, curvature, free, scales, part) for part in parts]
        if not any(changed):
            break
    codes[:, :, problem.order] = chosen


def _choose_block(
    problem: _Problem, codes: Tensor, slope: Tensor, curvature: Tensor, free: Tensor, scales: Tensor, part: slice
) -> bool:
    """Choose the codes of some columns in turn, and return whether one changed.

    Filters do not depend on each other, and few of their codes change: each goes on at once to its next code that
    does, instead of all of them from column to column.
    """
    codes, bends, free, here = (each[:, :, part] for each in (codes, curvature, free, slope))
    place = torch.arange(codes.shape[2], device=codes.device)
    last = torch.full_like(scales, -1, dtype=torch.int64)
    while True:
        change = problem.project(codes - here / bends) * free - codes
        ahead = (change != 0) & (place > last[:, :, None])
        group, row = ahead.any(2).nonzero(as_tuple=True)
        if not len(row):
            return bool((last >= 0).any())
        first = ahead[group, row].byte().argmax(1)
        last[group, row], step = first, change[group, row, first]
        codes[group, row, first] += step
        slope[group, row] += (step * scales[group, row])[:, None] * problem.ordered[group, part.start + first]


def _fitted(problem: _Problem, codes: Tensor, scales: Tensor) -> Tensor:
    """Return the least-squares scale for these codes; as it was where the codes are zero or point the other way."""
    weighted = codes @ problem.moments
    product, square = (weighted * problem.target).sum(2), (weighted * codes).sum(2)
    if problem.fit == "tensor":
        shape = len(scales), problem.starts, -1
        product, square = (_sum_filters(each.view(shape)).reshape(scales.shape) for each in (product, square))
    return torch.where((product > 0) & (square > 0), product / square.where(square > 0, square + 1), scales)


def _sum_filters(found: Tensor) -> Tensor:
    """Return, for every filter of a start (groups x starts x filters), the sum over all filters of that start."""
    return found.sum((0, 2), keepdim=True).expand_as(found)


def _errors(codes: Tensor, scales: Tensor, target: Tensor, damped: Tensor) -> Tensor:
    change = codes * scales[:, :, None] - target
    return ((change @ damped) * change).sum(2)
