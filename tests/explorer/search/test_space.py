"""Search spaces: axes from settings, and the way between points and candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.check import check
from explorer.errors import SearchError
from explorer.search.axes import (
    ACTIVATION_BITS,
    CODEBOOK_SIZE,
    FILTER_KEEP_RATIO,
    FILTERS_BY,
    PATTERN,
    WEIGHT_BITS,
)
from explorer.search.space import make_search_space
from explorer.settings import LayerSpace, SpaceSettings

SETTINGS = {
    "default": SpaceSettings(),
    "everything": SpaceSettings(
        weight_bits=(2, 3, 4, 8),
        activation_bits=(4, 8),
        filter_keep_ratio=(0.25, 0.5, 1.0),
        weight_density=(0.1, 0.5, 1.0),
        codebook_sizes=(None, 4, 16),
        layers=(LayerSpace(layer="fc3", weight_bits=(8,), codebook_sizes=(None,)),),
    ),
    "criteria": SpaceSettings(filter_keep_ratio=(0.5, 1.0), filter_criteria=("deeplift", "l1", "random")),
    "always shared": SpaceSettings(weight_bits=(2, 3, 4, 8), codebook_sizes=(4, 16)),
    "patterns": SpaceSettings(patterns=(None, "2:4", "1:4"), layers=(LayerSpace(layer="fc3", patterns=("2:4",)),)),
}


def test_codebooks_are_the_layers_or_the_channels_own(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    layer, channel = (make_search_space(graph, SETTINGS["everything"], scope) for scope in ("layer", "channel"))
    for size in (0, 1):
        point = {axis.name: size if axis.knob is CODEBOOK_SIZE and len(axis.values) > 1 else 0 for axis in layer.axes}
        point |= {axis.name: len(axis.values) - 1 for axis in layer.axes if axis.knob is WEIGHT_BITS}
        found, other = layer.candidate(point), channel.candidate(point)
        assert {choice.codebook_granularity for choice in found.layers} == {"layer"}
        for choice in other.layers:
            assert choice.codebook_granularity == ("layer" if choice.codebook_size is None else "channel")
        assert (found == other) == (size == 0)
        assert Candidate.from_json(other.to_json()) == other


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_a_point_and_its_candidate_are_one(kind: str, context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS[kind])
    points = st.fixed_dictionaries({axis.name: st.integers(0, len(axis.values) - 1) for axis in space.axes})

    @settings(max_examples=100)
    @given(points)
    def round_trip(point: dict[str, int]) -> None:
        candidate = space.candidate(point)
        check(candidate, graph)
        again = space.point(candidate)
        assert space.candidate(again) == candidate
        assert space.candidate(again).digest() == candidate.digest()
        assert {k: v for k, v in again.items() if "codebook" not in k} == {
            k: v for k, v in point.items() if "codebook" not in k
        } or all(share == 1.0 for _, share in candidate.filter_keep_ratio)  # by no criterion
        if all(choice.codebook_size is not None for choice in candidate.layers):
            assert again == point

    round_trip()


def test_the_criterion_of_filters_is_one_more_axis_where_filters_can_go(
    context: Callable[[str], CompressionContext],
) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS["criteria"], method="deeplift")
    (axis,) = (axis for axis in space.axes if axis.knob is FILTERS_BY)
    assert (axis.name, axis.values) == ("2 filters_by/network", (None, "l1", "random"))
    point = dict.fromkeys((axis.name for axis in space.axes), 0)
    assert space.candidate(point).filters_by is None
    assert space.candidate({**point, axis.name: 2}).filters_by == "random"
    whole = point | {axis.name: 1 for axis in space.axes if axis.knob is FILTER_KEEP_RATIO}
    assert space.candidate({**whole, axis.name: 2}) == space.candidate(whole)
    unknown = replace(space.candidate(point), filters_by="taylor")
    assert space.point(unknown)[axis.name] == 0
    for settings_, method in (
        (SpaceSettings(filter_criteria=("l1",)), None),
        (SpaceSettings(filter_keep_ratio=(0.5, 1.0), filter_criteria=("l1",)), "l1"),
        (SETTINGS["everything"], None),
    ):
        assert not [a for a in make_search_space(graph, settings_, method=method).axes if a.knob is FILTERS_BY]


def test_a_codebook_that_shares_nothing_is_none(context: Callable[[str], CompressionContext]) -> None:
    """Two-bit weights have three values: a codebook of 4 is no choice, and the network has one digest."""
    space = make_search_space(context("lenet5_digits").graph, SETTINGS["everything"])
    point = dict.fromkeys((axis.name for axis in space.axes), 0)
    same = {**point, "1 codebook_size/conv1": 1}
    assert space.candidate(point).choice("conv1").weight_bits == 2
    assert space.candidate(same) == space.candidate(point)
    wide = {**same, "6 weight_bits/conv1": 3}
    assert space.candidate(wide).choice("conv1").codebook_size == 4


def test_axes_are_those_of_the_settings_in_order(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS["everything"])
    axes = {axis.name: axis.values for axis in space.axes}
    assert len(axes) == len(space.axes) == 4 * len(graph.layers) + len(graph.prunable)
    assert axes["6 weight_bits/fc3"] == (8,)
    assert axes["0 activation_bits/fc3"] == (4, 8)
    assert axes["1 codebook_size/conv1"] == (None, 4, 16)
    assert axes["3 filter_keep_ratio/fc1"] == (0.25, 0.5, 1.0)
    assert "3 filter_keep_ratio/fc3" not in axes
    assert space.size == (4 * 2 * 3 * 3) ** 4 * (1 * 2 * 3 * 1) * 3**4


def test_a_candidate_beside_the_grid_gets_the_nearest_point(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS["everything"])
    layers = tuple(
        LayerChoice(layer=name, weight_bits=7, activation_bits=5, weight_density=0.2, codebook_size=12)
        for name in graph.layer_names
    )
    found = space.candidate(space.point(Candidate(layers=layers, filter_keep_ratio=(("conv1", 0.4),))))
    choice = found.choice("conv2")
    assert (choice.weight_bits, choice.activation_bits, choice.weight_density, choice.codebook_size) == (8, 4, 0.1, 16)
    assert (found.keep_ratio("conv1"), found.keep_ratio("conv2")) == (0.5, 1.0)


def test_where_every_layer_is_shared_none_becomes_the_largest_codebook(
    context: Callable[[str], CompressionContext],
) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS["always shared"])
    assert {choice.codebook_size for choice in space.candidate(space.point(uniform(graph))).layers} == {16}


def test_patterns_are_an_axis_in_order_of_density_where_any_is_asked_for(
    context: Callable[[str], CompressionContext],
) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS["patterns"])
    axes = {axis.name: axis.values for axis in space.axes if axis.knob is PATTERN}
    assert axes == {
        **{f"5 pattern/{name}": ("1:4", "2:4", None) for name in graph.layer_names},
        "5 pattern/fc3": ("2:4",),
    }
    assert not [axis for axis in make_search_space(graph, SETTINGS["everything"]).axes if axis.knob is PATTERN]


def test_a_pattern_beside_the_grid_becomes_the_one_of_nearest_density(
    context: Callable[[str], CompressionContext],
) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SETTINGS["patterns"])
    found = {}
    for pattern in ("3:8", "9:16", "1:16", None):
        layers = tuple(LayerChoice(layer=name, pattern=pattern) for name in graph.layer_names)
        near = space.candidate(space.point(Candidate(layers=layers, filter_keep_ratio=())))
        found[pattern] = (near.choice("conv1").pattern, near.choice("fc3").pattern)
    assert found == {
        "3:8": ("1:4", "2:4"),
        "9:16": ("2:4", "2:4"),
        "1:16": ("1:4", "2:4"),
        None: (None, "2:4"),
    }


def test_settings_of_an_unknown_layer_are_refused(context: Callable[[str], CompressionContext]) -> None:
    settings_ = SpaceSettings(layers=(LayerSpace(layer="conv9", weight_bits=(4,)),))
    text = r"space\.layers\.'conv9': the network has no such layer or group; it has conv1, conv2, fc1, fc2, fc3"
    with pytest.raises(SearchError, match=text):
        make_search_space(context("lenet5_digits").graph, settings_)


def test_one_bit_weights_are_neither_pruned_nor_shared(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    settings = SpaceSettings(
        weight_bits=(1, 4), weight_density=(0.5, 1.0), codebook_sizes=(2, None), patterns=("2:4", None)
    )
    space = make_search_space(graph, settings)
    narrowest = space.candidate({axis.name: 0 for axis in space.axes})
    for choice in narrowest.layers:
        assert (choice.weight_bits, choice.weight_density, choice.codebook_size, choice.pattern) == (1, 1.0, None, None)
    assert space.candidate(space.point(narrowest)) == narrowest
    choices = space.weight_choices(space.layers[0])
    assert [choice for choice in choices if choice.weight_bits == 1] == [
        LayerChoice(layer=space.layers[0], weight_bits=1)
    ]
    assert len(choices) == len(set(choices)) > 4


def test_what_has_no_axis_has_no_values(context: Callable[[str], CompressionContext]) -> None:
    space = make_search_space(context("lenet5_digits").graph, SETTINGS["default"])
    assert space.values(FILTERS_BY) == space.values(PATTERN, "conv1") == ()
    assert space.values(WEIGHT_BITS, "conv9") == ()
    assert space.values(ACTIVATION_BITS, "conv1") == (4, 6, 8)
    assert space.values(FILTER_KEEP_RATIO, "conv1") == (1.0,)
