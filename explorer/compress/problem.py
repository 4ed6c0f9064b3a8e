"""What a layer that has lost filters, inputs or weights is to reproduce: its outputs in the whole float network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from explorer.compress.candidate import LayerChoice
from explorer.compress.moments import Moments, compute_moments
from explorer.compress.prune import find_positions
from explorer.compress.quantize import find_nearest_codes
from explorer.compress.rounding import Project, compute_output_errors, find_adaptive_codes, solve_masked, solve_weights
from explorer.compress.sparsity import mask_weights
from explorer.compress.weights import find_codes, get_codes
from explorer.errors import NumericalError
from explorer.graph.layers import Layer
from explorer.settings import QuantizerSettings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerProblem:
    """A layer without some of its channels, beside the same layer of the whole float network.

    `outputs` and `inputs` are the positions of the filters and of the input channels (features of a linear layer) that
    stay, in the whole layer; all groups of a convolution keep the same of theirs.
    """

    layer: Layer
    whole: nn.Conv2d | nn.Linear
    outputs: Tensor
    inputs: Tensor

    @classmethod
    def of(cls, whole: nn.Conv2d | nn.Linear, layer: Layer, kept: frozenset[int]) -> LayerProblem:
        """Return the problem of a layer of which the channel classes `kept` stay."""
        outputs, inputs = (find_positions(each, kept) for each in (layer.output_classes, layer.input_classes))
        return cls(layer=layer, whole=whole, outputs=outputs, inputs=inputs)

    @property
    def loses_inputs(self) -> bool:
        """Whether it has to make good for inputs; a filter of a depthwise convolution goes with its input."""
        return len(self.inputs) < len(self.layer.input_classes) and not self.layer.depthwise

    @property
    def weight(self) -> Tensor:
        """The float weights of the filters that stay, over all inputs of the whole layer."""
        weight = self.whole.weight.detach()
        return weight[self.outputs.to(weight.device)]

    @property
    def kept_weight(self) -> Tensor:
        """The float weights of the filters and inputs that stay."""
        return self.keep_inputs(self.weight)

    def keep_inputs(self, weight: Tensor) -> Tensor:
        """Return what stays of weights over all inputs."""
        if self.layer.depthwise:
            return weight
        of_one_group = len(self.layer.input_classes) // self.layer.groups
        return weight[:, self.inputs[self.inputs < of_one_group].to(weight.device)].contiguous()

    @property
    def columns(self) -> Tensor:
        """The places, among the weights of a filter, of those whose inputs stay."""
        per_filter = torch.arange(self.whole.weight[0].numel()).view(len(self.whole.weight[0]), -1)
        if self.layer.depthwise:
            return per_filter.flatten()
        of_one_group = len(self.layer.input_classes) // self.layer.groups
        return per_filter[self.inputs[self.inputs < of_one_group]].flatten()

    def measure(self, module: nn.Conv2d | nn.Linear, received: Tensor, wanted: Tensor, *, centred: bool) -> Moments:
        """Return the moments of what `module`, the layer without those channels, reads and of what `whole` reads."""
        whole = self.whole
        if self.layer.depthwise:
            whole, wanted = module, wanted[:, self.inputs.to(wanted.device)]
        return compute_moments(module, received, wanted, centred=centred, whole=whole, columns=self.columns)

    def select(self, given: Moments) -> Moments:
        """Return the moments where the inputs that stay are those of the float network, whose moments are `given`."""
        if self.layer.depthwise:
            groups = self.inputs.to(given.received.device)
            if given.wanted is given.received:
                return Moments.settled(given.received[groups], given.samples)
            return Moments(received=given.received[groups], wanted=given.wanted[groups], samples=given.samples)
        if not self.loses_inputs:
            return given
        columns = self.columns.to(given.received.device)
        received, wanted = given.received[:, columns][:, :, columns], given.wanted[:, columns]
        return Moments(received=received, wanted=wanted, columns=columns, samples=given.samples)

    def solve(self, given: Moments) -> Tensor:
        """Return the weights that are left, such that outputs come closest to those of the whole float layer.

        Raises:
            NumericalError: Where the moments are NaN or infinite, or have no solution.
        """
        with _named(self.layer.name):
            refuse_infinite(self.layer.name, given)
            return solve_weights(self.weight, given)


def find_fitted_codes(
    weight: Tensor,
    choice: LayerChoice,
    given: Moments,
    importance: Tensor | None,
    settings: QuantizerSettings,
    step: float | None = None,
    gain: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the codes and scales that a layer gets for the real weights that it should have.

    Weights that are pruned, and with adaptive rounding the errors of all, are made good for by the others of the
    filter; `given` are the moments of what it reads. `step` and `gain` as for `find_codes`.

    Raises:
        NumericalError: Where the moments are NaN or infinite, or have no solution.
    """
    mask = mask_weights(weight, choice)
    with _named(choice.layer):
        refuse_infinite(choice.layer, given)
        left = weight if bool(mask.all()) else solve_masked(weight, given, mask)
    codes, scale = find_codes(left, choice, importance, settings, step, gain=gain)
    if settings.rounding != "adaptive":
        return codes, scale
    return round_adaptively(weight, choice, given, codes, scale, settings.scale_granularity)


