"""The activation arena against TensorFlow Lite Micro, for the int8 reference models of MLPerf Tiny.

Its sizes are those of the arena's head, where the runtime's memory planner puts activations.
"""

from __future__ import annotations

import pytest

from hwmodels import NETWORKS, peak_activation_bytes, plan_arena


@pytest.mark.parametrize(
    ("name", "arena_bytes", "live_bytes"),
    [
        ("mlperf_tiny_resnet8", 49152, 49152),
        ("mlperf_tiny_ds_cnn", 16000, 16000),
        # Fragmentation: where conv1's output would go, the image is still below and the next layer's above.
        ("mlperf_tiny_mobilenet", 73728, 55296),
        ("mlperf_tiny_autoencoder", 768, 768),
    ],
)
def test_the_arena_is_as_large_as_tflite_micro_makes_it(name: str, arena_bytes: int, live_bytes: int) -> None:
    network = NETWORKS[name]()
    assert plan_arena(network.tensors).size_bytes == arena_bytes
    assert peak_activation_bytes(network.tensors) == live_bytes
