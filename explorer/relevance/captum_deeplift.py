"""DeepLIFT through Captum, one layer at a time, on the canonical network."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

from explorer.errors import RelevanceError
from explorer.graph.functional import ACTIVATIONS
from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.aggregation import aggregate
from explorer.relevance.build import as_array, build_relevance
from explorer.relevance.multipliers import compute_input_multipliers, compute_weight_multipliers, sum_per_channel
from explorer.relevance.sample import Sample, require_classes
from explorer.relevance.scores import LayerRelevance, Relevance

WITH_RULE = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
"""Activations that Captum 0.9's DeepLift has the rescale rule for; pooling and linear layers aside."""


def captum_deeplift(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return DeepLIFT (rescale rule) of a logit at every layer, by one Captum call for each.

    Raises:
        RelevanceError: For contrast targets, which Captum does not offer, and when the contributions at the input miss
            the output difference by more than the sample's tolerance, relative: then Captum has no rule for a
            nonlinearity.

    Source:
        Shrikumar et al., 2017.
    """
    if sample.target == "contrast":
        raise RelevanceError("relevance.target: Captum explains one logit; contrast takes relevance.method = deeplift")
    require_classes(sample, "captum_deeplift")
    guarded = guard_max_pools(sample.model)
    completeness = _completeness(guarded, sample)
    if not completeness <= sample.tolerance:
        raise RelevanceError(
            f"relevance: DeepLIFT is not complete on this network: contributions miss the output difference by "
            f"{completeness:.2g} (relative), the tolerance is {sample.tolerance:g}; {_without_rule(sample.model)}: "
            "replace what is not covered, or set relevance.tolerance if you accept wrong scores"
        )
    layers = []
    for index, layer in enumerate(sample.graph.layers):
        layers.append(_layer_relevance(guarded, layer.name, sample))
        if progress is not None:
            progress(index + 1, len(sample.graph.layers))
    return build_relevance(sample, "captum_deeplift", tuple(layers), completeness)


def attribute_layer(model: nn.Module, name: str, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """Return (contributions, multipliers, inputs) of a layer for each image, from one call of LayerDeepLift."""
    from captum.attr import LayerDeepLift  # noqa: PLC0415

    module = model.get_submodule(name)
    kept: dict[str, Tensor] = {}

    def multipliers_and_differences(
        multipliers: tuple[Tensor, ...], outputs: tuple[Tensor, ...], baselines: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        kept["multipliers"] = multipliers[0].detach()
        return tuple(m * (a - b) for m, a, b in zip(multipliers, outputs, baselines, strict=True))

    with _quiet(), _keep_input(module, kept):
        contributions = LayerDeepLift(model, module).attribute(
            sample.inputs,
            sample.references,
            target=sample.explained,
            custom_attribution_func=multipliers_and_differences,
        )
    return contributions.detach(), kept["multipliers"], kept["input"][: len(sample)]


def _without_rule(model: nn.Module) -> str:
    """Return in words the activations for which Captum has no rule."""
    activations = tuple(kind for kind in ACTIVATIONS.values() if isinstance(kind, type))
    found = [
        f"{path} ({type(module).__name__})"
        for path, module in model.named_modules()
        if isinstance(module, activations) and not isinstance(module, WITH_RULE)
    ]
    if not found:
        return "an operation that multiplies or selects activations makes them wrong"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"Captum has no rule for {', '.join(found[:3])}{more}"


def guard_max_pools(model: fx.GraphModule) -> fx.GraphModule:
    """Copy the tensor before every max pooling, since Captum is wrong where one follows a ReLU directly.

    Captum issue 1104: the gradient hooks of both rules land on the tensor that the two modules share, so
    `nn.Identity`, which hands on the same tensor, would not help.
    """
    guarded = copy.deepcopy(model)
    for node in list(guarded.graph.nodes):
        if node.op == "call_module" and isinstance(guarded.get_submodule(str(node.target)), nn.MaxPool2d):
            source = node.all_input_nodes[0]
            with guarded.graph.inserting_before(node):
                node.replace_input_with(source, guarded.graph.call_method("clone", (source,)))
    guarded.recompile()
    return guarded.eval().requires_grad_()  # a frozen network gives tensors that Captum can put no hooks on


def _completeness(model: nn.Module, sample: Sample) -> float:
    from captum.attr import DeepLift  # noqa: PLC0415  (slow to import)

    with _quiet():
        _, delta = DeepLift(model).attribute(
            sample.inputs, sample.references, target=sample.explained, return_convergence_delta=True
        )
    with torch.no_grad():
        difference = ((model(*sample.inputs) - model(*sample.references)) * sample.directions).flatten(1).sum(1)
    return float(delta.abs().mean() / difference.abs().mean().clamp_min(1e-12))


def _layer_relevance(model: fx.GraphModule, name: str, sample: Sample) -> LayerRelevance:
    module = layer_module(model, name)
    contributions, multipliers, inputs = attribute_layer(model, name, sample)
    table, magnitudes = (as_array(sum_per_channel(module, each)) for each in (contributions, contributions.abs()))
    return LayerRelevance(
        layer=name,
        filter_scores=aggregate(table, magnitudes, sample.aggregation),
        weight_multipliers=as_array(compute_weight_multipliers(module, inputs, multipliers) / len(sample)),
        input_multipliers=as_array(compute_input_multipliers(module, inputs, multipliers) / len(sample)),
        contributions=table,
        magnitudes=magnitudes,
    )


@contextmanager
def _keep_input(module: nn.Module, kept: dict[str, Tensor]) -> Iterator[None]:
    def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        kept["input"] = arguments[0].detach()

    handle = module.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Captum, which warns that it sets hooks: that is what it is asked to do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        warnings.filterwarnings("ignore", category=UserWarning, module="captum")
        yield
