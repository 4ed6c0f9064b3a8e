"""A compressed network that remembers what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import fx

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.compress.plan import NetworkPlan, plan
from explorer.errors import ExplorerError, ExportError
from explorer.session.network import Net
from explorer.study.network import threads_for
from explorer.study.record import FrontPoint
from explorer.training.tuned import Tuned


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

    def __deepcopy__(self, memo: dict[int, Any]) -> Compressed:
        """Return a copy that remembers the same; its images are not copied."""
        return remember(super().__deepcopy__(memo), self.net, self.candidate, self.origin, self.tuned)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, as torch.save(model) would: no such file could be read again.

        Raises:
            ExportError: Always.
        """
        raise ExportError("model: a compressed network is saved by its state_dict(), or written by explorer.export")

    @property
    def finetuning(self) -> Mapping[str, Any] | None:
        """How it was fine-tuned, None where it was not."""
        return None if self.tuned is None else self.tuned.description

    @property
    def plan(self) -> NetworkPlan:
        """Every shape and width of it."""
        return plan(find_context(self).graph, self.candidate)

    @property
    def size_bytes(self) -> int:
        """Bytes of its packed weights, scales and biases aside."""
        return self.plan.weight_bytes


def find_context(model: Compressed) -> CompressionContext:
    """Return what a network was built from: that of the network without its blocks."""
    return model.net.context.shortened(model.candidate.removed_blocks)


def build(net: Net, candidate: Candidate, origin: Origin | None) -> Compressed:
    """Return the network that a candidate describes."""
    with threads_for(net.graph):
        return remember(apply(net.context, candidate), net, candidate, origin)


def remember(
    model: fx.GraphModule,
    net: Net,
    candidate: Candidate,
    origin: Origin | None,
    tuned: Tuned | None = None,
) -> Compressed:
    """Return a network that knows what it was made of."""
    made = Compressed(model, model.graph)
    made.net, made.candidate, made.origin, made.tuned = net, candidate, origin, tuned
    return made.eval()


def refuse_pickling(self: object) -> NoReturn:
    """Refuse to pickle what opens the network that was searched."""
    raise ExplorerError(
        f"{type(self).__name__.lower()}: it is not pickled, since it opens the network that was searched; give search "
        "a folder, and take it from explorer.load(folder, net)"
    )
