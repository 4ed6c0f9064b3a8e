"""Derivatives of what a network gives by what each of its layers reads and gives, all layers in one pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from explorer.graph.inputs import Inputs, as_tuple
from explorer.relevance.sample import Sample

Objective = Callable[[Tensor], Tensor]
"""From logits (N x classes) to one number: the sum over images of what is differentiated."""


class WatchedRun(fx.Interpreter):
    """One forward pass; afterwards `read` and `given` have what the layers of these names read and gave.

    What a layer reads is an alias of its own, so that a derivative by it counts that layer alone.
    """

    def __init__(self, model: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(model)
        self.names = frozenset(names)
        self.read: dict[str, Tensor] = {}
        self.given: dict[str, Tensor] = {}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a module gives."""
        if target not in self.names:
            return super().call_module(target, args, kwargs)
        alias = args[0].view_as(args[0])
        if torch.is_grad_enabled() and not alias.requires_grad:
            alias.requires_grad_()
        given = super().call_module(target, (alias, *args[1:]), kwargs)
        self.read[target], self.given[target] = alias, given
        return given


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Derivatives:
    """By layer: what it read and gave (`read`, `given`), and the objective's derivatives by these."""

    read: dict[str, Tensor]
    given: dict[str, Tensor]
    by_read: dict[str, Tensor]
    by_given: dict[str, Tensor]


def compute_derivatives(
    model: fx.GraphModule, images: Inputs, names: Sequence[str], objective: Objective
) -> Derivatives:
    """Return derivatives at a batch of inputs; zeros where the objective does not depend on a layer.

    The model's parameters, their gradients and its hooks are left alone.
    """
    run = WatchedRun(model.eval(), names)
    with torch.enable_grad():
        value = objective(run.run(*(tensor.detach() for tensor in as_tuple(images))))
        wanted = [*(run.given[name] for name in names), *(run.read[name] for name in names)]
        found = torch.autograd.grad(value, wanted, allow_unused=True)
    filled = [torch.zeros_like(a) if g is None else g for g, a in zip(found, wanted, strict=True)]
    return Derivatives(
        read={name: run.read[name].detach() for name in names},
        given={name: run.given[name].detach() for name in names},
        by_given=dict(zip(names, filled[: len(names)], strict=True)),
        by_read=dict(zip(names, filled[len(names) :], strict=True)),
    )


def compute_loss_derivatives(sample: Sample) -> Derivatives:
    """Return the derivatives of each image's cross-entropy with the class that the sample explains as its label.

    Where outputs are no classes, those of what the sample explains.
    """
    if sample.num_classes is None:
        return compute_derivatives(
            sample.model, sample.inputs, sample.graph.layer_names, lambda outputs: (outputs * sample.directions).sum()
        )
    return compute_derivatives(
        sample.model,
        sample.inputs,
        sample.graph.layer_names,
        lambda logits: F.cross_entropy(logits, sample.explained, reduction="sum"),
    )
