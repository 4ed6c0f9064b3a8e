"""Sizes, names and lives of what a network's description appends."""

from __future__ import annotations

import pytest

from hwmodels.errors import LayerError
from hwmodels.workload.network_builder import FeatureMap, NetworkBuilder


def test_lives_reach_from_the_layer_that_writes_to_the_last_one_that_reads() -> None:
    build = NetworkBuilder("n")
    x = build.conv("stem", build.image(3, 8, 8), 4, (3, 3))
    y = build.conv("branch", x, 4, (3, 3), function="")
    x = build.pool("pool", build.add("sum", x, y), (8, 8), 1)
    build.softmax(build.linear("fc", x, 2))
    network = build.network()
    # The functions read their tensor at steps 1 and 4, and write no other.
    layers = ["stem", "stem.relu", "branch", "sum", "sum.relu", "pool", "fc", "softmax"]
    assert [layer.name for layer in network.layers] == layers
    assert [(tensor.name, tensor.first_step, tensor.last_step) for tensor in network.tensors] == [
        ("input", 0, 0),
        ("stem", 0, 3),
        ("branch", 2, 3),
        ("sum", 3, 5),
        ("pool", 5, 6),
        ("fc", 6, 7),
        ("softmax", 7, 7),
    ]
    assert [(tensor.name, tensor.writers, tensor.readers, tensor.external) for tensor in network.tensors] == [
        ("input", (), (0,), True),
        ("stem", (0, 1), (1, 2, 3), False),
        ("branch", (2,), (3,), False),
        ("sum", (3, 4), (4, 5), False),
        ("pool", (5,), (6,), False),
        ("fc", (6,), (7,), False),
        ("softmax", (7,), (), True),
    ]


def test_a_result_that_a_function_changes_in_place_is_a_result_and_one_added_to_itself_is_read_twice() -> None:
    build = NetworkBuilder("n")
    x = build.conv("conv", build.image(3, 8, 8), 4, (3, 3), function="")
    build.add("twice", x, x)
    _, conv, twice = build.network().tensors
    assert (conv.readers, conv.external) == ((1, 1), False)
    assert (twice.writers, twice.readers, twice.external) == ((1, 2), (2,), True)


@pytest.mark.parametrize(
    ("window", "stride", "padded", "size"),
    [((3, 3), 1, True, (9, 6)), ((3, 3), 2, True, (5, 3)), ((3, 3), 2, False, (4, 2)), ((9, 6), 1, False, (1, 1))],
)
def test_sizes_of_maps(window: tuple[int, int], stride: int, padded: bool, size: tuple[int, int]) -> None:
    build = NetworkBuilder("n")
    out = build.conv("c", build.image(2, 9, 6), 5, window, stride=stride, padded=padded)
    assert out == FeatureMap(1, 5, *size)
    (layer, _), (_, tensor) = build.network().layers, build.network().tensors
    assert (layer.in_channels, layer.in_h, layer.in_w) == (2, 9, 6)
    assert (layer.out_channels, layer.out_h, layer.out_w) == (5, *size)
    assert tensor.elements == layer.outputs


def test_a_map_is_flattened_before_a_matrix_and_this_is_said() -> None:
    build = NetworkBuilder("n")
    build.linear("fc", build.image(4, 3, 2), 10)
    network = build.network()
    assert network.weights == 24 * 10
    assert network.skipped == (("fc.flatten", "the same bytes under another shape: nothing moves"),)


def test_what_differs_in_size_is_not_added() -> None:
    build = NetworkBuilder("n")
    x = build.image(3, 8, 8)
    with pytest.raises(LayerError, match=r"layer 'add': .* channels x height x width of 3 x 8 x 8 and 3 x 4 x 4"):
        build.add("add", x, FeatureMap(0, 3, 4, 4))


def test_a_window_larger_than_its_map_is_refused() -> None:
    build = NetworkBuilder("n")
    with pytest.raises(
        LayerError, match=r"layer 'c': out_h: expected a whole number from 1 to 2147483647, received -1"
    ):
        build.conv("c", build.image(3, 3, 5), 8, (5, 5), padded=False)


def test_groups_must_divide_channels() -> None:
    build = NetworkBuilder("n")
    with pytest.raises(LayerError, match=r"layer 'c': expected in_channels % groups == 0"):
        build.conv("c", build.image(3, 8, 8), 8, (3, 3), groups=2)
