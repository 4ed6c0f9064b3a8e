"""Round the weights of a layer together, so that their errors cancel in the layer's output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explorer.graph.unfold import unfold_inputs

DAMPING = 0.01
"""Share of the inputs' mean second moment added to each, so that weights that no image excites stay where they are
(Frantar et al., 2022)."""
PRECISION = 1e-5
"""Share of the inputs' mean square added to each second moment: what float32 leaves uncertain of them (assumed)."""
STARTS = (0.9, 1.0, 1.1, 1.2)
"""Scales from which rounding starts, in units of the scale of least weight error (measured on ResNet-20 at 2 to 4
bits: 16 starts from 0.5 to 2 reach an output error at most 2 % lower)."""
ROUNDS, SWEEPS = 4, 3
"""Fits of the scale, and passes over the weights between them (assumed: few codes still change after them)."""
IMAGES_AT_ONCE = 64
"""Images unfolded at a time."""

Project = Callable[[Tensor], Tensor]
"""Real-valued codes (groups x rows x k) to the nearest admissible ones."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Second moments of what the filters of a layer read, over images and positions, for each of its groups.

    `received` (groups x k x k, float64) is E[x x^T] of the compressed layer's inputs x, `wanted` (same shape)
    E[x y^T] with the inputs y that the float layer has in the same place; k is the number of weights of a filter.
    """

    received: Tensor
    wanted: Tensor


