"""A compressed network as a state dict whose weights are packed at their width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import has_codes
from explorer.export.bits import pack_bits
from explorer.export.stored_bytes import StoredBytes
from explorer.graph.modules import get_attribute
from explorer.graph.names import LAYER_BUFFERS

RAMP = np.arange(-128, 128, dtype=np.int8)
"""All codes in order: layers whose codes share no fewer values have a part of it as their codebook."""


class PackedState(NamedTuple):
    """A state dict, the bits of each layer's places in its codebook, and what its tensors take."""

    tensors: Mapping[str, Tensor]
    widths: Mapping[str, int]
    stored: StoredBytes
    """Of the numbers alone: its total has no layout."""


def pack_state(model: fx.GraphModule) -> PackedState:
    """Return what `apply` built as a state dict: of each layer with codes `packed`, `codebook` and `weight_scale`.

    Tensors of a type lie in one storage, and codebooks in the same place where they are equal.
    """
    numbers: dict[str, NDArray[np.generic]] = {}
    codebooks, widths, weights, scales, biases = [RAMP], {}, {}, 0, 0
    views: dict[str, tuple[int, tuple[int, int]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, ActivationQuantizer):
            scales += 4
        elif has_codes(module):
            places, widths[name], codebook, is_ramp = _find_codebook(module.get_buffer("weight_codes").cpu().numpy())
            start = int(codebook[0, 0]) + 128 if is_ramp else sum(map(len, codebooks))
            views[f"{name}.codebook"] = start, codebook.shape
            codebooks += [] if is_ramp else [codebook.reshape(-1)]
            numbers[f"{name}.packed"] = pack_bits(places, widths[name])
            numbers[f"{name}.weight_scale"] = module.get_buffer("weight_scale").cpu().numpy()
            weights[name] = numbers[f"{name}.packed"].nbytes
            scales += numbers[f"{name}.weight_scale"].nbytes
            biases += 0 if module.bias is None else module.bias.nbytes
    left_out = {f"{name}.{key}" for name in widths for key in ("weight", *LAYER_BUFFERS)}
    kept = {name: value for name, value in model.state_dict().items() if name not in left_out}
    attributes = {str(node.target) for node in model.graph.nodes if node.op == "get_attr"}
    kept |= {name: value for name in sorted(attributes) if isinstance(value := get_attribute(model, name), Tensor)}
    tensors = _share({name: torch.from_numpy(values) for name, values in numbers.items()} | kept)
    shared = torch.from_numpy(np.concatenate(codebooks))
    tensors |= {name: shared[start:][: np.prod(shape)].view(shape) for name, (start, shape) in views.items()}
    total = sum(tensor.nbytes for tensor in (*(tensors[name] for name in (*numbers, *kept)), shared))
    scales += shared.nbytes
    others = total - sum(weights.values()) - scales - biases
    stored = StoredBytes(weights=weights, scales=scales, biases=biases, others=others, total=total)
    return PackedState(tensors, widths, stored)


def _find_codebook(codes: NDArray[np.int8]) -> tuple[NDArray[np.int64], int, NDArray[np.int8], bool]:
    """Return places, their bits, codebook (rows x values), and whether it is a part of RAMP: what takes least."""
    rows = codes.reshape(len(codes), -1).astype(np.int64)
    low, high = int(rows.min()), int(rows.max())
    found = [(rows - low, RAMP[low + 128 : high + 129][None], True)]
    levels = np.unique(rows)
    found.append((np.searchsorted(levels, rows), levels.astype(np.int8)[None], False))
    own = [np.unique(row) for row in rows]
    count = max(map(len, own))
    if len(rows) * count < rows.size:
        places = np.stack([np.searchsorted(values, row) for values, row in zip(own, rows, strict=True)])
        padded = np.stack([np.pad(values, (0, count - len(values)), "edge") for values in own])
        found.append((places, padded.astype(np.int8), False))
    sizes = [_count_bits(codebook) * rows.size + (0 if ramp else 8 * codebook.size) for _, codebook, ramp in found]
    places, codebook, is_ramp = found[int(np.argmin(sizes))]
    return places, _count_bits(codebook), codebook, is_ramp


def _count_bits(codebook: NDArray[np.int8]) -> int:
    return max(1, int(codebook.shape[1] - 1).bit_length())


def _share(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return equal tensors, those of each type one behind the other in one storage."""
    shared: dict[str, Tensor] = {}
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors.values()):
        group = {name: tensor.detach().cpu() for name, tensor in tensors.items() if tensor.dtype == dtype}
        joined, start = torch.cat([tensor.flatten() for tensor in group.values()]), 0
        for name, tensor in group.items():
            shared[name] = joined[start : start + tensor.numel()].view(tensor.shape)
            start += tensor.numel()
    return {name: shared[name] for name in tensors}
