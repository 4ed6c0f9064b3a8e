"""Layer records: derived sizes, and every wrong field reported at once."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from hwmodels import ActivationTensor, HardwareModelError, LayerError, LayerJob, LayerShape, layer_arrays

CONV: dict[str, Any] = {
    **{"name": "conv", "kind": "conv", "in_channels": 16, "out_channels": 32, "kernel_h": 3, "kernel_w": 5},
    **{"in_h": 8, "in_w": 9, "out_h": 4, "out_w": 5, "groups": 4},
}


def test_sizes_of_a_grouped_convolution() -> None:
    shape = LayerShape(**CONV)
    assert (shape.m, shape.k, shape.n) == (20, 3 * 5 * 4, 8)
    assert shape.macs == 20 * 60 * 8 * 4
    assert (shape.weights, shape.inputs, shape.outputs) == (60 * 32, 8 * 9 * 16, 20 * 32)


def test_linear_layer_over_positions() -> None:
    shape = LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10, in_h=1, in_w=6, out_h=6, out_w=1)
    assert (shape.m, shape.k, shape.n, shape.macs) == (6, 64, 10, 3840)


def test_arrays_agree_with_the_records() -> None:
    shapes = [
        LayerShape(**CONV),
        LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10, bias=False),
    ]
    arrays = layer_arrays([LayerJob(shape=shape, weight_bits=3, codebook_size=5, density=0.5) for shape in shapes])
    for field in ("m", "k", "n", "groups", "macs", "inputs", "outputs", "bias"):
        assert getattr(arrays, field).tolist() == [getattr(shape, field) for shape in shapes]
    assert arrays.weight_bits.tolist() == [3, 3]
    assert arrays.codebook_size.tolist() == [5, 5]
    assert arrays.density.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, r"`name` must be a non-empty text, but got ''"),
        ({"kind": "lstm"}, r"layer 'conv': `kind` must be one of conv, linear, matmul, pool, .* but got 'lstm'"),
        ({"in_channels": 0}, r"`in_channels` must be a whole number from 1 to 2147483647, but got 0"),
        ({"out_h": 2.0}, r"`out_h` must be a whole number from 1 to 2147483647, but got 2.0"),
        ({"kernel_h": True}, r"`kernel_h` must be a whole number .* but got True"),
        ({"bias": 1}, r"`bias` must be true or false, but got 1"),
        ({"groups": 5}, r"`in_channels % groups == 0` must hold, but got in_channels=16, groups=5"),
        ({"kind": "linear"}, r"a layer of kind 'linear' has kernel_h=kernel_w=groups=1, but got kernel_h=3"),
        (
            {"kind": "linear", "kernel_h": 1, "kernel_w": 1, "groups": 1},
            r"`in_h\*in_w == out_h\*out_w` must hold",
        ),
    ],
)
def test_a_wrong_shape_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerError, match=message):
        LayerShape(**(CONV | change))


def test_all_wrong_fields_are_reported_at_once() -> None:
    with pytest.raises(LayerError) as caught:
        LayerShape(**(CONV | {"in_channels": -1, "out_w": 0, "kind": "x"}))
    assert len(caught.value.problems) == 3
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_bits": 0}, r"layer 'conv': `weight_bits` must be a whole number from 1 to 32, but got 0"),
        ({"output_bits": 33}, r"`output_bits` must be a whole number from 1 to 32, but got 33"),
        ({"density": 1.1}, r"`density` must be a number, from 0 to 1, but got 1.1"),
        ({"density": float("nan")}, r"`density` .* but got nan"),
        ({"codebook_size": 0}, r"`codebook_size` must be a whole number from 1 to 2147483647, but got 0"),
        ({"codebooks": 2}, r"`codebooks` must be 1 or one for each of the \d+ output channels, but got 2"),
        ({"codebooks": 1.0}, r"`codebooks` must be a whole number from 1 to 2147483647, but got 1.0"),
    ],
)
def test_a_wrong_job_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerError, match=message):
        LayerJob(shape=LayerShape(**CONV), **change)


def test_a_wrong_activation_is_refused() -> None:
    with pytest.raises(LayerError, match=r"activation 'a': `first_step <= last_step` must hold.*first_step=3"):
        ActivationTensor(name="a", elements=4, bits=8, first_step=3, last_step=2)
    with pytest.raises(LayerError, match=r"`elements` must be a whole number from 0 to 9007199254740992, but got -1"):
        ActivationTensor(name="a", elements=-1, bits=8, first_step=0, last_step=2)


def test_no_jobs_are_refused() -> None:
    with pytest.raises(HardwareModelError, match="at least one layer is needed"):
        layer_arrays([])


def test_records_are_values() -> None:
    assert LayerShape(**CONV) == LayerShape(**CONV)
    assert hash(LayerShape(**CONV)) == hash(LayerShape(**CONV))
    with pytest.raises(dataclasses.FrozenInstanceError):
        LayerShape(**CONV).groups = 2  # type: ignore[misc]
