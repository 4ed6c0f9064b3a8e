"""Networks: sums, uniform widths, batches."""

from __future__ import annotations

import pytest

from hwmodels import ActivationTensor, LayerError, LayerShape, Network
from hwmodels.workload.networks import NETWORKS

ATTENTION = LayerShape(name="scores", kind="matmul", in_channels=32, out_channels=36, groups=4, in_h=9, out_h=9)
LINEAR = LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10, batch=2)
TENSOR = ActivationTensor(name="x", elements=128, bits=8, first_step=0, last_step=1)
NETWORK = Network(name="net", layers=(ATTENTION, LINEAR), tensors=(TENSOR,), skipped=(("a", "b"),))


def test_a_batch_shares_weights_and_not_activations() -> None:
    batched = NETWORK.batched(3)
    attention, linear = batched.layers
    assert batched.macs == 3 * NETWORK.macs
    assert (linear.batch, linear.weights) == (6, LINEAR.weights)
    assert (attention.groups, attention.m, attention.k, attention.n) == (12, 9, 8, 9)
    assert (attention.inputs, attention.outputs) == (3 * ATTENTION.inputs, 3 * ATTENTION.outputs)
    assert [tensor.elements for tensor in batched.tensors] == [384]
    assert batched.skipped == NETWORK.skipped
    assert NETWORK.batched(1) == NETWORK


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_is_what_the_builders_make(name: str) -> None:
    assert NETWORKS[name]().batched(4).layers == NETWORKS[name](batch=4).layers
    assert NETWORKS[name]().batched(4).tensors == NETWORKS[name](batch=4).tensors


@pytest.mark.parametrize("images", [0, 1.5, True])
def test_a_batch_of_no_images_is_refused(images: int) -> None:
    with pytest.raises(LayerError, match=r"network 'net': num_images: expected a whole number from 1 to \d+, received"):
        NETWORK.batched(images)


def test_a_product_of_activations_has_no_weights_width() -> None:
    attention, linear = NETWORK.jobs(weight_bits=4, input_bits=8)
    assert (attention.weight_bits, attention.input_bits) == (8, 8)
    assert (linear.weight_bits, linear.input_bits, linear.output_bits) == (4, 8, 8)