def round_adaptively(
    weight: Tensor, choice: LayerChoice, given: Moments, codes: Tensor, scale: Tensor, granularity: str
) -> tuple[Tensor, Tensor]:
    """Return codes and scales for the real `weight` of a layer, in place of `codes` and `scale` of nearest rounding.

    Scales have the `granularity` of the quantiser's settings, or are those of the choice's step.

    Raises:
        NumericalError: Where the moments are NaN or infinite, or have no solution.
    """
    refuse_infinite(choice.layer, given)
    project = project_on(codes, choice, len(given.received))
    with _named(choice.layer):
        mask = mask_weights(weight, choice)
        fit = "none" if choice.step is not None else granularity
        return find_adaptive_codes(weight, given, scale, project, mask, fit=fit)


def compute_error_ratios(
    module: nn.Conv2d | nn.Linear, weight: Tensor, choice: LayerChoice, given: Moments, granularity: str
) -> Tensor:
    """Return the share of its squared output error that adaptive rounding leaves each filter (out_channels, 0..1).

    `module` holds the codes of nearest rounding of the float `weight`; a filter that has no error keeps share 1.
    """
    nearest = get_codes(module)
    before = compute_output_errors(weight, *nearest, given)
    rounded = round_adaptively(weight, choice, given, *nearest, granularity)
    after = compute_output_errors(weight, *rounded, given)
    return torch.where(before > 0, after / before.where(before > 0, before + 1), torch.ones_like(before)).clamp_max(1)


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


def refuse_infinite(layer: str, given: Moments) -> None:
    """Raise NumericalError where moments are NaN or infinite."""
    if not all(bool(torch.isfinite(entry).all()) for entry in (given.received, given.wanted)):
        raise NumericalError(
            f"layer {layer!r}: what it reads is NaN or infinite on calibration images, so that its weights cannot be "
            "rounded to fit it; use more bits in the layers before it, or check the network's own outputs"
        )


@contextmanager
def _named(layer: str) -> Iterator[None]:
    """Say of which layer moments have no solution."""
    try:
        yield
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise NumericalError(f"layer {layer!r}: no weights fit what it reads: {error}") from error


def _find_nearest(books: Tensor, real: Tensor) -> Tensor:
    """Return the nearest of the row's codes (groups x rows x values, ascending), the lower one on a tie.

    `real` is groups x rows x k, its rows a whole number of times those of the books.
    """
    repeated = books.repeat(1, real.shape[1] // books.shape[1], 1)
    middles = ((repeated[..., 1:] + repeated[..., :-1]) / 2).contiguous()
    return repeated.gather(2, torch.searchsorted(middles, real.contiguous()))
