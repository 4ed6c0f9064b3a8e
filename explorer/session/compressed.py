"""A compressed network that remembers what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import fx

from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate
from explorer.compress.plan import NetworkPlan, plan
from explorer.progress import Notify
from explorer.session.network import Net
from explorer.settings import FineTuningSettings
from explorer.settings.records import write_record
from explorer.study.network import threads_for
from explorer.study.record import FrontPoint
from explorer.study.weights import digest_state
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.loss import CROSS_ENTROPY, Loss, LossFunction, find_loss
from explorer.training.tuned import Tuned, rebuild
from explorer.user_code import digest_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The point of a front that a network was made of: with its scores, of which study, and for which device."""

    point: FrontPoint
    study: str
    device: str


class Compressed(fx.GraphModule):
    """A network in evaluation mode that computes with integer codes, as it is exported.

    Each layer holds the buffers `weight_codes` (int8) and `weight_scale` (one for each filter). `net` is what it was
    made from, `candidate` what was chosen, `origin` the point of a front that it is, if it is one, and `tuned`
    what fine-tuning made of it, None where it was not. Its state dict can be loaded into another one that was made of
    the same candidate.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> small = explorer.compress(net, explorer.uniform(net, weight_bits=4))
        >>> fresh = explorer.compress(net, small.candidate)
        >>> fresh.load_state_dict(small.state_dict())
        <All keys matched successfully>
    """

    net: Net
    candidate: Candidate
    tuned: Tuned | None
    origin: Origin | None

    @property
    def finetuning(self) -> Mapping[str, Any] | None:
        """How it was fine-tuned, None where it was not."""
        return None if self.tuned is None else self.tuned.description

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
    recipe: Recipe[FineTuningSettings],
    start: Compressed | None,
    file: Path | None,
    notify: Notify,
) -> Compressed:
    """Return the same, trained further on the network's training images."""
    train = net.data.train
    conditions = {
        **write_record(recipe.settings),
        "seed": net.seed,
        "loss code": recipe.loss.code,
        "weights": digest_state(net.network.model),
        "train": train.digest(),
        "start": None if start is None else digest_state(start),
    }
    with threads_for(net.graph):
        tuned = _find_tuned(file, candidate, conditions)
        if tuned is None:
            tuned = finetune(
                net.context,
                candidate,
                *net.tensors(train),
                recipe,
                start=None if start is None else start.tuned,
                progress=lambda done, count, _: notify("fine-tune, batches", done, count),
            )
            tuned = replace(tuned, description={**tuned.description, **conditions})
            if file is not None:
                tuned.save(file)
        return _remember(rebuild(net.context, candidate, tuned), net, candidate, origin, tuned)


def make_recipe(
    net: Net, settings: FineTuningSettings, loss: LossFunction | None, file: Path | None
) -> Recipe[FineTuningSettings]:
    """Return how a network is trained further; ModelError where its targets need a loss, and there is none."""
    if loss is not None:
        found = Loss(name=f"loss: {getattr(loss, '__name__', 'loss')!r}", function=loss, code=digest_code(loss))
    elif settings.loss is None and settings.teacher and settings.teacher_weight == 1.0:
        found = CROSS_ENTROPY  # counts nothing
    else:
        found = find_loss(settings.loss, ".", "loss", net.data.num_classes, "set teacher_weight=1.0")
    unfinished = None if file is None else file.with_suffix(".unfinished")
    return Recipe(settings=settings, seed=net.seed, loss=found, unfinished=unfinished)


def _find_tuned(file: Path | None, candidate: Candidate, conditions: Mapping[str, Any]) -> Tuned | None:
    """Return what a file holds, where it was made of the same under the same conditions."""
    if file is None or not file.is_file():
        return None
    found = Tuned.load(file)
    same = all(found.description.get(key) == value for key, value in conditions.items())
    return found if same and found.candidate == candidate.digest() else None


def _remember(
    model: fx.GraphModule,
    net: Net,
    candidate: Candidate,
    origin: Origin | None,
    tuned: Tuned | None = None,
) -> Compressed:
    made = Compressed(model, model.graph)
    made.net, made.candidate, made.origin, made.tuned = net, candidate, origin, tuned
    return made.eval()
