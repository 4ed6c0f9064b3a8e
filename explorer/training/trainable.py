"""A candidate as a network that can be trained: float parameters behind the rounding of what is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from explorer.compress.activations import insert_quantizers
from explorer.compress.apply import CompressionContext, compress_layers, compressed_copy, without_filters
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import plan
from explorer.compress.quantize import ActivationQuantizer, code_limit
from explorer.compress.sparsity import mask_weights
from explorer.errors import CandidateError
from explorer.graph.modules import layer_module
from explorer.graph.names import replace_module
from explorer.training.features import FeatureDistance
from explorer.training.stepped import SteppedWeight
from explorer.training.straight_through import SharedWeight, TrainedActivation, TrainedWeight, spread_per_channel
from explorer.training.tuned import Tuned, load_state

REACH, BINARY_REACH = 0.45, 0.95
"""How far a float weight may start from its code, in steps: inside the interval that rounds to it, and near its edge
where the float network's is beyond it, so that a small change brings the code that this one would have."""


Quantizer = TrainedWeight | SharedWeight | SteppedWeight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trainable:
    """A network that computes what `apply` will deploy, and where in it the parameters are.

    `names` are those of the state of the float network without its removed filters.
    """

    model: fx.GraphModule
    candidate: Candidate
    layers: tuple[str, ...]
    names: tuple[str, ...]

    def weights(self) -> list[nn.Parameter]:
        """Return the float weights of all layers: what weight decay acts on."""
        theirs = {f"{layer}.parametrizations.weight.original" for layer in self.layers}
        return [parameter for name, parameter in self.model.named_parameters() if name in theirs]

    def scales(self) -> list[nn.Parameter]:
        """Return scales of weights and activations."""
        modules = (m for m in self.model.modules() if isinstance(m, TrainedWeight | TrainedActivation))
        return [module.scale for module in modules]

    def stepped(self) -> list[SteppedWeight]:
        """Return the quantisers of layers whose weights have a step."""
        return [module for module in self.model.modules() if isinstance(module, SteppedWeight)]

    def stepped_weights(self) -> dict[nn.Parameter, SteppedWeight]:
        """Return the float weights of layers whose weights have a step, with their quantisers.

        Without layers of zeros, whose step of 1 says nothing.
        """
        found: dict[nn.Parameter, SteppedWeight] = {}
        for layer in self.layers:
            quantizer = _parametrisation(self.model, layer)
            weight = self.model.get_parameter(f"{layer}.parametrizations.weight.original")
            if isinstance(quantizer, SteppedWeight) and bool(weight.any()):
                found[weight] = quantizer
        return found

    def compare_features(self, context: CompressionContext, teacher: nn.Module) -> FeatureDistance:
        """Return how far what its layers read is from what those of a teacher with the same layers do."""
        own = context.shortened(self.candidate.removed_blocks)
        return FeatureDistance(self.model, teacher, own.graph, own.resolve(self.candidate).kept)

    def collect(self, description: Mapping[str, Any]) -> Tuned:
        """Return what training made of it so far, copied."""
        state, quantizers = self.model.state_dict(), {}
        tensors: dict[str, dict[str, Tensor]] = {key: {} for key in ("scales", "masks", "clusters", "centroids")}
        originals = {}
        for layer in self.layers:
            quantizer = _parametrisation(self.model, layer)
            originals[f"{layer}.weight"] = state[f"{layer}.parametrizations.weight.original"]
            if isinstance(quantizer, SteppedWeight):  # with the price that its integers have, not just the nearest
                originals[f"{layer}.weight"] = quantizer.eval()(originals[f"{layer}.weight"])
            tensors["scales"][layer] = _copied(quantizer.scale.expand(len(originals[f"{layer}.weight"])))
            if quantizer.mask is not None:
                tensors["masks"][layer] = _copied(quantizer.mask)
            if isinstance(quantizer, SharedWeight):
                tensors["clusters"][layer] = _copied(quantizer.clusters.to(torch.int32))
                tensors["centroids"][layer] = _copied(quantizer.centroids)
                originals[f"{layer}.weight"] = quantizer(quantizer.clusters)
        for name, module in self.model.named_modules():
            if isinstance(module, TrainedActivation):
                zero_point = torch.tensor(float(module.quantizer.zero_point))
                quantizers[name] = torch.stack((_copied(module.scale), zero_point))
        return Tuned(
            candidate=self.candidate.digest(),
            description=dict(description),
            state={name: _copied(originals[name] if name in originals else state[name]) for name in self.names},
            ranges=quantizers,
            **tensors,
        )


