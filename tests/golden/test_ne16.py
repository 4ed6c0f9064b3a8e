"""Engine cycles of NE16 against its published performance model (pulp-platform/dory, Ne16PerfModel; eml-eda/plinio).

The figures are those of a review that ran that model on three networks of MLPerf Tiny, fully connected layers as 1 x 1
kernels and the 10 x 4 kernel of DS-CNN as five passes of a 3 x 3 one; ratios were stated with two digits.
"""

from __future__ import annotations

import pytest

from hwmodels import NETWORKS, evaluate, load

PUBLISHED = {
    "mlperf_tiny_resnet8": (160_825, 0.68, 0.53),
    "mlperf_tiny_ds_cnn": (181_484, 0.77, 0.66),
    "mlperf_tiny_mobilenet": (322_169, 0.85, 0.78),
}
"""Network -> cycles with 8-bit weights, and the ratio to them with 4 and 2 bits."""


def _engine_cycles(network: str, device: str, weight_bits: int) -> int:
    jobs = NETWORKS[network]().jobs(weight_bits=weight_bits, input_bits=8)
    return sum(layer.compute_cycles for layer in evaluate(jobs, load(device)).layers if layer.macs)


@pytest.mark.parametrize("device", ["gap9_ne16", "gap9_ne16_240"])
@pytest.mark.parametrize("network", PUBLISHED)
def test_engine_cycles_are_those_of_the_published_model(network: str, device: str) -> None:
    wide, ratio_4, ratio_2 = PUBLISHED[network]
    assert _engine_cycles(network, device, 8) == wide
    assert _engine_cycles(network, device, 4) / wide == pytest.approx(ratio_4, abs=0.005)
    assert _engine_cycles(network, device, 2) / wide == pytest.approx(ratio_2, abs=0.006)  # 84,505 / 160,825 = 0.525
