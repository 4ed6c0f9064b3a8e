"""Loading a checkpoint into a network, as data only."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from explorer.errors import ModelError

WRAPPERS = ("state_dict", "model_state_dict", "model")
PARALLEL_PREFIX = "module."
"""What torch.nn.DataParallel puts before every name."""


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a checkpoint into the model; ModelError unless names, shapes and values fit.

    The file is a state dict, or holds one under `state_dict`, `model_state_dict` or `model`. It is read with
    `weights_only=True`, so that nothing in it is run. Batch-norm step counts may be missing.
    """
    where = f"model.checkpoint: {path}"
    tensors = _state_dict(_read(path, where), where)
    if tensors and all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}
    problems = _misfits(model.state_dict(), tensors)
    if problems:
        raise ModelError(f"{where} does not fit the network: {'; '.join(problems)}; give the checkpoint of this one")
    broken = [name for name, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if broken:
        raise ModelError(f"{where}: NaN or infinite values in {_named(broken)}; use a checkpoint that was sound")
    model.load_state_dict(tensors, strict=False)


def _read(path: Path, where: str) -> object:
    if not path.is_file():
        raise ModelError(f"{where}: no such file; correct the path, or give [model.training] instead")
    with path.open("rb") as file:
        pickled = file.read(1) == pickle.PROTO
    if not pickled and not zipfile.is_zipfile(path):
        raise ModelError(f"{where}: not a PyTorch checkpoint; write it with torch.save(model.state_dict(), path)")
    try:
        with warnings.catch_warnings():
            # A pickle protocol that torch.save does not write: the file is refused below if it matters.
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{where}: refused, because it holds more than tensors, and reading such a file can run code; "
            "write it with torch.save(model.state_dict(), path)"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{where}: cannot be read ({type(error).__name__}: {reason}); fetch it again, or write it with "
            "torch.save(model.state_dict(), path)"
        ) from None


def _state_dict(content: object, where: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for key in WRAPPERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{where}: expected a state dict (names with tensors), received a {type(content).__name__}; "
            "write it with torch.save(model.state_dict(), path)"
        )
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        received = f"other things under {_named(others)}" if others else "nothing in it"
        raise ModelError(f"{where}: expected names with tensors, received {received}; save model.state_dict()")
    return {str(name): tensor for name, tensor in content.items()}


def _misfits(expected: Mapping[str, Tensor], received: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in expected if name not in received and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in received if name not in expected]
    shapes = [
        f"{name} (expected {tuple(expected[name].shape)}, received {tuple(tensor.shape)})"
        for name, tensor in received.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    return [f"{len(names)} {kind}: {_named(names)}" for kind, names in kinds if names]


def _named(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
