"""MPIC's MACs in a cycle by the bits of activations and weights, as published (Ottavi et al., arXiv 2010.04073)."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels import NETWORKS, LayerJob, LayerShape, evaluate, layer_arrays, load, with_widths

PUBLISHED = {
    8: {8: 2.1, 4: 2.3, 2: 2.5},
    4: {8: 2.1, 4: 3.5, 2: 3.9},
    2: {8: 2.2, 4: 4.0, 2: 6.5},
}
"""Bits of activations -> bits of weights -> MACs in a cycle."""
PAIRS = [(inputs, weights, rate) for inputs, row in PUBLISHED.items() for weights, rate in row.items()]
# Its MACs are divided by all rates without a rest, but for half a cycle at 4 MACs.
SHAPE = LayerShape(name="conv", kind="conv", in_channels=13 * 23 * 5, out_channels=2 * 3 * 7 * 11)


@pytest.mark.parametrize(("input_bits", "weight_bits", "rate"), PAIRS)
def test_a_layer_takes_the_published_cycles(input_bits: int, weight_bits: int, rate: float) -> None:
    job = LayerJob(shape=SHAPE, weight_bits=weight_bits, input_bits=input_bits)
    cost = evaluate([job], load("mpic")).layers[0]
    assert cost.compute_cycles == np.ceil(np.round(SHAPE.macs / rate, 6))
    assert cost.utilisation == pytest.approx(1.0, rel=1e-4)


def test_weights_pay_only_beside_inputs_as_narrow() -> None:
    network, device = NETWORKS["mlperf_tiny_resnet8"](), load("mpic")

    def cycles(weights: int, inputs: int) -> int:
        return evaluate(network.jobs(weight_bits=weights, input_bits=inputs), device).latency_cycles

    assert cycles(8, 4) == pytest.approx(cycles(8, 8), rel=0.001)
    assert 1.08 < cycles(8, 8) / cycles(4, 8) < 1.10
    assert 1.6 < cycles(8, 8) / cycles(4, 4) < 1.7
    notes = evaluate(network.jobs(weight_bits=8, input_bits=4), device).notes
    said = "4-bit inputs take the MAC energy and time of 8-bit inputs on mpic: they save storage and traffic only"
    assert said in notes
    assert said not in evaluate(network.jobs(weight_bits=4, input_bits=4), device).notes


def test_the_published_range_of_resnet_8_is_met() -> None:
    # eml-eda/mixprec-pruning (arXiv 2407.01054): 5.0 million cycles at the accuracy of 8 bits, some weights narrower.
    network, device = NETWORKS["mlperf_tiny_resnet8"](), load("mpic")
    wide = evaluate(network.jobs(weight_bits=8, input_bits=8), device).latency_cycles
    assert 5.0e6 < wide < 1.25 * 5.0e6


def test_pairs_of_many_candidates_are_looked_up_at_once() -> None:
    layers = layer_arrays([LayerJob(shape=SHAPE)])
    inputs, weights = (np.array([pair[side] for pair in PAIRS]).reshape(-1, 1) for side in (0, 1))
    costs = evaluate(with_widths(layers, weight_bits=weights, input_bits=inputs), load("mpic"))
    rates = SHAPE.macs / costs.terms.latency.compute_cycles[:, 0]
    np.testing.assert_allclose(rates, [rate for *_, rate in PAIRS], rtol=1e-4)