def compute_moments(module: nn.Conv2d | nn.Linear, received: Tensor, wanted: Tensor, *, centred: bool) -> Moments:
    """Return the second moments of a layer's inputs (both N x ..., of any type); `centred` about their means.

    Centred moments do not count a constant shift of the output: a batch norm or a corrected bias takes it away. What
    is left of inputs that hardly vary is far below the squares, so that these are summed in float64: in float32 the
    moments of constant inputs are not positive.
    """
    squares, products, means = [], [], []
    for start in range(0, len(received), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        x = unfold_inputs(module, received[part].double())
        y = x if wanted is received else unfold_inputs(module, wanted[part].double())
        squares.append(x @ x.mT)
        products.append(squares[-1] if wanted is received else x @ y.mT)
        means.append((x.sum(2), y.sum(2), x.shape[2]))
    count = sum(entry[2] for entry in means)
    square, product = (torch.stack(parts).sum(0) / count for parts in (squares, products))
    uncertain = PRECISION * square.diagonal(dim1=1, dim2=2).mean(1)
    if centred:
        x_mean, y_mean = (torch.stack(list(sums)).sum(0) / count for sums in list(zip(*means, strict=True))[:2])
        square = square - x_mean[:, :, None] * x_mean[:, None, :]
        product = product - x_mean[:, :, None] * y_mean[:, None, :]
    added = uncertain[:, None, None] * torch.eye(square.shape[1], dtype=square.dtype, device=square.device)
    square = square + added
    return Moments(received=square, wanted=square if wanted is received else product + added)


def find_adaptive_codes(
    weight: Tensor,
    given: Moments,
    scale: Tensor,
    project: Project,
    mask: Tensor | None = None,
    *,
    fixed_scale: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return codes and scales that keep the layer's output, not the single weights, close to the float layer's.

    `weight` is out_channels x ..., `scale` (out_channels) that of least weight error, `project` maps real codes to
    admissible ones, `mask` (of the weight's shape) is False where a code has to be 0. With the weights w' that
    reproduce the float output best on the inputs as they are now, (s q - w')^T H (s q - w') is lowered: from
    several scales s by rounding weight after weight, the error passed on to those not yet rounded (GPTQ; Frantar
    et al., 2022), then by choosing each code anew, given all others, in turn with the least-squares scale. Of
    all starts, nearest rounding at `scale` among them, the best is kept for each filter. With `fixed_scale` the
    scales stay as they are given, and so does the only start. Deterministic.
    """
    groups, size = given.received.shape[:2]
    rows = weight.detach().double().reshape(groups, -1, size)
    damped, target = _damped_target(rows, given)
    free = torch.ones_like(rows) if mask is None else mask.double().reshape(groups, -1, size)
    own = scale.double().reshape(groups, -1)
    order = damped.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True, stable=True)
    starts = (1.0,) if fixed_scale else STARTS
    count = len(starts)
    problem = _Problem(
        target.repeat(1, count, 1), damped, free.repeat(1, count, 1), order.tolist(), project, fixed_scale
    )
    scales = torch.cat([own * start for start in starts], dim=1)
    codes, scales = _improved(problem, _fed_back(problem, scales), scales)
    nearest = project(rows / own[:, :, None]) * free
    codes, scales = torch.cat((codes, nearest), dim=1), torch.cat((scales, own), dim=1)
    errors = _errors(codes, scales, target.repeat(1, count + 1, 1), damped)
    best = errors.view(groups, count + 1, -1).argmin(1)
    chosen = best * rows.shape[1] + torch.arange(rows.shape[1], device=best.device)
    codes = codes.gather(1, chosen[:, :, None].expand(-1, -1, size))
    return codes.reshape(weight.shape).to(weight), scales.gather(1, chosen).flatten().to(weight)


def compute_output_errors(weight: Tensor, codes: Tensor, scale: Tensor, given: Moments) -> Tensor:
    """Return the mean squared error of each filter's output (out_channels), up to what no codes could change.

    All of it where `given.wanted` is `given.received`, as on the float network's own inputs.
    """
    groups, size = given.received.shape[:2]
    damped, target = _damped_target(weight.detach().double().reshape(groups, -1, size), given)
    grouped = codes.double().reshape(groups, -1, size)
    return _errors(grouped, scale.double().reshape(groups, -1), target, damped).flatten()


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Targets and free places (groups x rows x k), second moments (groups x k x k), the order of the columns.

    With `fixed_scale` no scale is fitted.
    """

    target: Tensor
    moments: Tensor
    free: Tensor
    order: list[int]
    project: Project
    fixed_scale: bool

    def code(self, real: Tensor, column: int) -> Tensor:
        """Return admissible codes of one column (groups x rows)."""
        return self.project(real[:, :, None])[:, :, 0] * self.free[:, :, column]


def _damped_target(rows: Tensor, given: Moments) -> tuple[Tensor, Tensor]:
    """Return damped second moments, and the weights that give the float output best on the inputs received."""
    size = given.received.shape[1]
    mean = given.received.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(torch.float32).tiny)
    ridge = DAMPING * mean[:, None, None] * torch.eye(size, dtype=torch.float64, device=rows.device)
    damped = given.received + ridge
    if given.wanted is given.received:
        return damped, rows
    return damped, torch.linalg.solve(damped, (given.wanted + ridge) @ rows.mT).mT


def _fed_back(problem: _Problem, scales: Tensor) -> Tensor:
    """Round column after column, each error spread over the columns still to come as the moments ask."""
    order = torch.tensor(problem.order, device=scales.device)
    ordered = problem.moments[:, order][:, :, order]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(ordered))
    upper = torch.linalg.cholesky(inverse, upper=True)
    rest, codes = problem.target[:, :, order].clone(), torch.zeros_like(problem.target)
    for place, column in enumerate(problem.order):
        code = problem.code(rest[:, :, place] / scales, column)
        codes[:, :, column] = code
        error = (rest[:, :, place] - code * scales) / upper[:, place, place, None]
        rest[:, :, place:] -= error[:, :, None] * upper[:, None, place, place:]
    return codes


def _improved(problem: _Problem, codes: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Fit scales and choose codes one at a time, in turn; the error never grows."""
    if problem.fixed_scale:
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
    curvature = problem.moments.diagonal(dim1=1, dim2=2)
    for _ in range(SWEEPS):
        changed = False
        for column in problem.order:
            wish = codes[:, :, column] - slope[:, :, column] / (scales * curvature[:, column, None])
            change = problem.code(wish, column) - codes[:, :, column]
            if bool(change.any()):
                changed = True
                codes[:, :, column] += change
                slope += (change * scales)[:, :, None] * problem.moments[:, None, column]
        if not changed:
            return


def _fitted(problem: _Problem, codes: Tensor, scales: Tensor) -> Tensor:
    """Return the least-squares scale for these codes; as it was where the codes are zero or point the other way."""
    weighted = codes @ problem.moments
    product, square = (weighted * problem.target).sum(2), (weighted * codes).sum(2)
    return torch.where((product > 0) & (square > 0), product / square.where(square > 0, square + 1), scales)


def _errors(codes: Tensor, scales: Tensor, target: Tensor, damped: Tensor) -> Tensor:
    change = codes * scales[:, :, None] - target
    return ((change @ damped) * change).sum(2)
