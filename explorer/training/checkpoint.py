"""The state of an interrupted training in a file: what a later call needs to end at the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from explorer.errors import ModelError
from explorer.files import replaced
from explorer.models.checkpoint import read_tensors


class Part(Protocol):
    """What has a state: a network, an optimiser, a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as data."""
        ...

    def load_state_dict(self, known: Any, /) -> Any:
        """Take it up."""
        ...


Parts = dict[str, Part]


def keep(path: Path, parts: Parts, epoch: int, identity: str = "") -> None:
    """Write the state after an epoch, whole or not at all; `identity` names what is being trained, and how."""
    state = {name: part.state_dict() for name, part in parts.items()}
    with replaced(path) as file:
        torch.save({**state, "epoch": epoch, "random": _random_states(), "identity": identity}, file)


def resume(path: Path, parts: Parts, identity: str = "") -> int:
    """Take up the state of an interrupted training; the number of its epochs, 0 where there is none.

    Raises:
        ModelError: When the file is no such state, or that of another `identity`.
    """
    if not path.exists():
        return 0
    try:
        state: Any = read_tensors(path, str(path))
        others = state["identity"] != identity
        if not others:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            torch.set_rng_state(state["random"][0])
            if torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["random"][1:])
            epoch = int(state["epoch"])
    except Exception as error:  # optimizers and the like take what they are given
        raise ModelError(
            f"{path}: not the state of an interrupted training ({type(error).__name__}); delete it to train anew"
        ) from error
    if others:
        raise ModelError(
            f"{path}: belongs to a training of other weights, images or settings; restore them, or delete it to "
            "train anew"
        )
    return epoch


def _random_states() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
