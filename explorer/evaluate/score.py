"""How well a network does on each image: right or wrong by its largest logit, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.errors import ModelError, NumericalError, ScoreError
from explorer.evaluate.engine import Runner
from explorer.evaluate.mean_score import MeanScore, tell_score
from explorer.graph.inputs import Inputs
from explorer.graph.lines import apply_to_outputs
from explorer.objectives import LIKENESS_NAME

SUMMED = 1e-4
"""How far the probabilities of an image are from 1 in sum, at most, in float32 (assumed)."""
ScoreFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets), each with one entry for each image -> a score in [0, 1] for each image (N,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score function, and the name that objectives, tables and reports call it by.

    Example:
        >>> import explorer, torch
        >>> def overlap(outputs, targets):
        ...     both, either = (outputs > 0) & targets, (outputs > 0) | targets
        ...     return both.flatten(1).sum(1) / either.flatten(1).sum(1).clamp(min=1)
        >>> iou = explorer.Score(name="iou", function=overlap)
        >>> iou.function(torch.ones(1, 1, 2, 2), torch.tensor([[[[True, False], [True, True]]]]))
        tensor([0.7500])
    """

    name: str
    function: ScoreFunction
    code: str = ""
    """A digest of the function where it is the user's."""
    of_classes: bool = False
    """Whether outputs (N x classes) say how likely each class is, and the largest is what the network predicts."""

    def tell(self, mean: MeanScore) -> str:
        """Return a mean score in words: "97.50% right", or of a function of the user's "iou 75.60%"."""
        return tell_score(self.name, mean)


def largest_logit_is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether each image's largest logit (N x classes) is its label's (N); one with NaN logits is wrong."""
    return (outputs.argmax(1) == targets) & ~outputs.isnan().any(1)


def measure_likeness(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return for each image 1 less the Hellinger distance of its classes' probabilities from the reference's (N).

    Both are logits (N x classes); the distance is sqrt(1 - sum of sqrt(p q)), from 0 to 1 (Hellinger, 1909), and an
    image with NaN logits has the largest. Where errors are small it grows in proportion to theirs.
    """
    fidelity = (outputs.double().log_softmax(1) / 2 + reference.double().log_softmax(1) / 2).exp().sum(1)
    return 1.0 - (1.0 - fidelity).clamp(0.0, 1.0).sqrt().nan_to_num(1.0)


def refuse_other_than_logits(outputs: object) -> None:
    """Raise ModelError where a float network's outputs are no logits of classes (N x classes)."""
    expected = 'score.name: "likeness" compares the probabilities that logits of classes give, '
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        received = f"outputs of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ModelError(f"{expected}received {received}; name a function of your own as score.function")
    if bool((outputs >= 0).all()) and bool(((outputs.sum(1) - 1).abs() < SUMMED).all()):
        raise ModelError(f"{expected}received these probabilities themselves; leave out the softmax at the end")


ACCURACY = Score(name="accuracy", function=largest_logit_is_right, of_classes=True)
LIKENESS = Score(name=LIKENESS_NAME, function=measure_likeness, of_classes=True)
"""How like outputs are to the float network's, which stand in the targets' place: labels are not looked at."""


def score_images(
    model: nn.Module | Runner,
    inputs: Inputs,
    targets: Tensor,
    batch_size: int,
    score: Score = ACCURACY,
    *,
    finite: bool = False,
) -> NDArray[np.float64]:
    """Score of each image (N,), each in [0, 1]; a compressed network is run by the fastest arithmetic there is.

    Model and tensors share one device; of several inputs, each has one entry for each image.

    Args:
        finite: Outputs that are NaN or infinite are refused.

    Raises:
        NumericalError: Such outputs.
        ScoreError: The score function fails, or does not give one finite number in [0, 1] for each image.
    """
    found, start = [], 0
    runner = model if isinstance(model, Runner) else Runner(model, batch_size)
    with torch.inference_mode():
        for outputs, count in runner(inputs):
            if finite:
                refuse_infinite(outputs)
            found.append(score_outputs(score, outputs, targets[start : start + count]))
            start += count
    return np.concatenate(found) if found else np.zeros(0)


def score_outputs(score: Score, outputs: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Score of each of the outputs (N,); ScoreError as `score_images`."""
    if score is LIKENESS and targets.shape != outputs.shape:
        raise ScoreError(
            "score: likeness is to a float network's outputs, which are not known here; leave function out for what "
            "explorer.compress makes, or score by labels"
        )
    given = apply_to_outputs(score.function, outputs, targets, f"score.function: {score.name!r}", ScoreError)
    wrong = _wrong(given, len(targets))
    if wrong:
        raise ScoreError(
            f"score.function: expected {score.name!r} to return one number in [0, 1] for each image, a tensor of shape "
            f"({len(targets)},), received {wrong}; correct it"
        )
    scores: NDArray[np.float64] = given.detach().to("cpu", torch.float64).numpy()
    return scores


def _wrong(given: object, count: int) -> str:
    """Return what is wrong with scores, in words; empty where nothing is."""
    if not isinstance(given, Tensor):
        return f"a {type(given).__name__}"
    if given.shape != (count,):
        return f"one of shape {tuple(given.shape)}"
    if given.is_complex():
        return f"{given.dtype}"
    values = given.double()
    outside = values[~((values >= 0) & (values <= 1))]  # NaN is
    return f"{float(outside[0]):g} for {len(outside)} of {count} images" if len(outside) else ""


def refuse_infinite(outputs: Tensor) -> None:
    """Raise NumericalError where any of the outputs (N x ...) is NaN or infinite."""
    lost = int((~outputs.isfinite()).flatten(1).any(1).sum())
    if lost:
        raise NumericalError(f"its outputs are not finite for {lost} of {len(outputs)} images")
