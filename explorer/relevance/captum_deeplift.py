"""DeepLIFT through Captum, one layer at a time, on the canonical network."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.func import functional_call
from torch.nn.grad import conv2d_weight

from explorer.errors import RelevanceError
from explorer.graph.functional import ACTIVATIONS
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import TransposedConv2d
from explorer.relevance.scores import LayerRelevance, Relevance

Progress = Callable[[int, int], None]
WITH_RULE = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
"""Activations that Captum 0.9's DeepLift has the rescale rule for; pooling and linear layers aside."""


def captum_deeplift(
    model: fx.GraphModule,
    graph: ModelGraph,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    target: str = "true",
    reference: str = "shuffled",
    tolerance: float = 1e-3,
    progress: Progress | None = None,
) -> Relevance:
    """DeepLIFT (rescale rule; Shrikumar et al., 2017) of a target logit at every layer's output.

    `images` (N x C x H x W, N >= 2) and `labels` (N) are a sample of the training set. The reference of an
    image is another image of the batch ("shuffled": the batch rolled by one) or "zero". `target` is the logit
    of the "true" or of the "predicted" class. Raises RelevanceError when the contributions at the input miss
    the output difference by more than `tolerance`, relative: then a nonlinearity is not covered by Captum.
    """
    guarded = _guard_max_pools(model)
    references, targets = _references_and_targets(guarded, images, labels, target, reference)
    completeness = check_completeness(model, images, labels, target=target, reference=reference, tolerance=tolerance)
    layers = []
    for index, layer in enumerate(graph.layers):
        layers.append(_layer_relevance(guarded, layer.name, images, references, targets))
        if progress is not None:
            progress(index + 1, len(graph.layers))
    return Relevance(
        method="captum_deeplift",
        reference=reference,
        target=target,
        samples=len(images),
        completeness=completeness,
        layers=tuple(layers),
    )


def check_completeness(
    model: fx.GraphModule,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    target: str = "true",
    reference: str = "shuffled",
    tolerance: float = 1e-3,
) -> float:
    """How far the contributions at the input miss the output difference, relative (see `Relevance`).

    Arguments are those of `captum_deeplift`. Raises RelevanceError, with the nonlinearities that Captum has no rule
    for, when it is more than `tolerance`. Cheap, and already tells on an untrained network.
    """
    if len(images) < 2:
        raise RelevanceError(f"relevance: needs at least 2 images for a real-image reference, got {len(images)}")
    guarded = _guard_max_pools(model)
    completeness = _completeness(guarded, images, *_references_and_targets(guarded, images, labels, target, reference))
    if not completeness <= tolerance:
        raise RelevanceError(
            f"relevance: DeepLIFT is not complete on this network: contributions miss the output difference by "
            f"{completeness:.2g} (relative), the tolerance is {tolerance:g}; {_without_rule(model)}: replace what is "
            "not covered, or set relevance.tolerance if you accept wrong scores"
        )
    return completeness


def _references_and_targets(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, target: str, reference: str
) -> tuple[torch.Tensor, torch.Tensor]:
    references = images.roll(1, dims=0) if reference == "shuffled" else torch.zeros_like(images)
    with torch.no_grad():
        logits = model(images)
    return references, logits.argmax(1) if target == "predicted" else labels


def _without_rule(model: nn.Module) -> str:
    """In words, the activations for which Captum has no rule."""
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


def _guard_max_pools(model: fx.GraphModule) -> fx.GraphModule:
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
    return guarded.eval()


def _completeness(model: nn.Module, images: torch.Tensor, references: torch.Tensor, targets: torch.Tensor) -> float:
    from captum.attr import DeepLift  # noqa: PLC0415  (slow to import)

    with _quiet():
        _, delta = DeepLift(model).attribute(images, references, target=targets, return_convergence_delta=True)
    rows = torch.arange(len(images), device=images.device)
    with torch.no_grad():
        difference = model(images)[rows, targets] - model(references)[rows, targets]
    return float(delta.abs().mean() / difference.abs().mean().clamp_min(1e-12))


def _layer_relevance(
    model: fx.GraphModule, name: str, images: torch.Tensor, references: torch.Tensor, targets: torch.Tensor
) -> LayerRelevance:
    from captum.attr import LayerDeepLift  # noqa: PLC0415

    module = model.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    kept: dict[str, torch.Tensor] = {}

    def multipliers_and_differences(
        multipliers: tuple[torch.Tensor, ...],
        outputs: tuple[torch.Tensor, ...],
        baselines: tuple[torch.Tensor, ...],
    ) -> tuple[torch.Tensor, ...]:
        kept["multipliers"] = multipliers[0].detach()
        return tuple(m * (a - b) for m, a, b in zip(multipliers, outputs, baselines, strict=True))

    with _quiet(), _keep_input(module, kept):
        contributions = LayerDeepLift(model, module).attribute(
            images, references, target=targets, custom_attribution_func=multipliers_and_differences
        )
    per_filter = contributions.detach().flatten(1).unflatten(1, (contributions.shape[1], -1)).sum(2)
    inputs, multipliers = kept["input"][: len(images)], kept["multipliers"]
    return LayerRelevance(
        layer=name,
        filter_scores=per_filter.abs().mean(0).float().cpu().numpy(),
        weight_multipliers=_weight_multipliers(module, inputs, multipliers).float().cpu().numpy(),
        input_multipliers=_input_multipliers(module, inputs, multipliers).float().cpu().numpy(),
    )


def _weight_multipliers(module: nn.Conv2d | nn.Linear, inputs: torch.Tensor, multipliers: torch.Tensor) -> torch.Tensor:
    """Mean over images of |d logit / d weight| along DeepLIFT's multipliers at the layer's output."""
    total = torch.zeros_like(module.weight.data)
    for image, multiplier in zip(inputs, multipliers, strict=True):
        if isinstance(module, nn.Linear):
            total += torch.outer(multiplier, image).abs()
        else:
            total += _convolution_weight_gradient(module, image[None], multiplier[None]).abs()
    return total / len(inputs)


def _convolution_weight_gradient(module: nn.Conv2d, image: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
    if isinstance(module, TransposedConv2d):
        weight = module.weight.detach().requires_grad_()
        output = functional_call(module, {"weight": weight}, (image,))
        (transposed,) = torch.autograd.grad(output, weight, multiplier)
        return transposed
    padding = module._reversed_padding_repeated_twice
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    gradient: torch.Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
        F.pad(image, padding, mode=mode),
        module.weight.shape,
        multiplier,
        stride=module.stride,
        padding=0,
        dilation=module.dilation,
        groups=module.groups,
    )
    return gradient


def _input_multipliers(module: nn.Conv2d | nn.Linear, inputs: torch.Tensor, multipliers: torch.Tensor) -> torch.Tensor:
    """Mean over images of the sum over positions of |d logit / d input|, per input channel."""
    if isinstance(module, nn.Linear):
        return (multipliers @ module.weight.data).abs().mean(0)
    varied = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(varied), varied, multipliers)
    return gradient.abs().flatten(2).sum(2).mean(0)


@contextmanager
def _keep_input(module: nn.Module, kept: dict[str, torch.Tensor]) -> Iterator[None]:
    def keep(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        kept["input"] = arguments[0].detach()

    handle = module.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    """Captum warns that it sets hooks, which is what it is asked to do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        warnings.filterwarnings("ignore", category=UserWarning, module="captum")
        yield
