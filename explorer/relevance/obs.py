"""Optimal Brain Surgeon layer by layer: what a layer's output loses without a weight once all others make up for it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from explorer.graph.modules import layer_module
from explorer.graph.unfold import unfold_inputs
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.gradients import WatchedRun
from explorer.relevance.multipliers import PRODUCTS_AT_ONCE, sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance

DAMPING = 0.01
"""Share of the Hessian's mean diagonal added to its diagonal, so that it has an inverse (Frantar et al., 2022)."""
ELEMENTS_AT_ONCE = 2**27
"""Elements of all Hessians gathered in one pass over the sample (assumed: 1 GiB of float64)."""


def obs(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return layer-wise Optimal Brain Surgeon.

    The loss of a layer is half the squared error of its output, summed over positions, mean over images; its Hessian
    by a filter's weights is H = E[X X^T], X being what the filter is multiplied with at each position. Without weight
    w_q, all others at their best, the loss is w_q^2 / (2 [H^-1]_qq), hence the weight multipliers
    1 / sqrt(2 [H^-1]_qq), the same for all filters that read the same inputs. The same formula for all weights of a
    filter at once leaves nothing to adjust: its score is w^T H w / 2, half the energy of its output without the bias,
    kept for each image; H is damped for its inverse only. Says nothing of inputs. In units of the outputs, squared.

    Source:
        Hassibi and Stork, 1993; Dong et al., 2017.
    """
    energies: dict[str, list[Tensor]] = {name: [] for name in sample.graph.layer_names}
    multipliers: dict[str, Tensor] = {}
    passes, done = list(_passes(sample)), 0
    for names in passes:
        hessians: dict[str, Tensor] = {}
        for part in sample.batches():
            run = WatchedRun(sample.model.eval(), names)
            with torch.no_grad():
                run.run(*part.inputs)
                for name in names:
                    module, before = layer_module(sample.model, name), hessians.get(name)
                    hessians[name] = gather(module, run.read[name], len(sample), before)
                    energies[name].append(_energies(module, run.given[name]))
            done += len(part)
            if progress is not None:
                progress(done, len(sample) * len(passes))
        multipliers.update((name, _multipliers(layer_module(sample.model, name), hessians.pop(name))) for name in names)
    layers = []
    for name in sample.graph.layer_names:
        table = torch.cat(energies[name])
        layers.append(
            build_layer_relevance(
                sample, name, weight_multipliers=multipliers[name], contributions=table, magnitudes=table
            )
        )
    return build_relevance(sample, "obs", tuple(layers))


def gather(module: nn.Conv2d | nn.Linear, inputs: Tensor, num_images: int, before: Tensor | None = None) -> Tensor:
    """Return what `before` holds and what these inputs add to it, out of a sample of so many images, in float64.

    The columns themselves (groups x k x fewer than k) where all images have fewer of them than a filter has weights,
    else their second moments (groups x k x k); divided so that both stand for E[X X^T].
    """
    unfolded = inputs[0].numel() * prod(module.weight.shape[2:])
    for some in torch.split(inputs, max(1, PRODUCTS_AT_ONCE // unfolded)):
        found = unfold_inputs(module, some).double() / num_images**0.5
        few = found.shape[2] * num_images < found.shape[1] * len(some)
        if before is None:
            before = found if few else found @ found.mT
        else:
            before = torch.cat((before, found), 2) if few else before.baddbmm_(found, found.mT)
    assert before is not None
    return before


def compute_inverse_diagonal(hessian: Tensor) -> Tensor:
    """Return the diagonal (groups x k) of the inverse of what `gather` holds, damped: H + d I.

    From few columns X: (1 - diag(X (X^T X + d I)^-1 X^T)) / d (Woodbury), so that H itself is never built.
    """
    _, size, places = hessian.shape
    diagonal = hessian.diagonal(dim1=1, dim2=2) if places == size else hessian.square().sum(2)
    damping = (DAMPING * diagonal.mean(1)).clamp_min(torch.finfo(torch.float32).tiny)[:, None, None]
    square = hessian if places == size else hessian.mT @ hessian
    factor = torch.linalg.cholesky(square + damping * torch.eye(places, dtype=square.dtype, device=square.device))
    if places == size:
        inverse: Tensor = torch.cholesky_inverse(factor)
        return inverse.diagonal(dim1=1, dim2=2)
    explained: Tensor = torch.linalg.solve_triangular(factor, hessian.mT, upper=False).square().sum(1)
    return (1.0 - explained) / damping[:, :, 0]


def _multipliers(module: nn.Conv2d | nn.Linear, hessian: Tensor) -> Tensor:
    """Return 1 / sqrt(2 [H^-1]_qq), of the shape of the weight."""
    weight = module.weight.detach()
    rows = (2 * compute_inverse_diagonal(hessian)).rsqrt()
    return rows.repeat_interleave(len(weight) // len(rows), 0).view(weight.shape).to(weight)


def _energies(module: nn.Conv2d | nn.Linear, given: Tensor) -> Tensor:
    """Return half the squared output without its bias, summed over positions (images x out_channels)."""
    if module.bias is not None:
        bias = module.bias.detach()
        given = given - (bias if isinstance(module, nn.Linear) else bias[:, None, None])
    return sum_per_channel(module, given.square()) / 2


def _passes(sample: Sample) -> Iterator[list[str]]:
    """Yield the layers in the order of computation, as many at a time as memory is set aside for."""
    names: list[str] = []
    held = 0
    for name in sample.graph.layer_names:
        module = layer_module(sample.model, name)
        groups = 1 if isinstance(module, nn.Linear) else module.groups
        elements = groups * module.weight[0].numel() ** 2
        if names and held + elements > ELEMENTS_AT_ONCE:
            yield names
            names, held = [], 0
        names.append(name)
        held += elements
    yield names
