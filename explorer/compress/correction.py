"""Correct a compressed network for what compression did, layer by layer in the order of computation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from explorer.compress.calibrate import Calibration, compute_channel_means, compute_channel_statistics
from explorer.compress.compiled.compiler import Compiler, count_images_at_once
from explorer.compress.compiled.onednn import find_fault
from explorer.compress.moments import LayerInputs, Moments
from explorer.compress.norms import recalibrate_norm
from explorer.compress.problem import LayerProblem
from explorer.graph.inputs import batches, count_images, take
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
    means: Mapping[str, Tensor] | None = None,
    compensation: Compensation | None = None,
    *,
    integer: bool = True,
) -> None:
    """Solve for weights anew, recalibrate batch norms and correct biases, in place and in depth order.

    `means` (layer name -> out_channels) are the float network's mean outputs: a layer listed there whose output no
    batch norm reads has its bias moved by the mean difference (Nagel et al., 2019, section 4.2). With `compensation`
    the weights of each layer are solved for on the inputs that it gets from the compressed layers before it, so that
    it makes good for their errors and for the inputs that it lost.

    Args:
        positions: The channels that stay at each batch norm.
        integer: Compute by oneDNN's integer operators where they can be used, as scores are computed.

    Raises:
        NotFiniteError: Integers were asked for, and the calibration images make a value NaN.
    """
    integer = integer and calibration.torch_device.type == "cpu" and not find_fault()
    with torch.no_grad():
        _Corrector(model, calibration, positions, means or {}, compensation, integer).run()


def absorbs_shift(model: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether nothing but batch norms, whose recalibration absorbs any shift, reads a layer."""
    return all(
        user.op == "call_module" and isinstance(model.get_submodule(str(user.target)), BatchNorm) for user in node.users
    )


class _Corrector:
    """Compiles the compressed network and runs it, layer by layer, the float one beside it where layers are solved for.

    What a layer gives is corrected before what reads it is computed: by the steps that the candidate is scored by.
    """

    def __init__(
        self,
        model: fx.GraphModule,
        calibration: Calibration,
        positions: Mapping[str, Tensor],
        means: Mapping[str, Tensor],
        compensation: Compensation | None,
        integer: bool,
    ) -> None:
        self.model, self.calibration, self.positions = model, calibration, positions
        (
            self.means,
            self.compensation,
        ) = means, compensation
        self.compiler = Compiler(model, integer=integer, stops_at_layers=True)
        images = calibration.images
        size = count_images_at_once(model, count_images(images), integer=integer)
        self.parts = list(batches(images, size))
        self.values: dict[int, list[Any]] = {}
        """Of each tensor of the compiler, what it is for each part of the images."""
        self.beside = None
        if compensation is not None:
            first = take(images, slice(compensation.num_images))
            self.beside = LayerInputs(compensation.reference, first)

    def run(self) -> None:
        """Correct all layers and batch norms."""
        nodes, read_last = list(self.model.graph.nodes), defaultdict(list)
        for read, reader in {read: node for node in nodes for read in node.all_input_nodes}.items():
            read_last[reader].append(read)
        for node in nodes[:-1]:
            module = self.model.get_submodule(str(node.target)) if node.op == "call_module" else None
            if isinstance(module, BatchNorm):
                self._recalibrate(node, module)
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._correct_layer(node, module)
            else:
                self.compiler.lower(node)
                self._take_steps()
            for read in read_last[node]:
                for tensor in self.compiler.forget(read):
                    self.values.pop(tensor, None)

    def _correct_layer(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        """Compute a layer, its weights solved for and its bias corrected where they are to be."""
        bias, absorbed = module.bias, absorbs_shift(self.model, node)
        mean = None if bias is None or absorbed else self.means.get(str(node.target))
        self._solve(node, module, centred=mean is not None or absorbed)
        self.compiler.lower(node)
        outputs = self._compute(node)
        if mean is not None and bias is not None:
            shift = mean - compute_channel_means(module, outputs)
            module.bias = nn.Parameter(bias + shift, requires_grad=False)
            for output in outputs:
                output.add_(shift.view(-1, *(1,) * (0 if isinstance(module, nn.Linear) else output.ndim - 2)))

    def _recalibrate(self, node: fx.Node, norm: BatchNorm) -> None:
        received, places = self._compute(node.all_input_nodes[0]), self.positions[node.name]
        mean, variance = (statistic[places] for statistic in self.calibration.norms[node.name])
        recalibrate_norm(norm, compute_channel_statistics(received), (mean, variance))

    def _compute(self, node: fx.Node) -> list[Any]:
        """Return the values of a node for each part of the images."""
        tensor = self.compiler.real(node)
        self._take_steps()
        return self.values[tensor]

    def _take_steps(self) -> None:
        for number, images in zip(self.compiler.inputs, zip(*self.parts, strict=True), strict=False):
            self.values.setdefault(number, list(images))
        for number, constant in self.compiler.constants.items():
            self.values.setdefault(number, [constant] * len(self.parts))
        for step in self.compiler.take_steps():
            read = [self.values[source] for source in step.sources]
            self.values[step.result] = [step.function(*(each[k] for each in read)) for k in range(len(self.parts))]

    def _solve(self, n: fx.Node, module: nn.Conv2d | nn.Linear, *, centred: bool) -> None:
        """Give a layer the weights that make good for what was lost before it and in it."""
        name = str(n.target)
        problem = None if self.compensation is None else self.compensation.problems.get(name)
        if self.beside is None or self.compensation is None or problem is None:
            return
        wanted = self.beside.of(n.name)
        read = torch.cat(self._compute(n.all_input_nodes[0]))
        received = read[: len(wanted)]  # several rows for each image, it may be
        given = problem.measure(module, received, wanted, centred=centred)
        target = problem.solve(given)
        self.compensation.assign(name, module, target, Moments.settled(given.received))
