"""Blocks of outputs between a decoder and the writing of results, by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hwmodels import Blocks, DeviceError, LayerJob, LayerShape, evaluate, explain, load
from hwmodels.cost.blocks import count_coded_weights
from hwmodels.workload.layer_arrays import layer_arrays

DEVICE = load("ethos_u55_128")


def conv(channels: int, filters: int, kernel: int, size: int, groups: int = 1) -> LayerJob:
    sizes: dict[str, Any] = dict.fromkeys(("in_h", "in_w", "out_h", "out_w"), size)
    sizes |= {"kernel_h": kernel, "kernel_w": kernel, "groups": groups}
    return LayerJob(shape=LayerShape(name="c", kind="conv", in_channels=channels, out_channels=filters, **sizes))


def linear(inputs: int, outputs: int) -> LayerJob:
    return LayerJob(shape=LayerShape(name="fc", kind="linear", in_channels=inputs, out_channels=outputs))


@pytest.mark.parametrize(
    ("job", "array", "decoder", "writing"),
    [
        # 3 x 3: 3 sets of 4 elements, 2 of 8 channels and 2 of 8 filters, 4 steps each, for 16 x 8 micro-blocks.
        (conv(16, 16, 3, 16), 3 * 2 * 2 * 4 * 128, 12 * 32, 2048),
        # Depth first: 9 elements, one set of 32 channels.
        (conv(32, 8, 3, 16), 9 * 4 * 128, 9 * 32, 1024),
        # 1 x 1 with 8, 16 and 32 channels: the same steps, so that 8 run at a quarter.
        *((conv(channels, 8, 1, 16), 4 * 128, 32, 1024) for channels in (8, 16, 32)),
        # Depthwise: 3 sets of 4 elements for each 8 channels.
        (conv(16, 16, 3, 16, groups=16), 3 * 2 * 4 * 128, 6 * 32, 2048),
        # One position: 256 weights take 32 cycles to decode, and 4 to multiply.
        (linear(64, 16), 2 * 2 * 4, 2 * 2 * 32, 8),
        # The 17th filter takes another block of 16.
        (linear(65, 17), 3 * 4 * 4, 3 * 4 * 32, 9),
        # 24 filters take two blocks, of 16 each, with 9 elements of 32 channels; so do 24 depthwise channels.
        (conv(24, 24, 3, 16), 9 * 4 * 4 * 128, 9 * 4 * 32, 3072),
        (conv(24, 24, 3, 16, groups=24), 3 * 4 * 4 * 128, 3 * 4 * 32, 3072),
    ],
)
def test_the_stages(job: LayerJob, array: int, decoder: int, writing: int) -> None:
    layer = evaluate([job], DEVICE).layers[0]
    assert (layer.array_cycles, layer.decoder_cycles, layer.writing_cycles) == (array, decoder, writing)
    longest = max(array, decoder, writing)
    blocks = -(-job.shape.outputs // 2048)
    shorter = min(max(array, decoder), writing)
    assert layer.compute_cycles == -(-(longest * blocks * 4 + max(shorter * 4, longest)) // (blocks * 4))
    assert layer.latency_cycles >= layer.compute_cycles + layer.first_tile_cycles + 64


def test_a_layer_says_that_it_waits_for_the_decoder() -> None:
    # Weights that are all the same take no time to fetch.
    waits, multiplies = dataclasses.replace(linear(640, 640), entropy_bits=0.0), conv(16, 16, 3, 16)
    decoded, computed = evaluate([waits, multiplies], DEVICE).layers
    assert (decoded.bound, computed.bound) == ("decoder", "compute")
    assert explain(waits, DEVICE, "compute_cycles").formula.startswith("ceil(max(max(array_cycles, decoder_cycles)")
    twice = dataclasses.replace(DEVICE, blocks=dataclasses.replace(DEVICE.blocks, weights_per_cycle=16.0))
    assert evaluate([waits], twice).layers[0].decoder_cycles * 2 == decoded.decoder_cycles
    # A device without a decoder waits for none.
    assert [evaluate([waits], load("stm32l4r5")).layers[0].decoder_cycles] == [0]


@pytest.mark.parametrize(
    ("job", "coded"),
    [
        # One channel of a 10 x 4 kernel is filled up to 8, three of a 3 x 3 kernel to 8 and its 9 elements to 12.
        (LayerJob(shape=dataclasses.replace(conv(1, 64, 1, 16).shape, kernel_h=10, kernel_w=4)), 64 * 8 * 40),
        (conv(3, 16, 3, 16), 16 * 8 * 12),
        (conv(64, 64, 3, 16), 64 * 64 * 9),
        (conv(16, 16, 3, 16, groups=16), 16 * 12),
        (linear(65, 17), 17 * 72),
    ],
)
def test_empty_lanes_are_coded(job: LayerJob, coded: int) -> None:
    assert count_coded_weights(layer_arrays([job]), DEVICE).tolist() == [coded]


def test_zeros_in_empty_lanes_take_bytes() -> None:
    # All weights but the zeros that are added are alike: 432 of 1,536, at 0.857 bits each.
    alike = dataclasses.replace(conv(3, 16, 3, 16), entropy_bits=0.0)
    (layer,) = evaluate([alike], DEVICE).layers
    assert layer.weight_bytes == -(-1.06 * 1536 * 0.8571 // 8) + 16 * 10 + 16
    # Among zeros they do not stand out.
    (none,) = evaluate([dataclasses.replace(alike, density=0.0)], DEVICE).layers
    assert none.weight_bytes == 16 * 10 + 16


@pytest.mark.parametrize(
    ("job", "weights", "inputs"),
    [
        # 8 blocks of 2048 outputs read few weights again.
        (conv(16, 16, 3, 32), 8, 1),
        # 128 channels of 6 x 6 are three blocks: 16 K of weights stay, and 4.6 K of inputs are read for each.
        (conv(128, 128, 1, 6), 1, 3),
        # 12 x 12 positions have no room for 16 channels each.
        (conv(64, 64, 1, 12), 5, 1),
        (linear(640, 640), 1, 1),
    ],
)
def test_weights_in_sram_are_read_for_each_block(job: LayerJob, weights: int, inputs: int) -> None:
    (direct,), (staged,) = (evaluate([job], load(name)).layers for name in ("ethos_u55_128_sram", "ethos_u55_128"))
    assert direct.dram_weight_bits == weights * 8 * direct.weight_bytes
    assert direct.dram_input_bits == inputs * 8 * job.shape.inputs
    assert staged.dram_weight_bits == 8 * staged.weight_bytes


def test_a_note_says_that_an_assumed_memory_decides_and_one_that_the_decoder_does() -> None:
    jobs = [linear(640, 640)]
    flash, sram = (evaluate(jobs, load(name)).notes for name in ("ethos_u55_128", "ethos_u55_128_sram"))
    assert [note for note in flash if "memories.flash on ethos_u55_128, whose 28 pJ a bit are assumed" in note]
    assert not [note for note in flash if "decodes" in note]
    assert [note for note in sram if "decodes 8 weights in a cycle" in note and "(all layers)" in note]
    assert not [note for note in sram if "are assumed" in note]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traversals": ()}, r"blocks.traversals: expected \[input channels, kernel elements\] .* received \(\)"),
        ({"traversals": ((8,),)}, r"blocks.traversals: expected .* received \(\(8,\),\)"),
        ({"traversals": ((8, 0),)}, r"blocks.traversals: expected a whole number .* received 0"),
        ({"depthwise_kernel": 0}, "blocks.depthwise_kernel: expected .* received 0"),
        ({"weights_per_cycle": 0.0}, r"blocks.weights_per_cycle: expected a number .* received 0.0"),
        ({"outputs_per_cycle": -1.0}, r"blocks.outputs_per_cycle: expected a number .* received -1.0"),
        ({"outputs": 0}, "blocks.outputs: expected .* received 0"),
    ],
)
def test_a_wrong_number_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        dataclasses.replace(DEVICE, blocks=dataclasses.replace(Blocks(), **change))


@given(
    sizes=st.tuples(st.integers(1, 64), st.integers(1, 64), st.integers(1, 8), st.integers(1, 1500)),
    kernel=st.sampled_from((1, 3)),
    bits=st.integers(1, 7),
    name=st.sampled_from(("ethos_u55_128_sram", "ethos_u55_256_sram")),
)
@example(sizes=(24, 16, 4, 800), kernel=1, bits=7, name="ethos_u55_128_sram")
def test_neither_narrow_weights_nor_a_large_decoder_cost_traffic(
    sizes: tuple[int, int, int, int], kernel: int, bits: int, name: str
) -> None:
    in_channels, out_channels, rows, columns = sizes
    shape = dataclasses.replace(
        conv(in_channels, out_channels, kernel, 1).shape, in_h=rows, out_h=rows, in_w=columns, out_w=columns
    )
    narrow, wide = (LayerJob(shape=shape, weight_bits=each) for each in (bits, bits + 1))
    device = load(name)
    activations, decoder = device.buffers
    assert decoder.operands == ("weights",)
    large = dataclasses.replace(device, buffers=(activations, dataclasses.replace(decoder, size_bytes=2048)))
    assert evaluate([narrow], device).dram_bits <= evaluate([wide], device).dram_bits
    assert evaluate([wide], large).dram_bits <= evaluate([wide], device).dram_bits
