"""Widths: jobs and activations of one choice agree, and where they do not, a note says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import (
    NETWORKS,
    ActivationTensor,
    LayerError,
    LayerShape,
    Network,
    evaluate,
    layer_arrays,
    load,
    names,
    with_widths,
)
from hwmodels.workload.widths import note_widths

RESNET = NETWORKS["mlperf_tiny_resnet8"]()
widths = st.integers(1, 16)


@pytest.mark.parametrize("name", NETWORKS)
@given(bits=st.tuples(widths, widths), data=st.data())
def test_whatever_is_chosen_agrees(name: str, bits: tuple[int, int], data: st.DataObject) -> None:
    network = NETWORKS[name]()
    some = st.sampled_from([layer.name for layer in network.layers])
    layers = data.draw(st.dictionaries(some, st.tuples(widths, widths), max_size=4))
    jobs, tensors = network.at(*bits, layers)
    assert note_widths([layer.name for layer in network.layers], layer_arrays(jobs), tensors) == []
    for job in jobs:
        if job.shape.kind in ("conv", "linear"):
            assert (job.weight_bits, job.input_bits) == layers.get(job.shape.name, bits)
    if not layers:
        assert {tensor.bits for tensor in tensors} == {bits[1]}
        assert jobs == network.jobs(*bits)


def test_an_activation_is_as_wide_as_its_widest_reader_takes_it() -> None:
    jobs, tensors = RESNET.at(8, 8, {"stage2.conv1": (2, 4), "stage2.shortcut": (2, 6), "fc": (4, 4)})
    job = {each.shape.name: each for each in jobs}
    stored = {each.name: each.bits for each in tensors}
    assert (stored["stage1.add"], stored["pool"], stored["conv1"]) == (6, 4, 8)
    assert (job["stage2.conv1"].input_bits, job["stage2.conv1"].memory_input_bits) == (4, 6)
    assert (job["stage2.shortcut"].input_bits, job["stage2.shortcut"].stored_input_bits) == (6, None)
    assert (job["stage1.add"].output_bits, job["stage1.add.relu"].input_bits) == (6, 6)
    assert (job["pool"].input_bits, job["pool"].output_bits) == (8, 4)


def test_half_the_width_takes_half_the_memory() -> None:
    device = load("mpic")
    wide, narrow = (
        evaluate(workload.jobs, device, workload.tensors) for workload in (RESNET.at(8, 8), RESNET.at(8, 4))
    )
    assert (wide.peak_activation_bytes, narrow.peak_activation_bytes) == (49152, 24576)
    assert "memory holds activations" not in " ".join((*wide.notes, *narrow.notes))


def test_both_operands_of_a_product_are_as_wide_as_they_are_stored() -> None:
    product = LayerShape(name="scores", kind="matmul", in_channels=8, out_channels=8, in_h=4, out_h=4)
    life: dict[str, Any] = {"elements": 32, "bits": 8, "first_step": 0, "last_step": 0}
    tensors = (
        ActivationTensor(name="queries", **life, readers=(0,)),
        ActivationTensor(name="keys", **life, second_readers=(0,)),
        ActivationTensor(name="scores", **life, writers=(0,)),
    )
    jobs, stored = Network(name="attention", layers=(product,), tensors=tensors).at(2, 5)
    assert (jobs[0].weight_bits, jobs[0].input_bits, jobs[0].output_bits) == (5, 5, 5)
    assert [tensor.bits for tensor in stored] == [5, 5, 5]


def test_what_does_not_agree_is_noted() -> None:
    jobs, tensors = RESNET.at(8, 8)
    noted = evaluate(RESNET.jobs(8, 4), load("bitfusion"), tensors).notes
    said = "traffic counts 4-bit inputs where memory holds activations of 8 bits (conv1 reads input, conv1.relu reads"
    assert [note for note in noted if note.startswith(said)]
    said = "traffic counts 4-bit outputs where memory holds activations of 8 bits (conv1 writes conv1"
    assert [note for note in noted if note.startswith(said)]
    other = tuple(replace(tensor, bits=6 if tensor.name == "pool" else 8) for tensor in tensors)
    advice = "take both from network.at"
    assert note_widths([layer.name for layer in RESNET.layers], layer_arrays(jobs), other) == [
        f"traffic counts 8-bit outputs where memory holds activations of 6 bits (pool writes pool): {advice}",
        f"traffic counts 8-bit inputs where memory holds activations of 6 bits (fc reads pool): {advice}",
    ]
    assert not [
        note for name in names() for note in evaluate(jobs, load(name), tensors).notes if "memory holds" in note
    ]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"conv9": (8, 8)}, r"layers: no layer is called 'conv9'; the layers are conv1, conv1.relu, .* and 2 more"),
        (
            ["conv1"],
            r"layers: expected names with \(weight_bits, input_bits\) for each, as a dict, received \['conv1'\]",
        ),
        ({"conv1": 8}, r"layers: expected \(weight_bits, input_bits\) for 'conv1', received 8"),
        ({"conv1": (8, 0)}, r"layer 'conv1': input_bits: expected a whole number from 1 to 32, received 0"),
    ],
)
def test_a_wrong_choice_is_refused(layers: Any, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        RESNET.at(8, 8, layers)


@pytest.mark.parametrize(
    ("bits", "received"),
    [
        (4.7, "4.7"),
        ([[8], [4.7]], r"\[\[8.0\], \[4.7\]\]"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (True, "True"),
        ("8", "'8'"),
        ([[8, 8], [4]], "rows of different lengths"),
    ],
)
def test_widths_that_are_no_whole_numbers_are_refused(bits: npt.ArrayLike, received: str) -> None:
    layers = layer_arrays(RESNET.jobs())
    with pytest.raises(LayerError, match=f"^weight_bits: expected an array of whole numbers, received {received}$"):
        with_widths(layers, weight_bits=bits)
    assert with_widths(layers, weight_bits=[4.0] * len(RESNET.layers)).weight_bits.dtype == np.int64
