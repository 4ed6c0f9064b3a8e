"""A compressed network that remembers what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import fx

from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate
from explorer.compress.plan import NetworkPlan, plan
from explorer.progress import Notify
from explorer.session.network import Net
from explorer.settings import FineTuningSettings
from explorer.study.network import threads_for
from explorer.study.record import FrontPoint
from explorer.training.finetune import finetune
from explorer.training.tuned import rebuild


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The point of a front that a network was made of: with its scores, of which study, and for which device."""

    point: FrontPoint
    study: str
    device: str


class Compressed(fx.GraphModule):
    """A network in evaluation mode that computes with integer codes, as it is exported.

    Each layer holds the buffers `weight_codes` (int8) and `weight_scale` (one for each filter). `net` is what it was
    made from, `candidate` what was chosen, `origin` the point of a front that it is, if it is one, and `finetuning`
    how it was fine-tuned, None where it was not. Its state dict can be loaded into another one that was made of the
    same candidate.
    """

    net: Net
    candidate: Candidate
    finetuning: Mapping[str, Any] | None
    origin: Origin | None

    @property
    def plan(self) -> NetworkPlan:
        """Every shape and width of it."""
        return plan(self.net.graph, self.candidate)

    @property
    def size_bytes(self) -> int:
        """Bytes of its packed weights, scales and biases aside."""
        return self.plan.weight_bytes


def build(net: Net, candidate: Candidate, origin: Origin | None) -> Compressed:
    """Return the network that a candidate describes."""
    with threads_for(net.graph):
        return _remember(apply(net.context, candidate), net, candidate, origin)


def build_tuned(
    net: Net,
    candidate: Candidate,
    origin: Origin | None,
    settings: FineTuningSettings,
    notify: Notify,
    unfinished: Path | None,
) -> Compressed:
    """Return the same, trained further on the network's training images."""
    with threads_for(net.graph):
        tuned = finetune(
            net.context,
            candidate,
            *net.tensors(net.data.train),
            settings,
            seed=net.seed,
            progress=lambda done, count, _: notify("fine-tune, epochs", done, count),
            unfinished=unfinished,
        )
        return _remember(rebuild(net.context, candidate, tuned), net, candidate, origin, tuned.description)


def _remember(
    model: fx.GraphModule,
    net: Net,
    candidate: Candidate,
    origin: Origin | None,
    finetuning: Mapping[str, Any] | None = None,
) -> Compressed:
    made = Compressed(model, model.graph)
    made.net, made.candidate, made.origin, made.finetuning = net, candidate, origin, finetuning
    return made.eval()
