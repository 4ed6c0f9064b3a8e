"""Open a packed state dict, with the module beside it that runs it."""

from __future__ import annotations

from pathlib import Path

import torch

from explorer.errors import ExportError, describe_error
from explorer.export.artefact import Artefact, Port
from explorer.export.pytorch.package import MODULE, run_alone
from explorer.export.pytorch.source import WEIGHTS
from explorer.export.stored_bytes import StoredBytes

SCALES = ("weight_scale", "scale")


def load(path: Path) -> Artefact:
    """Open a state dict; running it runs the code of the module, in a process of its own without this package.

    Raises:
        ExportError: It is no state dict, or the module is not beside it.
    """
    module = path.with_name(MODULE)
    if path.name != WEIGHTS:
        raise ExportError(f"{path}: expected {WEIGHTS}, which {MODULE} beside it reads; call it so")
    if not module.is_file():
        raise ExportError(f"{path}: holds weights, and the network is {module}, which is missing; keep them together")
    try:
        state = torch.load(path, weights_only=True)
        stored = _count(state, path.stat().st_size + module.stat().st_size)
    except Exception as error:  # torch raises of many kinds
        raise ExportError(f"{path}: is no state dict ({describe_error(error)}); write it again") from error
    return Artefact(
        form="pt",
        network=path,
        inputs=(),
        output=Port(name="logits"),
        stored=stored,
        run=lambda images: run_alone(path.parent, images),
        notes=(f"{module.name} beside it is code that is run to score it",),
    )


def _count(state: dict[str, torch.Tensor], total: int) -> StoredBytes:
    """Return what the tensors are; codebooks lie in one storage."""
    layers = {name.removesuffix(".packed") for name in state if name.endswith(".packed")}
    weights: dict[str, int] = {}
    kinds, codebooks = dict.fromkeys(("scales", "biases", "others"), 0), dict[int, int]()
    for name, tensor in state.items():
        layer, _, role = name.rpartition(".")
        if role == "packed":
            weights[layer] = tensor.nbytes
        elif role == "codebook":
            codebooks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        elif role in SCALES:
            kinds["scales"] += tensor.nbytes
        else:
            kinds["biases" if role == "bias" and layer in layers else "others"] += tensor.nbytes
    kinds["scales"] += sum(codebooks.values())
    return StoredBytes(weights=weights, total=total, **kinds)
