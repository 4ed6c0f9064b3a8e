"""What of a network's outputs is explained: the targets by name, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.errors import RelevanceError

if TYPE_CHECKING:
    from torch import Tensor

    Explained = tuple[Tensor, Tensor]

STEPS = 16
"""Points of Gauss and Legendre between an image's outputs and its reference's: exact for polynomials of degree 31."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFunction:
    """A function of the user's of (outputs, targets), each N x ..., to the number that is explained for each image."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    @property
    def where(self) -> str:
        """What messages call it by."""
        return f"relevance.target: {self.name!r}"


def _predicted(outputs: Tensor, targets: Tensor) -> Explained:
    """Return the largest logit along the second axis; of outputs with positions the sum of these over all of them.

    Outputs that are one number for each image are explained themselves.
    """
    if outputs.ndim == 1:
        return outputs.new_ones(outputs.shape), targets.new_zeros(len(outputs))
    largest = outputs.argmax(1)
    classes = largest if outputs.ndim == 2 else largest.new_zeros(len(outputs))
    return outputs.new_zeros(outputs.shape).scatter_(1, largest[:, None], 1.0), classes


def _true(outputs: Tensor, targets: Tensor) -> Explained:
    """Return the logit of the label."""
    _refuse_no_classes("true", outputs, targets)
    return outputs.new_zeros(outputs.shape).scatter_(1, targets.long()[:, None], 1.0), targets


def _contrast(outputs: Tensor, targets: Tensor) -> Explained:
    """Return the largest logit less the mean of all, as a softmax sees it (Shrikumar et al., 2017, section 3.6)."""
    _refuse_no_classes("contrast", outputs)
    directions, classes = _predicted(outputs, targets)
    return directions - 1.0 / outputs.shape[1], classes


def _refuse_no_classes(name: str, outputs: Tensor, targets: Tensor | None = None) -> None:
    labels = targets is None or (targets.ndim == 1 and not targets.is_floating_point())
    if outputs.ndim != 2 or not labels:
        received = f"outputs of {tuple(outputs.shape)}" + (
            "" if targets is None else f", targets {tuple(targets.shape)}"
        )
        raise RelevanceError(
            f'relevance.target: "{name}" is for N x classes outputs and their class numbers, received {received}; take '
            '"predicted", or name a function'
        )


TARGETS: Mapping[str, Callable[[Tensor, Tensor], Explained]] = {
    "predicted": _predicted,
    "true": _true,
    "contrast": _contrast,
}
"""Name to function of (outputs, targets): what each output counts (its shape), and the class (N), 0 without classes."""


def explain_by(
    target: TargetFunction, outputs: Tensor, references: Tensor, targets: Tensor, tolerance: float
) -> Tensor:
    """Return what each output counts for a function of the user's (shape of the outputs).

    That is the function's gradient, averaged from the reference's outputs to the image's (Aumann and Shapley, 1974), so
    that what is explained of an image is how far the function is from its value for the reference: of a function that
    is linear in the outputs just its coefficients.

    Raises:
        RelevanceError: When the function fails, does not give one finite number with gradients for each image, or the
            gradients miss its differences by more than `tolerance`, relative, as with steps and thresholds.
    """
    import numpy as np  # noqa: PLC0415  (names are known without numpy and torch)
    import torch  # noqa: PLC0415

    total = torch.zeros_like(outputs)
    for place, weight in zip(*np.polynomial.legendre.leggauss(STEPS), strict=True):
        between = (references + (1 + place) / 2 * (outputs - references)).detach().requires_grad_()
        with torch.enable_grad():
            value = _evaluate(target, between, targets)
            if not value.requires_grad:
                raise RelevanceError(f"{target.where}: expected a number that follows from the outputs with gradients")
            (gradient,) = torch.autograd.grad(value.sum(), between)
        total += weight / 2 * gradient
    changed = _evaluate(target, outputs, targets) - _evaluate(target, references, targets)
    missed = float(((total * (outputs - references)).flatten(1).sum(1) - changed).abs().mean())
    share = missed / max(float(changed.abs().mean()), 1e-12)
    if not share <= tolerance:
        raise RelevanceError(
            f"{target.where}: its gradients miss its differences by {share:.2g} (relative), the tolerance is "
            f"{tolerance:g}; expected a function without steps or thresholds: smooth it, or set relevance.tolerance"
        )
    return total


def _evaluate(target: TargetFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    import torch  # noqa: PLC0415

    from explorer.graph.lines import apply_to_outputs  # noqa: PLC0415

    value = apply_to_outputs(target.function, outputs, targets, target.where, RelevanceError)
    if not isinstance(value, torch.Tensor) or value.shape != (len(outputs),) or not bool(value.isfinite().all()):
        received = f"one of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise RelevanceError(
            f"{target.where}: expected one finite number for each image, a tensor of shape ({len(outputs)},), received "
            f"{received}"
        )
    return value
