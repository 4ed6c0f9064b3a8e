"""A point of the design space, as it is given in Python: a candidate, or a member of a front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from explorer.compress.candidate import Candidate
from explorer.errors import ExplorerError
from explorer.evaluate.known_entropies import reads_entropies
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.progress import silent
from explorer.session.compressed import Origin
from explorer.session.front import Point
from explorer.session.network import Net, refuse_other
from explorer.session.scores import Scores, compute_scores, find_scores
from explorer.study.network import threads_for
from explorer.study.weights import digest_state
from hwmodels import Accelerator

Chosen = Candidate | Point


def find_candidate(point: Chosen) -> Candidate:
    """Return what a point chooses; ExplorerError where it is none."""
    if isinstance(point, Point):
        return point.candidate
    if not isinstance(point, Candidate):
        raise ExplorerError(
            f"point: expected what explorer.uniform gives or a point of a front, received {type(point).__name__}"
        )
    return point


def find_origin(point: Chosen) -> Origin | None:
    """Return what the network of a front's member remembers."""
    return point.origin if isinstance(point, Point) else None


def find_net(net: Net, point: Chosen, scores: Scores | str | None) -> Net:
    """Return the network with its filters in the order that the point is to be built by."""
    refuse_other(net)
    if isinstance(point, Point) and digest_state(point.open_net().context.model) != digest_state(net.context.model):
        raise ExplorerError(
            f"point: {point.name} is of a search of another network; open that one, or give point.candidate"
        )
    if scores is not None:
        return net.ordered_by(find_scores(net, scores, silent))
    return point.open_net() if isinstance(point, Point) else with_steps(net, find_candidate(point))


def with_steps(net: Net, candidate: Candidate) -> Net:
    """Return the network with DeepLIFT's multipliers to take steps by, where a candidate has steps and it lacks them.

    Its filters stay in their order.
    """
    if net.context.step_units is not None or all(choice.step is None for choice in candidate.layers):
        return net
    units = net.ordered_by(compute_scores(net, {"method": "deeplift"}, silent)).context.step_units
    return replace(net, context=replace(net.context, step_units=units))


def find_entropies(net: Net, point: Chosen, accelerator: Accelerator) -> Mapping[str, float] | None:
    """Return the entropies of a point's layers where a device reads weights coded by them, None for any other."""
    if not reads_entropies(accelerator):
        return None
    context = find_net(net, point, None).context
    with threads_for(context.graph):
        return WeightEntropies(context).of_candidate(find_candidate(point))
