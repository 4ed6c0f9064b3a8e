"""Fine-tuning of a chosen candidate: its weights are trained behind the rounding that it is deployed with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.digests import digest
from explorer.graph.inputs import Inputs, run, take, to_device
from explorer.graph.modules import BatchNorm
from explorer.settings import FineTuningSettings
from explorer.settings.records import write_record
from explorer.training.augment import augment, crop, find_darkest, is_image, refuse_unmovable
from explorer.training.epochs import Course, EpochProgress, Recipe, run_epochs
from explorer.training.features import FeatureDistance
from explorer.training.held_aside import BestState, hold_aside
from explorer.training.loss import Loss, compute_loss
from explorer.training.stepped import Pressure, compare_rates
from explorer.training.train import MOMENTUM
from explorer.training.trainable import Trainable, trainable
from explorer.training.tuned import Tuned

BLOCK = 16
"""Channels that oneDNN's kernels work on at once with AVX-512; with AVX2 they are 8."""

SMALLEST_SHARE = 1 / 16
"""A trained scale stays above this share of where it started (assumed): at zero it could not come back."""
WARM_UP = 0.05
"""Share of the steps in which the learning rate rises (assumed)."""
SMALLEST_SPREAD = 1e-12
"""Variance of a teacher's outputs below which they are all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TuningTask:
    """The network in training, its images, and where the loss comes from."""

    network: Trainable
    teacher: nn.Module | None
    features: FeatureDistance | None
    inputs: tuple[Tensor, ...]
    targets: Tensor
    darkest: tuple[Tensor, ...]
    recipe: Recipe[FineTuningSettings]
    layout: torch.memory_format


def finetune(
    context: CompressionContext,
    candidate: Candidate,
    images: Inputs,
    targets: Tensor,
    recipe: Recipe[FineTuningSettings],
    *,
    start: Tuned | None = None,
    progress: EpochProgress | None = None,
) -> Tuned:
    """Train a candidate's weights, biases and norms on `images` and `targets` (N x ...); `apply` takes the result.

    Forward computes with the codes that are deployed (straight-through estimators; Bengio et al., 2013). Pruned
    weights stay zero, weights of a cluster stay equal. The learning rate falls along half a cosine to 0. It begins
    at the float network, or at what an earlier `start` of the same filters was tuned to. The teacher's share of the
    loss is the cross entropy to its class probabilities where targets are class numbers, else the mean squared
    difference of the outputs. Deterministic for a seed on one kind of machine; the global random state stays as it was.

    Raises:
        ModelError: When the loss is not finite or the file is that of another training.
        CandidateError: When candidate, network and `start` do not fit together.
    """
    settings, torch_device = recipe.settings, context.calibration.torch_device
    inputs, network = to_device(images, torch_device), trainable(context, candidate, start)
    teacher = context.reference.eval() if settings.teacher else None
    refuse_unmovable(settings, "finetuning", inputs, targets, settings.crop_pixels)
    task = _TuningTask(
        network=network,
        teacher=teacher,
        features=network.compare_features(context, teacher) if teacher and settings.feature_weight else None,
        inputs=inputs,
        targets=targets.to(torch_device),
        darkest=find_darkest(inputs),
        recipe=recipe,
        layout=choose_layout(network.model),
    )
    description = {**write_record(settings), "seed": recipe.seed, "images": len(targets)}
    identity = _identity(task, description) if recipe.unfinished is not None else ""
    try:
        with torch.random.fork_rng(devices=[torch_device] if torch_device.type == "cuda" else []):
            torch.manual_seed(recipe.seed)
            kept, found = _train(task, progress, identity)
    finally:
        if task.features is not None:
            task.features.close()
    return task.network.collect({**description, "kept_epoch": kept, **found})


def choose_layout(model: nn.Module) -> torch.memory_format:
    """Return channels last, which is faster for few channels, unless a kernel for it would spoil the memory.

    A training step of ResNet-20 is 1.3 times as fast. But of a 1 x 1 convolution with a stride and fewer input channels
    than a block, oneDNN's gradient of the weights writes past its buffer in this layout (oneDNN issue 6035).
    """
    layers = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    spoils = any(
        layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels // layer.groups < BLOCK
        for layer in layers
    )
    return torch.contiguous_format if spoils else torch.channels_last


def _train(task: _TuningTask, progress: EpochProgress | None, identity: str) -> tuple[int, dict[str, float | None]]:
    """Train the network; the epoch after which it was as it is left, and by what it was chosen on images held aside."""
    settings, model = task.recipe.settings, task.network.model
    model.to(memory_format=task.layout)  # type: ignore[call-overload]
    optimizer = _optimizer(task.network, settings)
    floors = [scale.detach() * SMALLEST_SHARE for scale in task.network.scales()]
    seen, aside = hold_aside(len(task.targets), settings.held_aside, task.targets.device)

    def step(chosen: Tensor) -> Tensor:
        loss = _loss(task, seen[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for scale, floor in zip(task.network.scales(), floors, strict=True):
            scale.data.clamp_(min=floor)
        pressure.advance()
        return loss

    batches = math.ceil(len(seen) / settings.batch_size)
    pressure = Pressure(task.network.stepped(), settings.coded_share, batches * settings.epochs)
    best = BestState(model, partial(_measure, task, aside, pressure)) if len(aside) else None
    if best is not None:
        best.offer(0)
    _training_mode(model, settings)
    course = Course(
        section="finetuning",
        recipe=task.recipe,
        num_images=len(seen),
        torch_device=task.targets.device,
        identity=identity,
        warm_up=WARM_UP,
        parts={"pressure": pressure} if best is None else {"pressure": pressure, "best": best},
        after_epoch=(lambda _: None) if best is None else best.offer,
    )
    run_epochs(model, optimizer, step, course, progress)
    if best is not None:
        best.restore()
    model.eval()
    return (settings.epochs, {}) if best is None else (best.epoch, best.describe())


def _measure(task: _TuningTask, aside: Tensor, pressure: Pressure) -> tuple[float, float]:
    """Return the loss on images held aside, as they are, of the network as it is deployed, and its excess of bytes."""
    model, total = task.network.model, 0.0
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for chosen in torch.split(aside, task.recipe.settings.batch_size):
        inputs = _laid_out(take(task.inputs, chosen), task.layout)
        with torch.no_grad():
            outputs = run(model, inputs)
        # A loss of the user's is asked for gradients.
        total += float(_compare(task, outputs.requires_grad_(), inputs, task.targets[chosen]).detach()) * len(chosen)
    for module, training in modes.items():
        module.training = training
    return total / len(aside), pressure.excess


def _loss(task: _TuningTask, chosen: Tensor) -> Tensor:
    settings = task.recipe.settings
    inputs = augment(take(task.inputs, chosen), settings)
    if settings.crop_pixels:
        inputs = crop(inputs, settings.crop_pixels, task.darkest)
    share = float(torch.rand(())) if settings.mixup and float(torch.rand(())) < settings.mixup else 1.0
    if share < 1.0:
        inputs = tuple(torch.lerp(each.flip(0), each, share) for each in inputs)
    inputs = _laid_out(inputs, task.layout)
    with _statistics_held(task.network.model) if share < 1.0 else nullcontext():
        outputs = _run(task, task.network.model, inputs)
    return _compare(task, outputs, inputs, task.targets[chosen], share)


def _run(task: _TuningTask, model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return a network's outputs; in training its layers multiply by the arithmetic of the settings."""
    coarse = task.network.model.training and task.recipe.settings.arithmetic == "bfloat16"
    with torch.autocast(task.targets.device.type, torch.bfloat16, enabled=coarse):
        outputs: Tensor = run(model, inputs)
    return outputs.float() if coarse else outputs


