"""Loading a checkpoint into a network, as data only."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from explorer.errors import ModelError, one_line
from explorer.models.weights import Weights, find_weights, first_names

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MEMORY_LIMIT = 4 * 2**30
"""Bytes that a file may unfold to, where it is not as large itself (assumed: weights hardly become smaller)."""


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a checkpoint into the model.

    The file is a state dict, or holds one in a table, or a table within it, of any name: the network itself goes
    before a moving average of it. What wrappers (DataParallel, torch.compile, Lightning) put before every name is
    taken off where that makes the names fit. The file is read with `weights_only=True`, so that nothing in it is
    run. Batch-norm step counts may be missing. Tensors must be dense, of floats where the network has floats, and
    finite in the network's own type, or as the network is made.

    Raises:
        ModelError: Unless names, shapes and values fit.
    """
    where = f"model.checkpoint: {path}"
    expected = model.state_dict()
    if not path.is_file():
        raise ModelError(f"{where}: no such file; correct the path, or give [model.training] instead")
    entries = dict(_the_one(read_tensors(path, where), expected, where).entries)
    faults: dict[str, list[str]] = {}
    for name, value in entries.items():
        wanted = expected[name]
        if isinstance(value, Tensor) and isinstance(wanted, Tensor):
            converted, fault = _converted(value.detach(), wanted)
            entries[name] = converted
            if fault:
                faults.setdefault(fault, []).append(name)
    if faults:
        told = "; ".join(f"{first_names(names)}: {fault}" for fault, names in faults.items())
        raise ModelError(f"{where}: {told}")
    try:
        model.load_state_dict(entries, strict=False)
    except Exception as error:  # a module may have a way of its own to take its state
        raise ModelError(f"{where} does not fit the network: {_reason(error)}") from None


def _the_one(content: object, expected: Mapping[str, object], where: str) -> Weights:
    """Return the table that is the network's; ModelError where there is none, or no telling which."""
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{where}: expected a state dict (names with tensors), received a {type(content).__name__}; "
            "write it with torch.save(model.state_dict(), path)"
        )
    held = first_names(list(map(str, content)))
    found = find_weights(content, expected)
    if not found:
        received = f"other things under {held}" if content else "nothing in it"
        raise ModelError(f"{where}: expected names with tensors, received {received}; save model.state_dict()")
    best = found[0]
    if best.problems:
        among = f"; the file holds {held}" if best.place else ""
        raise ModelError(
            f"{where} does not fit the network{best.told}: {'; '.join(best.problems)}{among}; "
            "give the checkpoint of this one"
        )
    equals = [each for each in found if not each.problems and each.rank == best.rank]
    if len(equals) > 1:
        places = first_names([" / ".join(each.place) for each in equals])
        raise ModelError(f"{where}: fits the network {len(equals)} times, under {places}; save the one that is meant")
    return best


def read_tensors(path: Path, where: str) -> object:
    """Return what torch.save wrote, as data only and on the CPU; ModelError, with `where` first, for anything else."""
    with path.open("rb") as file:
        pickled = file.read(1) == pickle.PROTO
    try:
        if not pickled:
            _check_archive(path, where)
        with warnings.catch_warnings():
            # Of a pickle protocol that torch.save does not write, of sparse layouts and the like: refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except pickle.UnpicklingError:
        raise ModelError(
            f"{where}: refused, because it holds more than tensors, and reading such a file can run code; "
            "write it with torch.save(model.state_dict(), path)"
        ) from None
    except Exception as error:
        raise ModelError(
            f"{where}: cannot be read ({_reason(error)}); fetch it again, or write it with "
            "torch.save(model.state_dict(), path)"
        ) from None


def _check_archive(path: Path, where: str) -> None:
    """Refuse what must not be unfolded: a file that would fill the memory, and a program."""
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{where}: not a PyTorch checkpoint; write it with torch.save(model.state_dict(), path)")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if size > max(MEMORY_LIMIT, path.stat().st_size):
        raise ModelError(
            f"{where}: would unfold to {size / 2**30:,.1f} GiB, expected at most {MEMORY_LIMIT / 2**30:.0f}; "
            "write it with torch.save(model.state_dict(), path)"
        )
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise ModelError(
            f"{where}: holds a TorchScript program, not weights alone; "
            "save torch.jit.load(path).state_dict() with torch.save"
        )


def _converted(tensor: Tensor, wanted: Tensor) -> tuple[Tensor, str | None]:
    """Return a tensor in the type of the network's, and what is wrong with it; nothing is unfolded that is not dense.

    Infinite values are none of a sound network, unless it is made with them, such as the mask of an attention.
    """
    dtype = wanted.dtype
    if fault := _layout_fault(tensor, dtype):
        return tensor, fault
    converted, kind = tensor.to(dtype), _name(dtype)
    if not dtype.is_floating_point:
        same = bool((converted == tensor).all())
        return converted, None if same else f"values that {kind} cannot hold; save them as the network has them"
    if bool(converted.isfinite().all()) or torch.equal(converted, wanted.cpu()):
        return converted, None
    if bool(tensor.isfinite().all()):
        return converted, f"values too large for {kind}, in which they are infinite; use a checkpoint that was sound"
    return converted, "NaN or infinite values; use a checkpoint that was sound"


def _layout_fault(tensor: Tensor, dtype: torch.dtype) -> str | None:
    """Return what keeps a tensor from being one of dense numbers of the network's kind."""
    if tensor.is_meta:
        return "without values (on the meta device); save the network that has them"
    if tensor.is_quantized:
        return f"quantised ({_name(tensor.dtype)}); save tensor.dequantize()"
    if tensor.layout != torch.strided:
        return f"not dense ({_name(tensor.layout)}); save tensor.to_dense()"
    if dtype in FLOATS and tensor.dtype not in FLOATS:
        return (
            f"{_name(tensor.dtype)}, where the network has {_name(dtype)}: codes without their scale are no weights; "
            "save the values themselves as floats"
        )
    return None


def _name(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error))[:200]}"
