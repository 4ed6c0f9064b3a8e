"""The cost that is stored: every layer and operation told, and their sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.evaluate.pricing import Pricing
from explorer.study.costing import candidate_cost, summed_cost
from hwmodels import ENERGY_COMPONENTS, load


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed", "gated"])
@pytest.mark.parametrize("device", ["bitfusion", "eyeriss_v1", "stm32l4r5"])
def test_rows_and_components_add_up_to_the_cost(
    name: str, device: str, context: Callable[[str], CompressionContext]
) -> None:
    graph = context(name).graph
    cost = candidate_cost(graph, uniform(graph, 4, 6), load(device))
    names = [row.layer for row in cost.layers]
    assert sorted(names) == sorted({*graph.layer_names, *(entry.name for entry in graph.operations)})
    assert sum(row.energy_uj for row in cost.layers) == pytest.approx(cost.energy_uj)
    assert sum(cost.energy_uj_by_component.values()) == pytest.approx(cost.energy_uj)
    assert sum(row.latency_cycles for row in cost.layers) == cost.latency_cycles
    assert sum(row.weight_bytes for row in cost.layers) == cost.weight_bytes
    assert sum(row.macs for row in cost.layers) == cost.macs


def test_the_rows_of_lenet(context: Callable[[str], CompressionContext]) -> None:
    """An operation has neither weights nor filters; Eyeriss takes time for a pooling, and none for a ReLU."""
    graph = context("lenet5_digits").graph
    candidate = replace(uniform(graph, 4, 6), filter_keep_ratio=(("conv1", 0.5),))
    conv, relu, pool, *_ = candidate_cost(graph, candidate, load("eyeriss_v1")).layers
    assert (conv.layer, conv.weight_bits, conv.activation_bits, conv.filters, conv.filters_of) == ("conv1", 4, 6, 8, 16)
    assert (conv.macs, conv.vector_operations, conv.weight_format) == (8 * 9 * 64, 0, "dense")
    for row in (relu, pool):
        assert (row.weight_bits, row.filters, row.filters_of, row.weight_density) == (None,) * 4
        assert (row.codebook_size, row.weight_format, row.weight_bytes, row.macs) == (None, None, 0, 0)
        assert (row.activation_bits, row.vector_operations) == (6, 8 * 64)
    assert (relu.layer, relu.kind, relu.latency_cycles, relu.bound) == ("relu", "activation", 0, "fused")
    assert (pool.layer, pool.kind, pool.bound) == ("max_pool2d", "pool", "dram")
    assert pool.latency_cycles > 0


def test_a_row_tells_the_share_that_a_pattern_leaves(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    start = uniform(graph)
    candidate = replace(start, layers=tuple(replace(choice, pattern="2:4") for choice in start.layers))
    rows = {row.layer: row for row in candidate_cost(graph, candidate, load("bitfusion")).layers}
    assert [rows[name].weight_density for name in ("conv1", "conv2", "fc3")] == [1.0, 0.5, 0.5]


def test_only_components_that_take_energy_are_told(context: Callable[[str], CompressionContext]) -> None:
    graph = context("lenet5_digits").graph
    told = {
        device: tuple(candidate_cost(graph, uniform(graph), load(device)).energy_uj_by_component)
        for device in ("bitfusion", "eyeriss_v1", "stm32l4r5")
    }
    assert told == {
        "bitfusion": ("mac", "sram", "dram", "vector"),
        "eyeriss_v1": ENERGY_COMPONENTS,
        "stm32l4r5": ("static",),
    }


def test_what_fits_is_told_with_the_layers(context: Callable[[str], CompressionContext]) -> None:
    graph, device = context("lenet5_digits").graph, load("stm32l4r5")
    told = candidate_cost(graph, uniform(graph), device)
    flash, sram, *_ = told.fits
    # 3,000 bytes are what the profile says of the program beside the weights.
    assert (flash.place, flash.needed_bytes, flash.fits) == ("memories.flash", told.weight_bytes + 3_000, True)
    assert (sram.place, sram.needed_bytes, sram.fits) == ("memories.sram", told.activation_bytes, True)
    bare = summed_cost(graph, Pricing(graph, device).price(uniform(graph)))
    assert (bare.fits, bare.layers, bare.notes) == ((), (), ())
    assert bare.energy_uj == told.energy_uj
