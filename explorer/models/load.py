"""From the [model] settings to a network with its weights."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from torch import Tensor, nn

from explorer.errors import ModelError
from explorer.models.checkpoint import load_checkpoint
from explorer.models.factory import call_factory
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.settings import ModelSettings
from explorer.settings.paths import resolve_path


def load_model(
    settings: ModelSettings, data_shape: tuple[int, int, int], classes: int, *, seed: int = 0, folder: str | Path = "."
) -> nn.Module:
    """Build the network, load its checkpoint where there is one, and try it on one batch; in evaluation mode.

    `data_shape` is (channels, height, width); `folder` is where relative paths start. Without a checkpoint the
    weights are random, fixed by `seed`: train them with `train_model`. A factory is the user's code, and is run. The
    global random state stays as it was. Raises ModelError.
    """
    shape = settings.input_shape or data_shape
    if shape != data_shape:
        raise ModelError(
            f"model.input_shape: expected the images' shape {_text(data_shape)}, received {_text(shape)}; "
            "remove the key, or give images of that shape"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.reference is not None:
            name = f"model.reference: {settings.reference!r}"
            model = REFERENCE_NETWORKS[settings.reference](classes)
        else:
            name = f"model.factory: {settings.factory!r}"
            model = call_factory(settings, folder)
        if settings.checkpoint is not None:
            load_checkpoint(model, resolve_path(settings.checkpoint, folder, "model.checkpoint"))
        model.eval()
        _try_out(model, shape, classes, name)
    return model


def _try_out(model: nn.Module, shape: tuple[int, int, int], classes: int, name: str) -> None:
    inputs = _required_inputs(model)
    if inputs > 1:
        raise ModelError(
            f"{name}: its forward() takes {inputs} inputs; networks of several inputs cannot be studied yet: a study's "
            "network takes images alone"
        )
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, *shape))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ModelError(
            f"{name} fails on images of {_text(shape)} (channels x height x width): {reason}; the network must take "
            "the images of [data], and uint8 images are stored channels last, float ones channels first"
        ) from error
    if isinstance(logits, Tensor) and logits.ndim > 2:
        shapes = _text((2, classes)), _text(tuple(logits.shape))
        raise ModelError(
            f"{name}: expected logits of shape {shapes[0]} for 2 images, received {shapes[1]}; "
            "networks that give a map for each image, such as a U-Net, cannot be studied yet, only classifiers can: "
            "explorer cost prices them without a search"
        )
    received = _text(tuple(logits.shape)) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if received != _text((2, classes)):
        raise ModelError(
            f"{name}: expected logits of shape {_text((2, classes))} for 2 images and {classes} classes, "
            f"received {received}; give the network one output for each class of the data"
        )


def _required_inputs(model: nn.Module) -> int:
    """Return how many tensors forward() cannot do without; 1 where that cannot be told."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is inspect.Parameter.empty for each in parameters)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"
