"""The weights that a study's network was trained to: made once, and found again."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx, nn

import explorer
from explorer.data.images import Data
from explorer.digests import digest
from explorer.errors import ModelError
from explorer.files import replaced
from explorer.models.checkpoint import load_checkpoint
from explorer.progress import Notify
from explorer.settings.paths import cache_folder
from explorer.study.study_file import Study
from explorer.training.epochs import Recipe
from explorer.training.loss import Loss, find_loss
from explorer.training.train import train_model


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPlaces:
    """Where the weights of a training are kept: with the results, and for all studies that train the same."""

    own: Path
    shared: Path | None

    @property
    def found(self) -> Path | None:
        """The file that holds them, None while there is none."""
        return next((path for path in (self.own, self.shared) if path is not None and path.is_file()), None)


def trained_places(
    model: nn.Module, canonical: fx.GraphModule, study: Study, data: Data, folder: Path
) -> TrainedPlaces:
    """Return where the weights are that the untrained `model` is trained to.

    What all studies share depends on the very weights that training starts from, on the versions and the kind of
    machine as well: found there or made anew, the weights are the same.
    """
    settings = {**study.to_json()["model"], "seed": study.seed, "images": data.train.digest()}
    settings |= {"loss": training_loss(study, data).code}
    description = json.dumps({**settings, "network": digest_network(canonical)}, sort_keys=True)
    cache, torch_device = cache_folder(), next(model.parameters()).device.type
    made_by = (explorer.__version__, torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability())
    shared = digest("|".join((description, digest_state(model), torch_device, *made_by)))
    return TrainedPlaces(
        own=folder / f"weights-{digest(description)}.pt",
        shared=None if cache is None else cache / f"weights-{shared}.pt",
    )


def training_loss(study: Study, data: Data) -> Loss:
    """Return what the network is trained by.

    Raises:
        ModelError: Where none is named for targets that are no class numbers.
    """
    assert study.model.training is not None  # the study file must have a checkpoint otherwise
    return find_loss(
        study.model.training.loss, study.folder, "model.training.loss", data.num_classes, "give a checkpoint"
    )


def train_once(
    model: nn.Module, canonical: fx.GraphModule, study: Study, data: Data, folder: Path, notify: Notify
) -> None:
    """Train the network, or give it the weights that it was trained to before, in this folder or by another command."""
    training = study.model.training
    assert training is not None  # the study file must have a checkpoint otherwise
    places = trained_places(model, canonical, study, data, folder)
    if places.own.exists():
        try:
            load_checkpoint(model, places.own)
        except ModelError as error:
            reason = str(error).removeprefix(f"model.checkpoint: {places.own}").lstrip(": ").partition(";")[0]
            raise ModelError(f"{places.own}: cannot be used: {reason}; delete it to train the network again") from error
        return
    recipe = Recipe(
        settings=training,
        seed=study.seed,
        loss=training_loss(study, data),
        unfinished=places.own.with_suffix(".unfinished"),
    )
    if places.shared is None or not _loaded(model, places.shared):
        train_model(
            model,
            data.train.inputs,
            data.train.targets,
            recipe,
            lambda done, count, _: notify("train, batches", done, count),
        )
        if places.shared is not None:
            with suppress(OSError):  # a home folder that cannot be written: the next command trains again
                places.shared.parent.mkdir(parents=True, exist_ok=True)
                _save(model, places.shared)
    _save(model, places.own)
    recipe.forget()


def _loaded(model: nn.Module, file: Path) -> bool:
    """Put the weights of a file into the model; False where there are none that can be used."""
    with suppress(ModelError):
        load_checkpoint(model, file)
        return True
    return False


def _save(model: nn.Module, file: Path) -> None:
    with replaced(file) as opened:
        torch.save(model.state_dict(), opened)


def digest_network(model: fx.GraphModule) -> str:
    """Return SHA-256 over what a canonical network computes, weights aside: its code, and modules with settings."""
    modules = "\n".join(f"{path}: {module}" for path, module in model.named_modules() if path)
    return digest(f"{model.code}|{modules}")


def digest_state(model: nn.Module) -> str:
    """Return SHA-256 over all parameters and buffers, first 16 hexadecimal digits."""
    state = sorted({**model.state_dict(), **dict(model.named_buffers())}.items())
    return digest(*(part for name, tensor in state for part in (name, tensor.detach().cpu().numpy())))
