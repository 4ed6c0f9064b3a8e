"""Layer records: derived sizes, and every wrong field reported at once."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from hwmodels import ActivationTensor, HardwareModelError, LayerError, LayerJob, LayerShape, layer_arrays

CONV: dict[str, Any] = {
    **{"name": "conv", "kind": "conv", "in_channels": 16, "out_channels": 32, "kernel_h": 3, "kernel_w": 5},
    **{"in_h": 8, "in_w": 9, "out_h": 4, "out_w": 5, "stride_h": 2, "stride_w": 2, "groups": 4},
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
        ({"name": ""}, r"name: expected a non-empty text, received ''"),
        ({"kind": "lstm"}, r"layer 'conv': kind: expected one of conv, linear, matmul, pool, .* received 'lstm'"),
        ({"in_channels": 0}, r"in_channels: expected a whole number from 1 to 2147483647, received 0"),
        ({"out_h": 2.0}, r"out_h: expected a whole number from 1 to 2147483647, received 2.0"),
        ({"kernel_h": True}, r"kernel_h: expected a whole number .* received True"),
        ({"bias": 1}, r"bias: expected true or false, received 1"),
        ({"groups": 5}, r"expected in_channels % groups == 0, received in_channels=16, groups=5"),
        ({"kind": "linear"}, r"expected kernel_h=kernel_w=groups=1 for a layer of kind 'linear', received kernel_h=3"),
        (
            {"kind": "linear", "kernel_h": 1, "kernel_w": 1, "groups": 1},
            r"expected in_h\*in_w == out_h\*out_w",
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
        ({"weight_bits": 0}, r"layer 'conv': weight_bits: expected a whole number from 1 to 32, received 0"),
        ({"output_bits": 33}, r"output_bits: expected a whole number from 1 to 32, received 33"),
        ({"density": 1.1}, r"density: expected a number from 0 to 1, received 1.1"),
        ({"density": float("nan")}, r"density: .* received nan"),
        ({"codebook_size": 0}, r"codebook_size: expected a whole number from 1 to 2147483647, received 0"),
        ({"codebooks": 2}, r"codebooks: expected 1 or one for each of the \d+ output channels, received 2"),
        ({"codebooks": 1.0}, r"codebooks: expected a whole number from 1 to 2147483647, received 1.0"),
    ],
)
def test_a_wrong_job_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerError, match=message):
        LayerJob(shape=LayerShape(**CONV), **change)


def test_a_wrong_activation_is_refused() -> None:
    with pytest.raises(LayerError, match=r"activation 'a': expected first_step <= last_step.*first_step=3"):
        ActivationTensor(name="a", elements=4, bits=8, first_step=3, last_step=2)
    with pytest.raises(LayerError, match=r"elements: expected a whole number from 0 to 9007199254740992, received -1"):
        ActivationTensor(name="a", elements=-1, bits=8, first_step=0, last_step=2)
    layers: dict[str, Any] = {"writers": 3, "readers": (-1,), "external": 1}
    with pytest.raises(LayerError) as caught:
        ActivationTensor(name="a", elements=1, bits=8, first_step=0, last_step=2, **layers)
    assert list(caught.value.problems) == [
        "activation 'a': writers: expected indices of layers, received 3",
        "activation 'a': readers: expected a whole number from 0 to 2147483647, received -1",
        "activation 'a': external: expected true or false, received 1",
    ]


def test_no_jobs_are_refused() -> None:
    with pytest.raises(HardwareModelError, match="expected at least one layer"):
        layer_arrays([])


def test_records_are_values() -> None:
    assert LayerShape(**CONV) == LayerShape(**CONV)
    assert hash(LayerShape(**CONV)) == hash(LayerShape(**CONV))
    with pytest.raises(dataclasses.FrozenInstanceError):
        LayerShape(**CONV).groups = 2  # type: ignore[misc]
