"""Taylor expansions of the loss: of first order, and of second order with the Fisher information as the Hessian."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.gradients import compute_loss_derivatives
from explorer.relevance.multipliers import compute_weight_multipliers, sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import LayerRelevance, Relevance


def taylor(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return the first-order change of the loss without a filter or a weight.

    The loss is the cross-entropy of single images with the class that the sample explains as the label, in nats. A
    filter contributes to an image the sum over positions of its output, before batch norm and activation, times the
    loss's derivative by it; with the aggregation "mean_abs" its score is the mean of the absolute values. With g the
    derivative of an image's loss by a weight, or by an element of an input channel, weight multipliers are E|g| and
    input multipliers E[sum over positions of |g|].

    Source:
        Molchanov et al., 2017, section 2.2.
    """
    return _expanded(sample, 1, progress)


def fisher(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return the second-order change of the loss with E[g g^T] as the Hessian.

    Loss and g as for `taylor`. Errors dW of the weights cost the sum of E[g^2] dW^2 / 2, errors of single elements of
    an input channel likewise: multipliers are sqrt(E[g^2] / 2) and sqrt(E[sum over positions of g^2] / 2). A filter
    costs half the mean square of what it contributes to `taylor` (Theis et al., 2018, section 3). Those halves are the
    contributions kept for each image, without a sign; magnitudes are the same of sums of absolute values.

    Source:
        LeCun et al., 1990.
    """
    return _expanded(sample, 2, progress)


def _expanded(sample: Sample, order: int, progress: Progress | None) -> Relevance:
    names = sample.graph.layer_names
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    done = 0
    for part in sample.batches():
        found = compute_loss_derivatives(part)
        for name in names:
            module = layer_module(sample.model, name)
            contributed = found.given[name] * found.by_given[name]
            parts[name].append((sum_per_channel(module, contributed), sum_per_channel(module, contributed.abs())))
            by_weight = compute_weight_multipliers(module, found.read[name], found.by_given[name], order)
            by_input = sum_per_channel(module, found.by_read[name].abs().pow(order)).sum(0)
            before = sums.get(name, (0, 0))
            sums[name] = before[0] + by_weight, before[1] + by_input
        done += len(part)
        if progress is not None:
            progress(done, len(sample))
    layers = []
    for name in names:
        tables = [torch.cat(table) for table in zip(*parts[name], strict=True)]
        layers.append(_layer(sample, name, order, tables, [each / len(sample) for each in sums[name]]))
    return build_relevance(sample, "taylor" if order == 1 else "fisher", tuple(layers))


def _layer(sample: Sample, name: str, order: int, tables: list[Tensor], means: list[Tensor]) -> LayerRelevance:
    if order == 2:
        tables = [table.square() / 2 for table in tables]
        means = [(mean / 2).sqrt() for mean in means]
    return build_layer_relevance(
        sample,
        name,
        weight_multipliers=means[0],
        input_multipliers=means[1],
        contributions=tables[0],
        magnitudes=tables[1],
    )
