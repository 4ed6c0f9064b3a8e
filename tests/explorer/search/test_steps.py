"""Steps in a search space: an axis of the network, offsets of its layers, and the seeds that they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.check import check
from explorer.errors import SearchError
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.inputs import as_tuple
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import compute_step_units, order_filters
from explorer.search.axes import STEP_OFFSET, STEPS, WEIGHT_BITS
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.sensitivity import estimate_sensitivity
from explorer.search.space import make_search_space
from explorer.settings import LayerSpace, SpaceSettings

SPACES = {
    "steps alone": SpaceSettings(steps=(0.002, 0.01, 0.05)),
    "steps or widths": SpaceSettings(weight_bits=(2, 8), steps=(0.01, 0.1, None), step_offsets=(-1, 0, 0.5)),
    "a layer of its own": SpaceSettings(
        steps=(0.01, 0.1), step_offsets=(-1, 0), layers=(LayerSpace(layer="conv1", step_offsets=(-2,)),)
    ),
}


def with_units(base: CompressionContext) -> CompressionContext:
    """Return the context with what steps are taken by."""
    images = as_tuple(base.calibration.images)
    classes = torch.arange(len(images[0])) % 5
    relevance = deeplift(make_sample(base.model, base.graph, images, classes, target="true"))
    units = compute_step_units(base.graph, relevance)
    return replace(base, order=order_filters(base.graph, relevance), step_units=units)


@pytest.mark.parametrize("kind", list(SPACES))
def test_a_point_and_its_candidate_are_one(kind: str, context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SPACES[kind])
    points = st.fixed_dictionaries({axis.name: st.integers(0, len(axis.values) - 1) for axis in space.axes})

    @settings(max_examples=60)
    @given(points)
    def round_trip(point: dict[str, int]) -> None:
        candidate = space.candidate(point)
        check(candidate, graph)
        assert space.candidate(space.point(candidate)) == candidate
        (steps,) = (axis for axis in space.axes if axis.knob is STEPS)
        whole = steps.values[point[steps.name]]
        for choice in candidate.layers:
            offset = next((a for a in space.axes if a.knob is STEP_OFFSET and a.of == choice.layer), None)
            shift = 0.0 if offset is None else offset.values[point[offset.name]]
            assert choice.step == (None if whole is None else pytest.approx(whole * 2**shift))

    round_trip()


def test_widths_are_no_axis_where_every_network_has_a_step(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    knobs = {kind: {axis.knob for axis in make_search_space(graph, SPACES[kind]).axes} for kind in SPACES}
    assert WEIGHT_BITS not in knobs["steps alone"]
    assert STEP_OFFSET not in knobs["steps alone"]
    assert {WEIGHT_BITS, STEP_OFFSET, STEPS} < knobs["steps or widths"]
    axes = {axis.name: axis.values for axis in make_search_space(graph, SPACES["a layer of its own"]).axes}
    assert axes["8 step/network"] == (0.1, 0.01)
    assert axes["7 step_offset/conv1"] == (-2.0,)
    assert axes["7 step_offset/fc1"] == (0.0, -1.0)


def test_steps_beside_the_grid_become_the_nearest(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    space = make_search_space(graph, SPACES["steps or widths"])
    layers = tuple(LayerChoice(layer=name, step=0.09 if name == "conv1" else 0.16) for name in graph.weight_owners)
    found = space.candidate(space.point(replace(uniform(graph), layers=layers)))
    assert [choice.step for choice in found.layers] == [0.1, *[pytest.approx(0.1 * 2**0.5)] * (len(layers) - 1)]
    assert {choice.step for choice in space.candidate(space.point(uniform(graph))).layers} == {None}


def test_offsets_without_steps_are_refused(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    with pytest.raises(SearchError, match=r"space\.step_offsets: expected \[0\.0\] without space\.steps, received"):
        make_search_space(graph, SpaceSettings(step_offsets=(-1, 0)))
    with pytest.raises(SearchError, match=r"space\.layers\.conv1\.step_offsets: expected .*received \[1\.0\]"):
        make_search_space(graph, SpaceSettings(layers=(LayerSpace(layer="conv1", step_offsets=(1,)),)))


def test_seeds_span_all_steps_and_offsets_follow_the_table(context: Callable[[str], CompressionContext]) -> None:
    base = context("option_a")
    (images,) = as_tuple(base.calibration.images)
    relevance = deeplift(make_sample(base.model, base.graph, images, torch.arange(len(images)) % 5, target="true"))
    units = compute_step_units(base.graph, relevance)
    base = replace(base, order=order_filters(base.graph, relevance), step_units=units)
    least = min(units.values()) * 0.01
    steps = tuple(least * 2**power for power in range(6))
    space = make_search_space(base.graph, SpaceSettings(steps=steps, step_offsets=(-1, 0, 1), activation_bits=(8,)))
    table = estimate_sensitivity(base, relevance, space)
    for layer in space.layers:
        losses = [table.weights[layer][LayerChoice(layer=layer, step=step)] for step in steps]
        assert losses[0] < losses[-1]
    entropies = WeightEntropies(base)

    def coded(candidate: Candidate) -> float:
        found = entropies.of_candidate(candidate)
        return sum(found[layer.name] * layer.weights for layer in base.graph.layers)

    seeds = choose_seeds(space, table, one_by_one(coded), 12)
    assert len({seed.candidate for seed in seeds}) == len(seeds) == 12
    even = [seed.candidate.layers[0].step or 0.0 for seed in seeds if seed.origin.startswith("seed step")]
    assert len(even) == 5
    assert even == sorted(even)
    assert any(len({choice.step for choice in seed.candidate.layers}) > 1 for seed in seeds[6:])
    for seed in seeds:
        assert space.candidate(space.point(seed.candidate)) == seed.candidate
