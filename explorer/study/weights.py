"""The weights that a study's network was trained to: made once, and found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import fx, nn

from explorer.data.images import Data
from explorer.errors import ModelError
from explorer.files import replaced
from explorer.models.checkpoint import load_checkpoint
from explorer.models.train import train_model
from explorer.study.study_file import Study

Notify = Callable[[str, int, int], None]


def train_once(
    model: nn.Module, network: str, study: Study, data: Data, folder: Path, notify: Callable[[str, int, int], None]
) -> None:
    """Train the network, or give it the weights that it was trained to in this folder before."""
    training = study.model.training
    assert training is not None  # the study file must have a checkpoint otherwise
    settings = {**study.to_json()["model"], "seed": study.seed, "images": data.train.digest()}
    description = {**settings, "network": network}
    kept = folder / f"weights-{digest_of(json.dumps(description, sort_keys=True))}.pt"
    if kept.exists():
        try:
            load_checkpoint(model, kept)
        except ModelError as error:
            reason = str(error).removeprefix(f"model.checkpoint: {kept}").lstrip(": ").partition(";")[0]
            raise ModelError(f"{kept}: cannot be used: {reason}; delete it to train the network again") from error
        return
    train_model(
        model,
        data.train.images,
        data.train.labels,
        training,
        seed=study.seed,
        progress=lambda done, count, _: notify("train, batches", done, count),
        unfinished=kept.with_suffix(".unfinished"),
    )
    with replaced(kept) as file:
        torch.save(model.state_dict(), file)


def network_digest(model: fx.GraphModule) -> str:
    """SHA-256 over what a canonical network computes, its weights aside: its code, and its modules with settings."""
    modules = "\n".join(f"{path}: {module}" for path, module in model.named_modules() if path)
    return digest_of(model.code, modules)


def state_digest(model: nn.Module) -> str:
    """SHA-256 over all parameters and buffers, first 16 hexadecimal digits."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()[:16]


def digest_of(*texts: str) -> str:
    """SHA-256 over texts, first 16 hexadecimal digits."""
    return hashlib.sha256("|".join(texts).encode()).hexdigest()[:16]
