"""Correct a compressed network for what compression did, layer by layer in the order of computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from explorer.compress.calibrate import Calibration, compute_channel_means
from explorer.compress.moments import LayerInputs, Moments
from explorer.compress.norms import NormCorrector
from explorer.compress.problem import LayerProblem
from explorer.graph.inputs import as_tuple, take
from explorer.graph.modules import BatchNorm

Assign = Callable[[str, nn.Conv2d | nn.Linear, Tensor, Moments], None]
"""Gives a layer, by its name, its weights: the real ones that it should have, and the moments of what it reads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compensation:
    """What it takes to solve for layers in a pass of the compressed network.

    `reference` is the whole float network whose outputs are to be met, `problems` those of the layers to solve for,
    `assign` what gives a layer the weights found; `num_images` of the calibration images are looked at.
    """

    reference: fx.GraphModule
    problems: Mapping[str, LayerProblem]
    assign: Assign
    num_images: int


def correct(
    model: fx.GraphModule,
    calibration: Calibration,
    positions: Mapping[str, Tensor],
    means: Mapping[str, Tensor],
    compensation: Compensation | None = None,
) -> None:
    """Solve for weights anew, recalibrate batch norms and correct biases, in place and in depth order.

    `means` (layer name -> out_channels) are the float network's mean outputs: a layer listed there whose output no
    batch norm reads has its bias moved by the mean difference (Nagel et al., 2019, section 4.2). With `compensation`
    the weights of each layer are solved for on the inputs that it gets from the compressed layers before it, so that
    it makes good for their errors and for the inputs that it lost.

    Args:
        positions: The channels that stay at each batch norm.
    """
    with torch.no_grad():
        _Corrector(model, calibration, positions, means, compensation).run(*as_tuple(calibration.images))


def absorbs_shift(model: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether nothing but batch norms, whose recalibration absorbs any shift, reads a layer."""
    return all(
        user.op == "call_module" and isinstance(model.get_submodule(str(user.target)), BatchNorm) for user in node.users
    )


class _Corrector(NormCorrector):
    """Runs the compressed network and, where layers are solved for, the float one beside it."""

    def __init__(
        self,
        model: fx.GraphModule,
        calibration: Calibration,
        positions: Mapping[str, Tensor],
        means: Mapping[str, Tensor],
        compensation: Compensation | None,
    ) -> None:
        super().__init__(model, calibration, positions)
        self.model, self.means, self.compensation = model, means, compensation
        self.beside = None
        if compensation is not None:
            first = take(calibration.images, slice(compensation.num_images))
            self.beside = LayerInputs(compensation.reference, first)

    def run_node(self, n: fx.Node) -> object:
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return super().run_node(n)
        absorbed, bias = absorbs_shift(self.model, n), module.bias
        mean = None if bias is None or absorbed else self.means.get(str(n.target))
        self._solve(n, module, centred=mean is not None or absorbed)
        result = super().run_node(n)
        if mean is None or bias is None or not isinstance(result, Tensor):
            return result
        shift = mean - compute_channel_means(module, result)
        module.bias = nn.Parameter(bias + shift, requires_grad=False)
        return result + shift.view(-1, *(1,) * (0 if isinstance(module, nn.Linear) else result.ndim - 2))

    def _solve(self, n: fx.Node, module: nn.Conv2d | nn.Linear, *, centred: bool) -> None:
        """Give a layer the weights that make good for what was lost before it and in it."""
        name = str(n.target)
        problem = None if self.compensation is None else self.compensation.problems.get(name)
        if self.beside is None or self.compensation is None or problem is None:
            return
        wanted = self.beside.of(n.name)
        received = self.env[n.all_input_nodes[0]][: len(wanted)]  # several rows for each image, it may be
        given = problem.measure(module, received, wanted, centred=centred)
        target = problem.solve(given)
        self.compensation.assign(name, module, target, Moments.settled(given.received))
