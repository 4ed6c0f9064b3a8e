"""DRAM and SRAM traffic by hand, for each dataflow."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hwmodels import Accelerator, Buffer, LayerJob, LayerShape, layer_arrays, layer_terms, load
from hwmodels.cost.tiling import capacities

FC = LayerShape(name="fc", kind="linear", in_channels=64, out_channels=32, in_h=100, out_h=100, bias=False)
WEIGHT_BITS = 64 * 32 * 8 + 32 * 4 * 8
INPUT_BITS = 100 * 64 * 8


def _device(dataflow: str, weights: int, inputs: int, outputs: int, **changes: Any) -> Accelerator:
    """Return an 8 x 8 int8 array with buffers of so many bytes."""
    sizes = {"weights": weights, "inputs": inputs, "outputs": outputs}
    buffers = tuple(
        Buffer(name=name, operands=(name,), size_bytes=size, read_energy_pj_per_bit=1, write_energy_pj_per_bit=1)
        for name, size in sizes.items()
    )
    fields: dict[str, Any] = {"rows": 8, "columns": 8, "dataflow": dataflow, "buffers": buffers, **changes}
    return dataclasses.replace(load("gemmini_default"), **fields)


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
def test_what_fits_is_fetched_once(dataflow: str) -> None:
    dram = layer_terms(layer_arrays([LayerJob(shape=FC)]), _device(dataflow, 4096, 8192, 16384)).dram
    assert dram.weight_bits.tolist() == [WEIGHT_BITS]
    assert dram.input_bits.tolist() == [INPUT_BITS]
    assert dram.output_bits.tolist() == [100 * 32 * 8]


@pytest.mark.parametrize(
    ("dataflow", "buffers", "weight_passes", "input_passes"),
    [
        # Half of 2048 bytes keeps 16 lines of 64 inputs; the 2048 bytes of weights fit as a whole.
        ("ws", (2048, 2048, 16384), 1, 1),
        # The output buffer holds all 800 sums of a fold, and half of it those of two folds of n, which share
        # the 800 inputs of a fold of k: 2 passes of the inputs.
        ("ws", (1024, 2048, 16384), 1, 2),
        # Half of 3199 bytes holds 399 sums: no two folds together. Inputs of 16 positions stay, 7 passes of
        # the weights; or the weights of 8 channels, 4 passes of the inputs, which is more traffic.
        ("ws", (1024, 2048, 3199), 7, 1),
        # No line of inputs stays: weights of 8 channels do, and inputs are fetched for each of 4 such blocks.
        ("ws", (1024, 64, 16384), 1, 4),
        # Weights of 12 channels stay: two such blocks and one of the 8 that are left.
        ("ws", (1536, 64, 16384), 1, 3),
        # Nothing stays at all: 64 sums, half of the output buffer, are 8 positions of 8 columns: 13 blocks,
        # and in each the inputs are streamed for all 4 folds of n.
        ("ws", (64, 64, 512), 13, 4),
        # The inputs of 8 positions stay, weights do not: a block is one row fold of 8, 13 of them.
        ("os", (64, 1024, 64), 13, 1),
        # Weights of 8 channels stay, inputs do not: 4 blocks of channels.
        ("os", (1024, 64, 64), 1, 4),
        # Neither: whichever of 13 x weights + 4 x inputs comes first.
        ("os", (64, 64, 64), 13, 4),
        # All 256 sums of a fold are held, and of 8 folds of positions together: 13 folds fetch weights twice.
        ("is", (2047, 64, 16384), 2, 1),
    ],
)
def test_refetches_by_hand(dataflow: str, buffers: tuple[int, int, int], weight_passes: int, input_passes: int) -> None:
    dram = layer_terms(layer_arrays([LayerJob(shape=FC)]), _device(dataflow, *buffers)).dram
    assert (dram.weight_passes.tolist(), dram.input_passes.tolist()) == ([weight_passes], [input_passes])
    assert dram.weight_bits.tolist() == [weight_passes * WEIGHT_BITS]
    assert dram.input_bits.tolist() == [input_passes * INPUT_BITS]


def test_sums_kept_together_save_input_passes() -> None:
    # 4 positions x 8 columns are 32 sums; half of the 2048-byte buffer holds 256: 8 folds of n together.
    shape = LayerShape(name="fc", kind="linear", in_channels=4096, out_channels=128, in_h=4, out_h=4, bias=False)
    dram = layer_terms(layer_arrays([LayerJob(shape=shape)]), _device("ws", 64, 64, 2048)).dram
    assert (dram.weight_passes.tolist(), dram.input_passes.tolist()) == ([1], [2])


def test_first_tile() -> None:
    layers = layer_arrays([LayerJob(shape=FC)])
    per_weight = WEIGHT_BITS / (64 * 32)
    for dataflow, bits in (
        ("ws", 8 * (8 * per_weight + 8)),
        ("is", 8 * (per_weight + 8 * 8)),
        ("os", 8 * 8 + 8 * per_weight),
    ):
        dram = layer_terms(layers, _device(dataflow, 4096, 8192, 16384)).dram
        assert (dram.first_tile_weight_bits + dram.first_tile_input_bits).tolist() == [int(np.ceil(bits))]


def test_sram_bits_are_counts_times_the_held_width() -> None:
    layers = layer_arrays([LayerJob(shape=FC, weight_bits=4, input_bits=4, output_bits=4)])
    ws = layer_terms(layers, _device("ws", 4096, 8192, 16384)).sram
    # Four bits are held as eight by an int8 array; sums are 32 bits, and all but the first are read back.
    assert ws.ifmap_read_bits.tolist() == [100 * 64 * 4 * 8]
    assert ws.filter_read_bits.tolist() == [64 * 32 * 8]
    assert ws.ofmap_write_bits.tolist() == [100 * 32 * 8 * 32]
    assert ws.ofmap_read_bits.tolist() == [100 * 32 * 7 * 32]
    out = layer_terms(layers, _device("os", 4096, 8192, 16384)).sram
    assert out.ofmap_write_bits.tolist() == [100 * 32 * 4]
    assert out.ofmap_read_bits.tolist() == [0]


def test_a_shared_buffer_gives_what_the_other_operands_leave() -> None:
    device = load("gemmini_default")
    size = 262144 * 8
    needs = {"weights": np.array([100, size]), "inputs": np.array([size, size]), "outputs": np.array([1, 1])}
    usable = capacities(device, needs)
    assert usable["inputs"].tolist() == [size - 100, size // 2]
    assert usable["weights"].tolist() == [size // 2, size // 2]
    assert usable["outputs"].tolist() == [65536 * 8] * 2
