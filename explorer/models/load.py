"""From the [model] settings to a network with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from explorer.errors import ModelError, describe_error
from explorer.graph.copies import unwrap
from explorer.graph.input_checks import name_arguments
from explorer.models.checkpoint import load_checkpoint
from explorer.models.factory import call_factory
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.settings import ModelSettings
from explorer.settings.paths import resolve_path


def load_model(
    settings: ModelSettings,
    shapes: Sequence[tuple[int, ...]],
    num_classes: int | None,
    *,
    seed: int = 0,
    folder: str | Path = ".",
    is_classifier: bool = True,
) -> nn.Module:
    """Build the network, load its checkpoint where there is one, and try it on one batch; in evaluation mode.

    Without a checkpoint the weights are random, fixed by `seed`: train them with `train_model`. A factory is the user's
    code, and is run. The global random state stays as it was.

    Args:
        shapes: The shape of each input of an image, (channels, height, width) where it is one.
        folder: Where relative paths start.

    Raises:
        ModelError: For a network that cannot be built or run, a classifier that does not give a logit for each of
            `num_classes`, and any other that does not give one tensor with an entry for each image.
    """
    if settings.input_shape is not None and (settings.input_shape,) != tuple(shapes):
        raise ModelError(
            f"model.input_shape: expected the images' shape {_texts(shapes)}, received {_text(settings.input_shape)}; "
            "remove the key, or give images of that shape"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.reference is not None:
            name = f"model.reference: {settings.reference!r}"
            model = REFERENCE_NETWORKS[settings.reference](num_classes or 1)  # of targets that are no classes one map
        else:
            name = f"model.factory: {settings.factory!r}"
            model = call_factory(settings, folder)
        if settings.checkpoint is not None:
            load_checkpoint(model, resolve_path(settings.checkpoint, folder, "model.checkpoint"))
        model.eval()
        outputs = _try_out(model, shapes, name)
        if is_classifier:
            _refuse_other_logits(outputs, num_classes or 0, name)
        elif not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != 2:
            raise ModelError(
                f"{name}: expected one tensor with an entry for each of 2 images, received {_received(outputs)}; "
                "return one tensor"
            )
    return model


def _try_out(model: nn.Module, shapes: Sequence[tuple[int, ...]], name: str) -> object:
    """Return what the network gives for two images of zeros."""
    name_arguments(unwrap(model), len(shapes), name)
    try:
        with torch.inference_mode():
            return model(*(torch.zeros(2, *shape) for shape in shapes))
    except Exception as error:
        reason = describe_error(error)
        raise ModelError(
            f"{name} fails on images of {_texts(shapes)} (channels x height x width): {reason}; the network must take "
            "the images of [data], and uint8 images are stored channels last, float ones channels first"
        ) from error


def _refuse_other_logits(outputs: object, num_classes: int, name: str) -> None:
    expected = _text((2, num_classes))
    if isinstance(outputs, Tensor) and outputs.ndim > 2:
        raise ModelError(
            f"{name}: expected logits of shape {expected} for 2 images, received {_received(outputs)}; name what "
            "scores a map for each image, such as that of a U-Net, in [score] function"
        )
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != (2, num_classes):
        raise ModelError(
            f"{name}: expected logits of shape {expected} for 2 images and {num_classes} classes, "
            f"received {_received(outputs)}; give the network one output for each class of the data, or name what "
            "scores other outputs in [score] function"
        )


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"


def _texts(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(_text, shapes))


def _received(outputs: object) -> str:
    return _text(tuple(outputs.shape)) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
