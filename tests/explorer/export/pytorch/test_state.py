"""The packed state: every code is found again by its bits, in as few as its values take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext, apply
from explorer.export.bits import pack_bits
from explorer.export.pytorch.source import write_source
from explorer.export.pytorch.state import pack_state
from explorer.export.pytorch.unpack import unpack
from tests.support.deployments import mix_widths

RANDOM = np.random.default_rng(0)


def read_bits(packed: bytes, bits: int, count: int) -> list[int]:
    """By one long number."""
    whole = int.from_bytes(packed, "little")
    return [whole >> (bits * place) & (2**bits - 1) for place in range(count)]


@pytest.mark.parametrize("bits", range(1, 9))
def test_places_follow_each_other_without_gaps(bits: int) -> None:
    places = RANDOM.integers(0, 2**bits, 29)
    packed = pack_bits(places, bits)
    assert packed.nbytes == -(-29 * bits // 8)
    assert read_bits(packed.tobytes(), bits, 29) == places.tolist()
    codebook = torch.arange(-128, -128 + 2**bits, dtype=torch.int8)[None]
    assert unpack(torch.from_numpy(packed), bits, codebook, (29,)).tolist() == (places - 128).tolist()


def test_layers_take_the_bits_of_their_values(context: Callable[[str], CompressionContext]) -> None:
    base = context("mixed")
    model = apply(base, mix_widths(base))
    state = pack_state(model)
    layers = {name: module for name, module in model.named_modules() if "weight_codes" in dict(module.named_buffers())}
    assert state.widths.keys() == layers.keys()
    for name, module in layers.items():
        codes, tensors = module.get_buffer("weight_codes"), state.tensors
        found = unpack(tensors[f"{name}.packed"], state.widths[name], tensors[f"{name}.codebook"], tuple(codes.shape))
        assert torch.equal(found, codes)
        assert tensors[f"{name}.packed"].nbytes == -(-codes.numel() * state.widths[name] // 8)
    second = list(layers)[1]
    assert state.widths[second] == 2  # three values, stored in one row
    assert state.tensors[f"{second}.codebook"].shape[0] == 1


def test_tensors_of_a_type_share_one_storage(context: Callable[[str], CompressionContext]) -> None:
    base = context("mixed")
    state = pack_state(apply(base, mix_widths(base)))
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.tensors.values()
    }
    assert len(storages) == len({tensor.dtype for tensor in state.tensors.values()})
    assert sum(storages.values()) == state.stored.total
    assert state.stored.layout == 0


def test_filters_with_values_of_their_own_have_them_where_that_is_less() -> None:
    layer = nn.Linear(400, 4)
    rows = np.stack([RANDOM.choice(RANDOM.permutation(np.arange(-127, 128))[:4], 400) for _ in range(4)])
    network = nn.Sequential(layer)
    layer.register_buffer("weight_codes", torch.from_numpy(rows.astype(np.int8)))
    layer.register_buffer("weight_scale", torch.ones(4))
    traced = torch.fx.symbolic_trace(network)
    state = pack_state(traced)
    assert (state.widths["0"], tuple(state.tensors["0.codebook"].shape)) == (2, (4, 4))
    found = unpack(state.tensors["0.packed"], 2, state.tensors["0.codebook"], (4, 400))
    assert np.array_equal(found.numpy(), rows)


def test_a_module_is_written_whatever_its_layers_are_called() -> None:
    names = ("my_Tensor_layer", "import os", "torch", "\N{GREEK SMALL LETTER ALPHA}")
    network = nn.Sequential()
    for name in names:
        network.add_module(name, nn.Linear(3, 3))
    written: dict[str, Any] = {"__file__": "network.py", "__name__": "network"}
    exec(write_source(torch.fx.symbolic_trace(network), {}, "Of 'quotes' {braces}"), written)
    found, images = written["Network"](), torch.rand(4, 3)
    found.load_state_dict(network.state_dict())
    assert [name for name, _ in found.named_children()] == list(names)
    assert torch.equal(found(images), network(images))
