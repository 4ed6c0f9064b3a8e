"""Correct a compressed network for what compression did, layer by layer in the order of computation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx, nn

from explorer.compress.calibrate import Calibration, compute_channel_means
from explorer.compress.candidate import LayerChoice
from explorer.compress.norms import NormCorrector
from explorer.compress.quantize import find_nearest_codes
from explorer.compress.rounding import Moments, Project, compute_moments, compute_output_errors, find_adaptive_codes
from explorer.compress.sparsity import mask_weights
from explorer.compress.weights import attach_codes
from explorer.errors import NumericalError
from explorer.graph.inputs import Inputs, as_tuple, take
from explorer.graph.modules import BatchNorm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounding:
    """What adaptive rounding needs: the float network that is to be met, and what was chosen for each layer.

    `reference` has the filters and shapes of the compressed network; `choices` are those of the layers to round;
    `num_images` of the calibration images are looked at.
    """

    reference: fx.GraphModule
    choices: Mapping[str, LayerChoice]
    num_images: int


def correct(
    model: fx.GraphModule,
    calibration: Calibration,
    positions: Mapping[str, Tensor],
    means: Mapping[str, Tensor],
    rounding: Rounding | None = None,
) -> None:
    """Round weights anew, recalibrate batch norms and correct biases, in place and in depth order.

    `means` (layer name -> out_channels) are the float network's mean outputs: a layer listed there whose output no
    batch norm reads has its bias moved by the mean difference (Nagel et al., 2019, section 4.2). With `rounding` the
    codes of each layer are chosen for the inputs that it gets from the compressed layers before it, so that it makes
    good for their errors too.

    Args:
        positions: The channels that stay at each batch norm.
    """
    with torch.no_grad():
        _Corrector(model, calibration, positions, means, rounding).run(*as_tuple(calibration.images))


def project_on(codes: Tensor, choice: LayerChoice, groups: int) -> Project:
    """Return the admissible codes of a layer: those of its width, or where `codes` share values the nearest of them."""
    if choice.codebook_size is None:
        return partial(find_nearest_codes, bits=choice.weight_bits)
    books = (
        codes.flatten(1) if choice.codebook_granularity == "channel" else codes.flatten()[None].expand(len(codes), -1)
    )
    distinct = [book.unique() for book in books]
    most = max(len(book) for book in distinct)
    padded = torch.stack([torch.cat((book, book[-1:].expand(most - len(book)))) for book in distinct])
    return partial(_find_nearest, padded.double().view(groups, -1, most))


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
        self.beside = None
        if rounding is not None:
            first = take(calibration.images, slice(rounding.num_images))
            self.beside = LayerInputs(rounding.reference, first)

    def run_node(self, n: fx.Node) -> object:
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return super().run_node(n)
        bias = module.bias
        mean = None if bias is None or _feeds_norms(self, n) else self.means.get(str(n.target))
        if self.beside is not None and self.rounding is not None and n.target in self.rounding.choices:
            choice = self.rounding.choices[str(n.target)]
            wanted = self.beside.of(n.name)
            received = self.env[n.all_input_nodes[0]][: len(wanted)]  # several rows for each image, it may be
            centred = mean is not None or _feeds_norms(self, n)
            given = compute_moments(module, received, wanted, centred=centred)
            attach_codes(module, *round_adaptively(module, self.beside.weight(str(n.target)), choice, given))
        result = super().run_node(n)
        if mean is None or bias is None or not isinstance(result, Tensor):
            return result
        shift = mean - compute_channel_means(module, result)
        module.bias = nn.Parameter(bias + shift, requires_grad=False)
        return result + shift.view(-1, *(1,) * (0 if isinstance(module, nn.Linear) else result.ndim - 2))


class LayerInputs(fx.Interpreter):
    """Runs a network on `images` as far as it is asked for the input of a layer; keeps nothing behind that."""

    def __init__(self, model: fx.GraphModule, images: Inputs) -> None:
        super().__init__(model)
        self.args_iter = iter(as_tuple(images))
        self.ahead: Iterator[fx.Node] = iter(self.graph.nodes)

    def of(self, name: str) -> Tensor:
        """Return what the layer at the node of that name reads; nodes are asked for in the order of computation."""
        for node in self.ahead:
            read = self.env[node.all_input_nodes[0]] if node.name == name else None
            self.env[node] = self.run_node(node)
            for used in self.user_to_last_uses.get(node, []):
                del self.env[used]
            if isinstance(read, Tensor):
                return read
        raise LookupError(f"node {name} is not ahead in the network")

    def weight(self, layer: str) -> Tensor:
        """Return the weight of a layer."""
        module = self.fetch_attr(layer)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        return module.weight.data


def compute_float_moments(
    model: fx.GraphModule, images: Inputs, layers: Collection[str]
) -> Iterator[tuple[str, Moments]]:
    """Yield second moments of what these layers read in the float network, one layer at a time in depth order."""
    inputs = LayerInputs(model, images)
    for node in model.graph.nodes:
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if node.target in layers and isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                read = inputs.of(node.name)
                yield str(node.target), compute_moments(module, read, read, centred=True)


def round_adaptively(
    module: nn.Conv2d | nn.Linear, weight: Tensor, choice: LayerChoice, given: Moments
) -> tuple[Tensor, Tensor]:
    """Return codes and scales for the float `weight` of a layer, in place of the codes of nearest rounding that it has.

    Raises:
        NumericalError: Where the moments are NaN or infinite, or have no solution.
    """
    if not all(bool(torch.isfinite(entry).all()) for entry in (given.received, given.wanted)):
        raise NumericalError(
            f"layer {choice.layer!r}: what it reads is NaN or infinite on calibration images, so that its weights "
            "cannot be rounded to fit it; use more bits in the layers before it, or check the network's own outputs"
        )
    groups = 1 if isinstance(module, nn.Linear) else module.groups
    mask = mask_weights(weight, choice)
    project = project_on(module.get_buffer("weight_codes"), choice, groups)
    try:
        return find_adaptive_codes(
            weight, given, module.get_buffer("weight_scale"), project, mask, fixed_scale=choice.step is not None
        )
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise NumericalError(f"layer {choice.layer!r}: no weights fit what it reads: {error}") from error


def compute_error_ratios(module: nn.Conv2d | nn.Linear, weight: Tensor, choice: LayerChoice, given: Moments) -> Tensor:
    """Return the share of its squared output error that adaptive rounding leaves each filter (out_channels, 0..1).

    `module` holds the codes of nearest rounding of the float `weight`; a filter that has no error keeps share 1.
    """
    before = compute_output_errors(weight, module.get_buffer("weight_codes"), module.get_buffer("weight_scale"), given)
    after = compute_output_errors(weight, *round_adaptively(module, weight, choice, given), given)
    return torch.where(before > 0, after / before.where(before > 0, before + 1), torch.ones_like(before)).clamp_max(1)


def _feeds_norms(interpreter: fx.Interpreter, node: fx.Node) -> bool:
    """Return whether nothing but batch norms, whose recalibration absorbs any shift, reads a layer."""
    return all(
        user.op == "call_module" and isinstance(interpreter.fetch_attr(str(user.target)), BatchNorm)
        for user in node.users
    )


def _find_nearest(books: Tensor, real: Tensor) -> Tensor:
    """Return the nearest of the row's codes (groups x rows x values, ascending), the lower one on a tie.

    `real` is groups x rows x k, its rows a whole number of times those of the books.
    """
    repeated = books.repeat(1, real.shape[1] // books.shape[1], 1)
    middles = ((repeated[..., 1:] + repeated[..., :-1]) / 2).contiguous()
    return repeated.gather(2, torch.searchsorted(middles, real.contiguous()))
