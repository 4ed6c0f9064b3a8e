"""Which pixels a filter's relevance comes from: DeepLIFT from one filter's contribution back to the inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from explorer.errors import RelevanceError
from explorer.graph.inputs import join
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module
from explorer.relevance.deeplift import refuse_incomplete, sum_contributions
from explorer.relevance.deeplift_run import Paired, PairedRun, find_missing_rules
from explorer.relevance.sample import Sample
from explorer.settings.rules import suggestion

Filter = tuple[str, int]
"""(layer, index of an output channel or feature)."""
Maps = tuple[Tensor, ...]
"""What each element of each input contributes, of the shape of the inputs."""


def compute_pixel_contributions(sample: Sample, filters: Sequence[Filter]) -> tuple[Maps, tuple[Maps, ...]]:
    """Return what each pixel contributes to what the sample explains: (in all, through each of the filters).

    DeepLIFT's multipliers at the filter's output are held as constants, so that what the filter contributes is linear
    in its output, and go back from there to the inputs by the rescale rule (Shrikumar et al., 2017): over all elements
    of all inputs they add up to the filter's contribution, and those in all to the difference from the reference.

    Raises:
        RelevanceError: For a filter that there is not, and when the latter misses by more than the sample's tolerance,
            relative.
    """
    for name, index in filters:
        refuse_unknown(sample.graph, name, index)
    parts, missed, changes = zip(*(_of_part(part, filters) for part in sample.batches()), strict=True)
    completeness = float(torch.cat(missed).mean() / torch.cat(changes).mean().clamp_min(1e-12))
    refuse_incomplete(sample, completeness, find_missing_rules(sample.model))
    whole, *single = (join(maps) for maps in zip(*parts, strict=True))
    return whole, tuple(single)


def refuse_unknown(graph: ModelGraph, name: str, index: int) -> None:
    """Raise RelevanceError unless the network has that layer, and the layer a filter of that index."""
    if name not in graph.layer_names:
        hint = suggestion(name, graph.layer_names)
        raise RelevanceError(f"filter {name}:{index}: no layer is called {name!r}; {hint}")
    last = graph.layer(name).out_channels - 1
    if not 0 <= index <= last:
        raise RelevanceError(f"filter {name}:{index}: expected an index in 0..{last}, received {index}")


def _of_part(sample: Sample, filters: Sequence[Filter]) -> tuple[list[Maps], Tensor, Tensor]:
    """Return (maps in all and through each filter, |what those in all miss| of each image, |what they aim at|)."""
    names = tuple(dict.fromkeys(name for name, _ in filters))
    run = PairedRun(sample.model.eval(), names)
    inputs = tuple(tensor.detach().requires_grad_() for tensor in sample.inputs)
    with torch.enable_grad():
        output = run.run(*map(Paired, inputs, sample.references))
        explained = (output.x * sample.directions).sum()
        given = {name: run.watched.given[name].x for name in names}
        wanted = [*given.values(), *inputs]
        found = torch.autograd.grad(explained, wanted, retain_graph=True, allow_unused=True)
        multipliers = dict(zip(names, found, strict=False))
        through = [
            _through(given[name], multipliers[name], inputs, _axis(sample, name), index) for name, index in filters
        ]
    with torch.no_grad():
        differences = [x - reference for x, reference in zip(inputs, sample.references, strict=True)]
        maps = [
            tuple(torch.zeros_like(d) if m is None else m * d for m, d in zip(each, differences, strict=True))
            for each in (found[len(names) :], *through)
        ]
        changed = ((output.x - output.reference) * sample.directions).flatten(1).sum(1)
    return maps, (sum_contributions(maps[0]) - changed).abs(), changed.abs()


def _axis(sample: Sample, name: str) -> int:
    """Return the axis of a layer's output that its filters are along: a linear layer has its features last."""
    return -1 if isinstance(layer_module(sample.model, name), nn.Linear) else 1


def _through(
    given: Tensor, multipliers: Tensor | None, inputs: tuple[Tensor, ...], axis: int, index: int
) -> tuple[Tensor | None, ...]:
    """Return derivatives by the inputs of what one filter contributes; None where it contributes nothing."""
    if multipliers is None:
        return (None,) * len(inputs)
    outputs, constant = given.select(axis, index), multipliers.select(axis, index)
    return torch.autograd.grad(outputs, inputs, constant, retain_graph=True, allow_unused=True)
