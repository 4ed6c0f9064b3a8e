"""What of a network's outputs is explained: the targets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Explained = tuple[Tensor, Tensor]


def _predicted(logits: Tensor, labels: Tensor) -> Explained:
    """The logit of the largest one."""
    classes = logits.argmax(1)
    return _one_hot(logits, classes), classes


def _true(logits: Tensor, labels: Tensor) -> Explained:
    """The logit of the label."""
    return _one_hot(logits, labels), labels


def _contrast(logits: Tensor, labels: Tensor) -> Explained:
    """The largest logit less the mean of all, which is what a softmax sees (Shrikumar et al., 2017, section 3.6)."""
    directions, classes = _predicted(logits, labels)
    return directions - 1.0 / logits.shape[1], classes


def _one_hot(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.new_zeros(logits.shape).scatter_(1, classes.long()[:, None], 1.0)


TARGETS: Mapping[str, Callable[[Tensor, Tensor], Explained]] = {
    "predicted": _predicted,
    "true": _true,
    "contrast": _contrast,
}
"""Name to function of (logits, labels), N x classes and N: what each logit counts (N x classes), and the class (N)."""
