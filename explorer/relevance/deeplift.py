"""DeepLIFT (rescale rule) at all layers at once: one forward pass of images and references, one backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.errors import RelevanceError
from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.aggregation import aggregate
from explorer.relevance.build import as_array, build_relevance
from explorer.relevance.deeplift_run import Paired, PairedRun, find_missing_rules
from explorer.relevance.multipliers import compute_weight_multipliers, sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import LayerRelevance, Relevance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attributed:
    """What one pass gives for a part of the sample.

    By layer: `multipliers` (of its output), `differences` (of its output from the reference's), `inputs`, and
    `input_multipliers` (of what this layer makes of its input, not what others do). At the network's inputs:
    `contributions` (of the shape of each). `missed` are |sum of contributions at all inputs - output difference| of
    each image, `changes` |output difference|.
    """

    multipliers: dict[str, Tensor]
    differences: dict[str, Tensor]
    inputs: dict[str, Tensor]
    input_multipliers: dict[str, Tensor]
    contributions: tuple[Tensor, ...]
    missed: Tensor
    changes: Tensor


def deeplift(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return DeepLIFT (rescale rule) of what the sample explains, at every layer's output.

    Products of two activations share their difference evenly, softmax and norms are taken apart into such steps, so
    that every operation whose rule is known adds up.

    Raises:
        RelevanceError: When the contributions at the inputs miss the output difference by more than the sample's
            tolerance, relative.

    Source:
        Shrikumar et al., 2017.
    """
    sums: dict[str, list[Tensor]] = {}
    tables: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in sample.graph.layer_names}
    missed, changes, done = [], [], 0
    for part in sample.batches():
        found = attribute(part)
        missed.append(found.missed)
        changes.append(found.changes)
        for name in sample.graph.layer_names:
            module = layer_module(sample.model, name)
            contributions = found.multipliers[name] * found.differences[name]
            tables[name].append((sum_per_channel(module, contributions), sum_per_channel(module, contributions.abs())))
            both = [
                compute_weight_multipliers(module, found.inputs[name], found.multipliers[name]),
                sum_per_channel(module, found.input_multipliers[name].abs()).sum(0),
            ]
            sums[name] = [a + b for a, b in zip(sums[name], both, strict=True)] if name in sums else both
        done += len(part)
        if progress is not None:
            progress(done, len(sample))
    completeness = float(torch.cat(missed).mean() / torch.cat(changes).mean().clamp_min(1e-12))
    refuse_incomplete(sample, completeness, find_missing_rules(sample.model))
    layers = []
    for name in sample.graph.layer_names:
        contributed, magnitudes = (as_array(torch.cat(table)) for table in zip(*tables[name], strict=True))
        layers.append(
            LayerRelevance(
                layer=name,
                filter_scores=aggregate(contributed, magnitudes, sample.aggregation),
                weight_multipliers=as_array(sums[name][0] / len(sample)),
                input_multipliers=as_array(sums[name][1] / len(sample)),
                contributions=contributed,
                magnitudes=magnitudes,
            )
        )
    return build_relevance(sample, "deeplift", tuple(layers), completeness)


def attribute(sample: Sample) -> Attributed:
    """Run one forward and one backward pass over the whole sample."""
    model, names = sample.model.eval(), sample.graph.layer_names
    run = PairedRun(model, names)
    inputs = tuple(tensor.detach().requires_grad_() for tensor in sample.inputs)
    with torch.enable_grad():
        output = run.run(*map(Paired, inputs, sample.references))
        explained = (output.x * sample.directions).sum()
        given, read = [run.watched.given[name].x for name in names], [run.watched.read[name] for name in names]
        wanted = [*given, *read, *inputs]
        found = torch.autograd.grad(explained, wanted, allow_unused=True)
    multipliers = [torch.zeros_like(a) if m is None else m for m, a in zip(found, wanted, strict=True)]
    with torch.no_grad():
        pairs = zip(multipliers[2 * len(names) :], inputs, sample.references, strict=True)
        contributions = tuple(m * (x - reference) for m, x, reference in pairs)
        changed = ((output.x - output.reference) * sample.directions).flatten(1).sum(1)
        differences = {name: run.watched.given[name].x - run.watched.given[name].reference for name in names}
    return Attributed(
        multipliers=dict(zip(names, multipliers, strict=False)),
        differences=differences,
        inputs={name: run.watched.read[name].detach() for name in names},
        input_multipliers=dict(zip(names, multipliers[len(names) :], strict=False)),
        contributions=contributions,
        missed=(sum_contributions(contributions) - changed).abs(),
        changes=changed.abs(),
    )


def sum_contributions(contributions: tuple[Tensor, ...]) -> Tensor:
    """Return what all elements of all inputs contribute in sum to each image (N)."""
    sums: Tensor = sum(each.flatten(1).sum(1) for each in contributions)  # type: ignore[assignment]
    return sums


def refuse_incomplete(sample: Sample, completeness: float, without_rule: tuple[str, ...]) -> None:
    """Raise RelevanceError when contributions do not add up, naming what has no rule."""
    if completeness <= sample.tolerance:
        return
    if without_rule:
        more = f" and {len(without_rule) - 3} more" if len(without_rule) > 3 else ""
        reason = f"there is no rule for {', '.join(without_rule[:3])}{more}"
    else:
        reason = "every operation has a rule, but not every one of its uses"
    raise RelevanceError(
        f"relevance: DeepLIFT is not complete on this network: contributions miss the output difference by "
        f"{completeness:.2g} (relative), the tolerance is {sample.tolerance:g}; {reason}: replace what is "
        "not covered, or set relevance.tolerance if you accept wrong scores"
    )
