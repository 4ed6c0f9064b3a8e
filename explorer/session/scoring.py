"""How well a network does on images, from Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from explorer.allocator import keep_freed_memory
from explorer.compress.shorten import EXAMPLES
from explorer.errors import DataError, ModelError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY, Score, ScoreFunction, score_images
from explorer.graph.inputs import take
from explorer.graph.symbolic import call
from explorer.session.compressed import Compressed
from explorer.session.network import count_classes, make_score
from explorer.session.samples import read_samples
from explorer.settings import ComputeSettings


def score(
    model: Compressed | nn.Module,
    data: Any = None,
    targets: Any = None,
    *,
    function: ScoreFunction | Score | None = None,
) -> MeanScore:
    """Return the mean score of a network with its standard error, of right or wrong unless `function` says otherwise.

    `data` and `targets` as for `open`. A compressed network is scored by its own function, and on its held-out
    images where no others are given.

    Example:
        >>> import explorer, torch
        >>> images, values = torch.rand(20, 1, 4, 4), torch.rand(20, 2)
        >>> def closeness(outputs, targets):
        ...     return 1 / (1 + (outputs - targets).square().mean(1))
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> explorer.score(model, images, values, function=closeness).num_images
        20
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"score: expected a network, received {type(model).__name__}; a point's is point.build()")
    if data is None and not isinstance(model, Compressed):
        raise DataError("score: expected images to score the network on, received none")
    keep_freed_memory()
    given = model.net if isinstance(model, Compressed) else None
    images = given.data.held_out if data is None and given is not None else read_samples("images", data, targets)
    torch_device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    wanted = given.score if function is None and given is not None else make_score(function)
    if given is not None and wanted is given.score:
        inputs, wished = given.network.as_scored(images, ComputeSettings().batch_size).scored(torch_device)
    else:
        inputs, wished = images.tensors(torch_device)
    with evaluating(model):
        example = take(inputs, slice(EXAMPLES))
        if wanted is ACCURACY:
            count_classes(model, example, {"images": images})
        else:
            call(model, example)
        return MeanScore.of(score_images(model, inputs, wished, ComputeSettings().batch_size, wanted))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Keep a model in evaluation mode, and leave each of its modules in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def accuracy(model: nn.Module, data: Any = None, targets: Any = None) -> MeanScore:
    """Return the share of images whose largest logit is that of their label, with its standard error.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Flatten()  # two pixels as logits
        >>> explorer.accuracy(model, torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), [0, 0]).value
        0.5
    """
    return score(model, data, targets, function=ACCURACY)
