"""Which pixels a filter's relevance comes from: DeepLIFT from one filter's contribution back to the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from explorer.errors import RelevanceError
from explorer.graph.layers import ModelGraph
from explorer.relevance.build import layer_of
from explorer.relevance.deeplift import parts_of, refuse_incomplete
from explorer.relevance.deeplift_run import Pair, PairedRun, rules_missing
from explorer.relevance.sample import Sample
from explorer.settings.rules import suggestion

Filter = tuple[str, int]
"""(layer, index of an output channel or feature)."""


def pixel_contributions(sample: Sample, filters: Sequence[Filter]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What each pixel contributes to what the sample explains: (in all, through each of the filters).

    Each is N x C x H x W. DeepLIFT's multipliers at the filter's output are held as constants, so that what the filter
    contributes is linear in its output, and go back from there to the image by the rescale rule (Shrikumar et al.,
    2017): over the pixels of an image they add up to the filter's contribution, and those in all to the difference
    from the reference. RelevanceError for a filter that there is not, and when the latter misses by more than the
    sample's tolerance, relative.
    """
    for name, index in filters:
        refuse_unknown(sample.graph, name, index)
    parts, missed, changes = zip(*(_of_part(part, filters) for part in parts_of(sample)), strict=True)
    completeness = float(torch.cat(missed).mean() / torch.cat(changes).mean().clamp_min(1e-12))
    refuse_incomplete(sample, completeness, rules_missing(sample.model))
    whole, *single = (torch.cat(maps) for maps in zip(*parts, strict=True))
    return whole, tuple(single)


def refuse_unknown(graph: ModelGraph, name: str, index: int) -> None:
    """Raise RelevanceError unless the network has that layer, and the layer a filter of that index."""
    if name not in graph.layer_names:
        hint = suggestion(name, graph.layer_names)
        raise RelevanceError(f"filter {name}:{index}: no layer is called {name!r}; {hint}")
    last = graph.layer(name).out_channels - 1
    if not 0 <= index <= last:
        raise RelevanceError(f"filter {name}:{index}: expected an index in 0..{last}, received {index}")


def chosen(sample: Sample, indices: Sequence[int]) -> Sample:
    """Some images of the sample, in this order, each with the reference that it has there."""
    some = torch.tensor(indices, dtype=torch.long, device=sample.images.device)
    tensors = ("images", "labels", "references", "directions", "explained")
    return replace(sample, **{key: getattr(sample, key)[some] for key in tensors})


def _of_part(sample: Sample, filters: Sequence[Filter]) -> tuple[list[Tensor], Tensor, Tensor]:
    """(maps in all and through each filter, |what those in all miss| of each image, |what they are to add up to|)."""
    names = tuple(dict.fromkeys(name for name, _ in filters))
    run = PairedRun(sample.model.eval(), names)
    images = sample.images.detach().requires_grad_()
    with torch.enable_grad():
        output = run.run(Pair(images, sample.references))
        explained = (output.x * sample.directions).sum()
        given = {name: run.watched.given[name].x for name in names}
        wanted = [images, *given.values()]
        found = torch.autograd.grad(explained, wanted, retain_graph=True, allow_unused=True)
        multipliers = dict(zip(names, found[1:], strict=True))
        through = [
            _through(given[name], multipliers[name], images, _axis(sample, name), index) for name, index in filters
        ]
    with torch.no_grad():
        difference = images - sample.references
        maps = [torch.zeros_like(difference) if m is None else m * difference for m in (found[0], *through)]
        changed = ((output.x - output.reference) * sample.directions).sum(1)
    return maps, (maps[0].flatten(1).sum(1) - changed).abs(), changed.abs()


def _axis(sample: Sample, name: str) -> int:
    """The axis of a layer's output that its filters are along: a linear layer has its features last."""
    return -1 if isinstance(layer_of(sample, name), nn.Linear) else 1


def _through(given: Tensor, multipliers: Tensor | None, images: Tensor, axis: int, index: int) -> Tensor | None:
    """Derivative by the images of what one filter contributes; None where it contributes nothing."""
    if multipliers is None:
        return None
    outputs, constant = given.select(axis, index), multipliers.select(axis, index)
    return torch.autograd.grad(outputs, images, constant, retain_graph=True, allow_unused=True)[0]