def trainable(context: CompressionContext, candidate: Candidate, start: Tuned | None = None) -> Trainable:
    """Build it from what `apply` deploys, or from what `start` was tuned to, which has the same filters.

    Codes, scales, masks, clusters, norms and ranges are those of `compressed_copy`; float weights lie where the float
    network has them, as far as they round to these codes. From a `start`, codes are those of its weights, and where it
    was tuned for this very candidate, masks, clusters, scales and ranges are its own.

    Raises:
        CandidateError: When candidate, network and `start` do not fit together, or scales are powers of two, which
            training would change.
    """
    if context.quantizer.power_of_two:
        raise CandidateError(
            "fine-tuning trains scales: expected quantizer.power_of_two = false, received true; search without it, or "
            "export what was searched"
        )
    context = context.shortened(candidate.removed_blocks)
    resolved = context.resolve(candidate)
    plain = without_filters(context, resolved.kept)
    names = tuple(plain.state_dict())
    if start is not None:
        load_state(plain, start)
    originals = {layer.name: layer_module(plain, layer.name).weight.detach().clone() for layer in context.graph.layers}
    if start is None:
        model = compressed_copy(context, candidate)
    else:
        model = plain
        compress_layers(model, context, resolved)
        insert_quantizers(model, context.graph, context.calibration, resolved)
        model.to(context.calibration.torch_device)
    own = start if start is not None and start.candidate == candidate.digest() else None
    made: dict[str, Quantizer] = {}
    for layer in context.graph.layers:
        module, choice, weight = layer_module(model, layer.name), resolved.choices[layer.name], originals[layer.name]
        made[layer.name] = _restore_weight(module, weight, choice, own, context.quantizer.scale_granularity)
        # Calls of one layer have one quantiser, too: else their scales or centroids would part.
        parametrize.register_parametrization(module, "weight", made[layer.chosen_by])
    _tie(context.model, model, tuple(originals))
    _train_ranges(model, context, candidate, own)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return Trainable(model=model, candidate=candidate, layers=tuple(originals), names=names)


def _restore_weight(
    module: nn.Conv2d | nn.Linear, weight: Tensor, choice: LayerChoice, own: Tuned | None, per: str
) -> Quantizer:
    """Put the float weight back, and return the quantiser of its layer."""
    codes, scale = module.get_buffer("weight_codes").float(), module.get_buffer("weight_scale")
    del module.weight_codes, module.weight_scale
    if per == "tensor" and choice.step is None:
        scale = _scale_of_tensor(codes, scale)
    weight = weight.to(scale.device)
    mask: Tensor | None = _mask(weight, codes, choice)
    centroids, clusters = None, None
    if choice.codebook_size is not None:
        if mask is not None:
            mask = codes != 0  # else a shared zero that moved would be one value more than there may be
        clusters, centroids = _clusters(codes, choice)
    if own is not None:
        scale, mask = own.scales[choice.layer].to(scale), own.masks.get(choice.layer)
        if clusters is not None:
            clusters = own.clusters[choice.layer].long().to(scale.device)
            centroids = own.centroids[choice.layer].to(scale)
    else:
        weight = _near_codes(weight, codes, spread_per_channel(scale, weight), choice.weight_bits)
    mask = None if mask is None else mask.to(scale.device)
    module.weight = nn.Parameter(weight if mask is None else weight * mask)
    if clusters is not None and centroids is not None:
        return SharedWeight(choice.weight_bits, scale, mask, clusters, centroids)
    if choice.step is not None:
        return SteppedWeight(module.weight, scale, mask)
    return TrainedWeight(choice.weight_bits, scale[:1] if per == "tensor" else scale, mask)


def _scale_of_tensor(codes: Tensor, scale: Tensor) -> Tensor:
    """Return the scale that the filters have in common: `quantize_biases` gives larger ones to some, and empty ones."""
    alive = scale[codes.flatten(1).any(1)]
    return (alive if len(alive) else scale).min().expand_as(scale)


def _mask(weight: Tensor, codes: Tensor, choice: LayerChoice) -> Tensor | None:
    """Return which weights are not pruned: those with codes, then the largest; None where none is pruned."""
    largest = weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
    mask = mask_weights(codes.abs() + weight.abs() / (2 * largest), choice)
    return None if bool(mask.all()) else mask


def _near_codes(weight: Tensor, codes: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return float weights next to those given that round to the codes."""
    reach = BINARY_REACH if bits == 1 else REACH
    return scale * torch.clamp(weight / scale, codes - reach, codes + reach)


def _clusters(codes: Tensor, choice: LayerChoice) -> tuple[Tensor, Tensor]:
    """Return the cluster of each weight and the code of each cluster; channels that share apart have their own."""
    span = 2 * code_limit(choice.weight_bits) + 1
    owner = torch.arange(len(codes), device=codes.device) * (choice.codebook_granularity == "channel")
    values, clusters = torch.unique(codes.long() + spread_per_channel(owner * 2 * span, codes), return_inverse=True)
    return clusters, ((values + span) % (2 * span) - span).float()


def _tie(original: nn.Module, model: nn.Module, layers: tuple[str, ...]) -> None:
    """Make parameters that are one object in the float network one in the network to train, too."""
    renamed = {f"{layer}.weight": f"{layer}.parametrizations.weight.original" for layer in layers}
    first: dict[int, tuple[str, nn.Parameter]] = {}
    for name, parameter in original.named_parameters(remove_duplicate=False):
        path, _, key = renamed.get(name, name).rpartition(".")
        module = model.get_submodule(path)
        own = getattr(module, key)
        _, shared = first.setdefault(id(parameter), (name, own))
        if shared is not own and shared.shape == own.shape:
            setattr(module, key, shared)


def _train_ranges(model: fx.GraphModule, context: CompressionContext, candidate: Candidate, own: Tuned | None) -> None:
    elements = {entry.name: entry.elements for entry in plan(context.graph, candidate).activations}
    largest = max(elements.values())
    for node in model.graph.nodes:
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            name = str(node.target)
            if own is not None:
                scale, zero_point = own.ranges[name]
                module.scale, module.zero_point = scale.to(module.scale), int(zero_point)
            source = node.all_input_nodes[0].name
            replace_module(model, name, TrainedActivation(module, elements.get(source, largest)))


def _parametrisation(model: nn.Module, layer: str) -> Quantizer:
    module = model.get_submodule(f"{layer}.parametrizations.weight.0")
    assert isinstance(module, TrainedWeight | SharedWeight | SteppedWeight)
    return module


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone().contiguous()
