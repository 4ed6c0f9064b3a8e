"""Which layer a tensor's name is of."""

from __future__ import annotations

import pytest

from explorer.export.tflite.names import find_layer

LAYERS = {"conv_1": "first", "conv_1_1": "second", "fc.weight": "last"}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv_1", "first"),
        ("conv_1_act", "first"),
        ("conv_1_1_padded", "second"),
        ("conv_1.weight", "first"),
        ("conv_12", None),
        ("conv_1x", None),
        ("conv", None),
        ("fc.weight", "last"),
        ("fc", None),
        ("", None),
    ],
)
def test_a_name_is_of_the_longest_one_that_it_begins_with(name: str, layer: str | None) -> None:
    assert find_layer(name, LAYERS) == layer