def _compare(
    task: _TuningTask, outputs: Tensor, inputs: tuple[Tensor, ...], targets: Tensor, share: float = 1.0
) -> Tensor:
    """Return the loss of a batch to its targets and the teacher's outputs; `share` as in `_to_targets`."""
    settings = task.recipe.settings
    if task.teacher is None:
        return _to_targets(task.recipe.loss, outputs, targets, share)
    with torch.no_grad():
        taught = _run(task, task.teacher, inputs)
    soft = _to_teacher(outputs, taught, targets, settings.temperature)
    if task.features is not None and task.network.model.training:
        soft = soft + settings.feature_weight * task.features.measure()
    if settings.teacher_weight == 1.0:
        return soft
    hard = _to_targets(task.recipe.loss, outputs, targets, share)
    return settings.teacher_weight * soft + (1.0 - settings.teacher_weight) * hard


def _laid_out(inputs: tuple[Tensor, ...], layout: torch.memory_format) -> tuple[Tensor, ...]:
    return tuple(each.contiguous(memory_format=layout) if is_image(each) else each for each in inputs)


@contextmanager
def _statistics_held(model: nn.Module) -> Iterator[None]:
    """Hold the statistics of batch norms within it: they will meet images, not mixes, whose variance is smaller."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


def _to_targets(loss: Loss, outputs: Tensor, targets: Tensor, share: float) -> Tensor:
    """Return the loss to the targets by `share`, and for the rest to those of the images mixed in, reversed."""
    found = compute_loss(loss, outputs, targets)
    return found if share == 1.0 else share * found + (1.0 - share) * compute_loss(loss, outputs, targets.flip(0))


def _to_teacher(outputs: Tensor, taught: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the cross entropy to the teacher's classes where targets are class numbers, else the squared error.

    That is relative to the spread of the teacher's outputs, so that one learning rate does for outputs of any scale.
    """
    if outputs.ndim != 2 or targets.ndim != 1 or targets.is_floating_point():
        return F.mse_loss(outputs, taught) / taught.var(correction=0).clamp(min=SMALLEST_SPREAD)
    soft = F.cross_entropy(outputs / temperature, F.softmax(taught / temperature, dim=1))
    return soft * temperature**2


def _training_mode(model: nn.Module, settings: FineTuningSettings) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, BatchNorm) and settings.batch_norm == "frozen":
            module.eval()


def _optimizer(network: Trainable, settings: FineTuningSettings) -> torch.optim.Optimizer:
    weights, scales = network.weights(), network.scales()
    apart = {id(parameter) for parameter in (*weights, *scales)}
    others = [parameter for parameter in network.model.parameters() if id(parameter) not in apart]
    for scale in scales:
        scale.requires_grad_(settings.learn_scales)
    stepped = network.stepped_weights()
    rates = compare_rates(list(stepped.values()), settings.optimizer)
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in weights if weight not in stepped], "weight_decay": settings.weight_decay},
        {"params": others + (scales if settings.learn_scales else []), "weight_decay": 0.0},
    ]
    for weight, rate in zip(stepped, rates, strict=True):
        own = {"weight_decay": settings.weight_decay, "lr": settings.learning_rate * rate}
        groups.append({"params": [weight], **own})
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, MOMENTUM, nesterov=True)
    return torch.optim.Adam(groups, settings.learning_rate)


def _identity(task: _TuningTask, description: dict[str, Any]) -> str:
    """Return SHA-256 over what the result depends on: where it starts, images, settings, candidate."""
    tensors = (*task.network.model.state_dict().values(), *task.inputs, task.targets)
    arrays = (tensor.detach().cpu().numpy() for tensor in tensors)
    return digest(
        json.dumps(description, sort_keys=True), task.recipe.loss.code, task.network.candidate.digest(), *arrays
    )
