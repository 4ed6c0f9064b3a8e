"""Weights that wait in the memory of the activations for the layer that needs them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from hwmodels import ActivationTensor, DeviceError, LayerJob, LayerShape, evaluate, layer_arrays, load, with_widths

SIZES: dict[str, Any] = {"in_h": 4, "in_w": 4, "out_h": 4, "out_w": 4}
JOBS = [
    LayerJob(shape=LayerShape(name="a", kind="conv", in_channels=16, out_channels=16, **SIZES)),
    LayerJob(shape=LayerShape(name="b", kind="conv", in_channels=16, out_channels=64, **SIZES)),
    LayerJob(shape=LayerShape(name="fc", kind="linear", in_channels=1024, out_channels=512)),
]
TENSORS = [
    ActivationTensor(name="image", elements=256, bits=8, first_step=0, last_step=0, readers=(0,)),
    ActivationTensor(name="a", elements=256, bits=8, first_step=0, last_step=1, writers=(0,), readers=(1,)),
    ActivationTensor(name="b", elements=1024, bits=8, first_step=1, last_step=2, writers=(1,), readers=(2,)),
    ActivationTensor(name="fc", elements=512, bits=8, first_step=2, last_step=2, writers=(2,)),
]
DEVICE = load("ethos_u55_128")


def needed(jobs: list[LayerJob], tensors: list[ActivationTensor]) -> int:
    (fit,) = (fit for fit in evaluate(jobs, DEVICE, tensors).fits if fit.place == "memories.sram")
    assert fit.holds == ("inputs", "outputs", "staged weights")
    return fit.needed_bytes


def test_weights_are_staged_beside_what_is_alive_while_their_layer_runs() -> None:
    # The second layer's 1024 weights, 64 biases and scales, and 1280 activations. Those of the last are read once.
    assert needed(JOBS, TENSORS) == 256 + 1024 + 1024 + 640 + 16
    weights = evaluate(JOBS, DEVICE, TENSORS).layers[2].weight_bytes
    assert weights > 2**19


def test_a_layer_runs_when_its_result_is_first_kept() -> None:
    later = [
        dataclasses.replace(tensor, first_step=10 * tensor.first_step, last_step=10 * tensor.last_step)
        for tensor in TENSORS
    ]
    assert needed(JOBS, later) == needed(JOBS, TENSORS)


def test_candidates_are_measured_like_networks() -> None:
    layers = with_widths(layer_arrays(JOBS), weight_bits=[[2], [8]])
    (fit,) = (fit for fit in evaluate(layers, DEVICE, TENSORS).memory_fits if fit.place == "memories.sram")
    alone = [needed([dataclasses.replace(job, weight_bits=bits) for job in JOBS], TENSORS) for bits in (2, 8)]
    assert np.array_equal(fit.needed_bytes, alone)


def test_what_exceeds_the_memory_does_not_fit() -> None:
    small = dataclasses.replace(
        DEVICE,
        memories=tuple(
            dataclasses.replace(memory, size_bytes=2500) if memory.name == "sram" else memory
            for memory in DEVICE.memories
        ),
    )
    cost = evaluate(JOBS, small, TENSORS)
    assert [fit.fits for fit in cost.fits if fit.place == "memories.sram"] == [False]
    assert any("inputs and outputs and staged weights need 2960 bytes" in note for note in cost.notes)


def test_a_memory_that_is_not_there_stages_nothing() -> None:
    staged = dataclasses.replace(DEVICE.find_buffer("weights"), staged_in="dram")
    with pytest.raises(DeviceError, match=r"buffers.staged_weights.staged_in: expected one of sram, flash, rec"):
        dataclasses.replace(DEVICE, buffers=(DEVICE.find_buffer("inputs"), staged))
