"""Which weights stay: N:M patterns, the largest of a layer, and the largest of a whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from explorer.compress.candidate import Candidate, is_share, kept_count
from explorer.compress.prune import magnitude_mask
from explorer.errors import CandidateError
from explorer.graph.layers import ModelGraph
from explorer.settings.pattern import group_count, parse_pattern


def weight_mask(weight: Tensor, weight_density: float, pattern: str | None = None) -> Tensor:
    """A mask like `weight` (out x in x ...) that is True for the weights that stay.

    A pattern is applied first; of what it leaves the largest stay, down to the share `weight_density` of all weights of
    the layer. Where the pattern leaves no more than that, `weight_density` changes nothing. Ties go by position.
    """
    if pattern is None:
        return magnitude_mask(weight, weight_density)
    left = pattern_mask(weight, pattern)
    count = kept_count(weight_density, weight.numel())
    if count >= int(left.sum()):
        return left
    # Below any magnitude: what the pattern removes comes behind what is zero by itself.
    magnitudes = torch.where(left, weight.abs(), torch.full_like(weight, -1.0)).flatten()
    mask = torch.zeros_like(magnitudes, dtype=torch.bool)
    mask[torch.sort(magnitudes, descending=True, stable=True).indices[:count]] = True
    return mask.view_as(weight)


def pattern_mask(weight: Tensor, pattern: str) -> Tensor:
    """A mask like `weight` (out x in x ...) of an "n:m" pattern: of every m weights the n of largest magnitude.

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


def layer_weights(model: fx.GraphModule, graph: ModelGraph) -> dict[str, Tensor]:
    """The weight of every layer that has its own, in the order of computation."""
    return {name: model.get_submodule(name).get_parameter("weight").detach() for name in graph.weight_owners}


def global_kept_weights(weights: Mapping[str, Tensor], share: float) -> dict[str, float]:
    """The share of each layer that stays when only a share of all weights does, the largest of the whole network.

    One threshold for all layers ("global magnitude" pruning of Blalock et al., 2020); ties go by the order of layers
    and by position. At least one weight of every layer stays, so that the network computes
    something: only then is the sum larger than `share` says. A share given to `weight_mask` keeps exactly these.
    Raises CandidateError for a share that is not in (0, 1].
    """
    if not is_share(share):
        raise CandidateError(f"kept weights: expected a share in (0, 1] of all weights, received {share!r}")
    if not weights:
        return {}
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    owners = torch.arange(len(weights)).repeat_interleave(torch.tensor([w.numel() for w in weights.values()]))
    order = torch.sort(magnitudes, descending=True, stable=True).indices[: kept_count(share, len(magnitudes))]
    counts = torch.bincount(owners.to(order.device)[order], minlength=len(weights)).tolist()
    return {name: max(1, count) / weight.numel() for (name, weight), count in zip(weights.items(), counts, strict=True)}


def prune_globally(candidate: Candidate, weights: Mapping[str, Tensor], share: float) -> Candidate:
    """The candidate with the `weight_density` of global magnitude pruning, all else as it is.

    `weights` are those of `layer_weights(context.model, context.graph)`: unfolded, and of filters that are removed too.
    """
    shares = global_kept_weights(weights, share)
    layers = tuple(replace(choice, weight_density=shares[choice.layer]) for choice in candidate.layers)
    return replace(candidate, layers=layers)
