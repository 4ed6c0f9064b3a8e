"""Prices of many points at once: the very figures of each whole network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import hwmodels
from explorer.arrays import Int64Array
from explorer.compress.apply import CompressionContext
from explorer.evaluate import array_pricing
from explorer.evaluate.array_pricing import ArrayPricing
from explorer.evaluate.coded_size import CodedSizes
from explorer.evaluate.hardware import cost, count_kept_float_bytes
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.search.axes import FILTER_KEEP_RATIO
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings import SpaceSettings
from hwmodels import Accelerator, LayerError
from tests.support.styles import STYLES, build, inputs

SPACE = SpaceSettings(
    weight_bits=(1, 2, 5, 8),
    activation_bits=(2, 4, 8),
    filter_keep_ratio=(0.3, 0.6, 1.0),
    weight_density=(0.4, 1.0),
    codebook_sizes=(4, None),
    patterns=("2:4", None),
    steps=(0.02, None),
    step_offsets=(-0.5, 0.0),
)
POINTS = 12


def draw(space: SearchSpace, count: int = POINTS) -> Int64Array:
    random = np.random.default_rng(0)
    return np.stack([random.integers(0, len(axis.values), count) for axis in space.axes], 1)


def check(graph: ModelGraph, device: Accelerator) -> None:
    space = make_search_space(graph, SPACE)
    points, names = draw(space), [axis.name for axis in space.axes]
    found = ArrayPricing(graph, space, device).price(points)
    for index, point in enumerate(points.tolist()):
        whole = cost(graph, space.candidate(dict(zip(names, point, strict=True))), device)
        assert found.energy_uj[index] == whole.energy_pj * 1e-6
        assert found.latency_ms[index] == whole.latency_ms
        assert found.weight_bytes[index] == whole.weight_bytes + count_kept_float_bytes(graph)
        assert found.activation_bytes[index] == whole.peak_activation_bytes
        assert found.macs[index] == whole.macs


@pytest.mark.parametrize("style", STYLES)
def test_prices_are_those_of_the_whole_network(style: str) -> None:
    images = inputs(style, 2)
    check(trace(canonicalise(build(style).eval(), images), images), hwmodels.load("bitfusion"))


@pytest.mark.parametrize("name", hwmodels.names())
def test_prices_are_those_of_every_device(name: str, context: Callable[[str], CompressionContext]) -> None:
    check(context("mixed").graph, hwmodels.load(name))


def test_prices_are_those_of_a_network_of_which_a_part_stays_on_chip(
    context: Callable[[str], CompressionContext],
) -> None:
    gemmini = hwmodels.load("gemmini_default")
    scratchpad, accumulator = gemmini.buffers
    check(
        context("mixed").graph,
        replace(gemmini, buffers=(replace(scratchpad, size_bytes=1024), accumulator)),
    )


def test_prices_are_those_of_a_network_whose_activations_overflow_a_memory(
    context: Callable[[str], CompressionContext],
) -> None:
    device = hwmodels.load("edge_tpu")
    memories = tuple(
        replace(memory, size_bytes=256) if memory.overflow_bandwidth_bits_per_s else memory
        for memory in device.memories
    )
    assert memories != device.memories
    buffers = tuple(
        replace(each, keeps=tuple(kept for kept in each.keeps if kept != "maps")) for each in device.buffers
    )
    check(context("mixed").graph, replace(device, memories=memories, buffers=buffers))


@pytest.mark.parametrize("parts_at_once", [1, 7])
def test_prices_do_not_depend_on_how_many_parts_are_priced_at_once(
    context: Callable[[str], CompressionContext], monkeypatch: pytest.MonkeyPatch, parts_at_once: int
) -> None:
    monkeypatch.setattr(array_pricing, "AT_ONCE", parts_at_once)
    monkeypatch.setattr(array_pricing, "COMPARED", 5 * len(context("mixed").graph.layers))
    for device in ("bitfusion", "edge_tpu"):
        check(context("mixed").graph, hwmodels.load(device))


def test_what_a_device_cannot_run_is_refused_with_its_place(context: Callable[[str], CompressionContext]) -> None:
    graph = context("mixed").graph
    space = make_search_space(graph, SpaceSettings(weight_bits=(2, 8)))
    narrow = replace(hwmodels.load("bitfusion"), weight_bits=(2, 4))
    widths = [place for place, axis in enumerate(space.axes) if axis.knob.name == "weight_bits"]
    points = np.zeros((2, len(space.axes)), dtype=np.int64)
    assert ArrayPricing(graph, space, narrow).price(points).macs.all()
    points[1, widths[1]] = 1
    with pytest.raises(LayerError, match=r"layer [1-9]\d*: expected weight_bits <= 4"):
        ArrayPricing(graph, space, narrow).price(points)
    with pytest.raises(LayerError, match="expected at least one candidate"):
        ArrayPricing(graph, space, narrow).price(points[:0])
    few = replace(hwmodels.load("bitfusion"), maximum_layers=1)
    with pytest.raises(LayerError, match="1"):
        ArrayPricing(graph, space, few).price(points)


def test_weights_at_their_entropy_are_exact_with_all_filters_and_near_without_some(
    context: Callable[[str], CompressionContext],
) -> None:
    ready, device = context("mixed"), hwmodels.load("ethos_u55_128")
    entropies, coded = WeightEntropies(ready), CodedSizes(ready)
    space = make_search_space(ready.graph, replace(SPACE, patterns=(None,), steps=(None,), step_offsets=(0.0,)))
    points, names = draw(space), [axis.name for axis in space.axes]
    ratios = [place for place, axis in enumerate(space.axes) if axis.knob is FILTER_KEEP_RATIO]
    assert ratios
    points[: POINTS // 2, ratios] = 2
    found = ArrayPricing(ready.graph, space, device, entropies.of_whole, coded.of_whole).price(points)
    assert found.coded_bytes is not None
    for index, point in enumerate(points.tolist()):
        candidate = space.candidate(dict(zip(names, point, strict=True)))
        whole = cost(ready.graph, candidate, device, entropies.of_candidate(candidate))
        rest = 1e-12 if index < POINTS // 2 else 0.15
        assert found.energy_uj[index] == pytest.approx(whole.energy_pj * 1e-6, rel=rest)
        assert found.coded_bytes[index] == pytest.approx(coded.estimate(candidate), abs=0.51, rel=rest)
