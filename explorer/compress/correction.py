"""Correct a compressed network for what compression did, layer by layer in the order of computation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx, nn

from explorer.compress.calibrate import Calibration, channel_means
from explorer.compress.candidate import LayerChoice
from explorer.compress.norms import BatchNorm, NormCorrector
from explorer.compress.quantize import nearest_codes
from explorer.compress.rounding import Project, adaptive_codes, moments
from explorer.compress.sparsity import weight_mask
from explorer.compress.weights import attach_codes
from explorer.graph.symbolic import as_tuple


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounding:
    """What adaptive rounding needs: the float network that is to be met, and what was chosen for each layer.

    `reference` has the filters and shapes of the compressed network; `choices` are those of the layers to round;
    `images` of the calibration images are looked at.
    """

    reference: fx.GraphModule
    choices: Mapping[str, LayerChoice]
    images: int


def correct(
    model: fx.GraphModule,
    calibration: Calibration,
    positions: Mapping[str, Tensor],
    means: Mapping[str, Tensor],
    rounding: Rounding | None = None,
) -> None:
    """Round weights anew, recalibrate batch norms and correct biases, in place and in depth order.

    `positions` are the channels that stay at each batch norm. `means` (layer name -> out_channels) are the float
    network's mean outputs: a layer listed there whose output no batch norm reads has its bias moved by the mean
    difference (Nagel et al., 2019, section 4.2). With `rounding` the codes of each layer are chosen for the inputs
    that it gets from the compressed layers before it, so that it makes good for their errors too.
    """
    with torch.no_grad():
        _Corrector(model, calibration, positions, means, rounding).run(*as_tuple(calibration.images))


def project_on(codes: Tensor, choice: LayerChoice, groups: int) -> Project:
    """The admissible codes of a layer: those of its width, or where `codes` share values the nearest of these."""
    if choice.codebook_size is None:
        return partial(nearest_codes, bits=choice.weight_bits)
    books = codes.flatten(1) if choice.codebook_scope == "channel" else codes.flatten()[None].expand(len(codes), -1)
    distinct = [book.unique() for book in books]
    most = max(len(book) for book in distinct)
    padded = torch.stack([torch.cat((book, book[-1:].expand(most - len(book)))) for book in distinct])
    return partial(_nearest_of, padded.double().unflatten(0, (groups, -1)))


class _Corrector(NormCorrector):
    """Runs the compressed network and, where rounding asks for it, the float one beside it."""

    def __init__(
        self,
        model: fx.GraphModule,
        calibration: Calibration,
        positions: Mapping[str, Tensor],
        means: Mapping[str, Tensor],
        rounding: Rounding | None,
    ) -> None:
        super().__init__(model, calibration, positions)
        self.means, self.rounding = means, rounding
        self.beside = None if rounding is None else _Beside(rounding, calibration)

    def run_node(self, n: fx.Node) -> object:
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return super().run_node(n)
        mean = self.means.get(str(n.target)) if module.bias is not None and not _feeds_norms(self, n) else None
        if self.beside is not None and self.rounding is not None and n.target in self.rounding.choices:
            choice = self.rounding.choices[str(n.target)]
            wanted = self.beside.input_of(n.name)
            received = self.env[n.all_input_nodes[0]][: self.rounding.images]
            centred = mean is not None or _feeds_norms(self, n)
            _round(module, self.beside.weight(str(n.target)), choice, received, wanted, centred)
        result = super().run_node(n)
        if mean is None:
            return result
        assert isinstance(result, Tensor)
        shift = mean - channel_means(module, result)
        module.bias = nn.Parameter(module.bias + shift, requires_grad=False)
        return result + shift.view(-1, *(1,) * (0 if isinstance(module, nn.Linear) else result.ndim - 2))


class _Beside(fx.Interpreter):
    """The float network, run as far as the compressed one has come."""

    def __init__(self, rounding: Rounding, calibration: Calibration) -> None:
        super().__init__(rounding.reference)
        self.args_iter = iter([images[: rounding.images] for images in as_tuple(calibration.images)])
        self.ahead: Iterator[fx.Node] = iter(rounding.reference.graph.nodes)

    def input_of(self, name: str) -> Tensor:
        """What the layer at the node of that name reads; nodes are asked for in the order of computation."""
        for node in self.ahead:
            read = self.env[node.all_input_nodes[0]] if node.name == name else None
            self.env[node] = self.run_node(node)
            for used in self.user_to_last_uses.get(node, []):
                del self.env[used]
            if isinstance(read, Tensor):
                return read
        raise LookupError(f"node {name} is not ahead in the float network")

    def weight(self, layer: str) -> Tensor:
        """The float weight of a layer."""
        module = self.fetch_attr(layer)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        return module.weight.data


def _round(
    module: nn.Conv2d | nn.Linear,
    weight: Tensor,
    choice: LayerChoice,
    received: Tensor,
    wanted: Tensor,
    centred: bool,
) -> None:
    groups = 1 if isinstance(module, nn.Linear) else module.groups
    mask = weight_mask(weight, choice.kept_weights, choice.pattern)
    project = project_on(module.get_buffer("weight_codes"), choice, groups)
    given = moments(module, received, wanted, centred=centred)
    attach_codes(module, *adaptive_codes(weight, given, module.get_buffer("weight_scale"), project, mask))


def _feeds_norms(interpreter: fx.Interpreter, node: fx.Node) -> bool:
    """Whether nothing but batch norms, whose recalibration absorbs any shift, reads a layer."""
    return all(
        user.op == "call_module" and isinstance(interpreter.fetch_attr(str(user.target)), BatchNorm)
        for user in node.users
    )


def _nearest_of(books: Tensor, real: Tensor) -> Tensor:
    """The nearest of the row's codes (groups x rows x values, ascending), the lower one on a tie.

    `real` is groups x rows x k, its rows a whole number of times those of the books.
    """
    repeated = books.repeat(1, real.shape[1] // books.shape[1], 1)
    middles = ((repeated[..., 1:] + repeated[..., :-1]) / 2).contiguous()
    return repeated.gather(2, torch.searchsorted(middles, real.contiguous()))


