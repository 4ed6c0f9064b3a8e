"""Both sides are added up layer by layer, and what has no layer is listed."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hwmodels
from explorer.referee.comparison import Figures, LayerFigures, VelaComparison, compare
from explorer.referee.vela import Compiled, Operator
from hwmodels import MemoryFit, NetworkCost

DEVICE = hwmodels.load("ethos_u55_128")


def operator(name: str, cycles: int, *, on_npu: bool = True) -> Operator:
    return Operator(name=name, kind="Conv2D", cycles=cycles, on_npu=on_npu)


@pytest.fixture(scope="module")
def cost() -> NetworkCost:
    network = hwmodels.NETWORKS["lenet5"]()
    return hwmodels.evaluate(network.jobs(), DEVICE, network.tensors)


def compared(cost: NetworkCost, *operators: Operator, constants: tuple[tuple[str, int], ...] = ()) -> VelaComparison:
    compiled = Compiled(weight_bytes=9, sram_bytes=8, cycles=7, operators=operators, constants=constants)
    return compare(cost, Figures.by_model(cost, DEVICE), compiled, {"c1_q": "c1", "c1.weight": "c1", "f6_q": "f6"})


def test_what_follows_in_place_is_of_the_layer_before(cost: NetworkCost) -> None:
    """No tensor is of the layers between c1 and f6."""
    assert [layer.name for layer in cost.layers][:2] != ["c1", "f6"]
    found = compared(cost)
    first, last = found.layers
    cut = [layer.name for layer in cost.layers].index("f6")
    assert first == LayerFigures(
        layer="c1",
        kind="conv",
        weight_bytes=(sum(layer.weight_bytes for layer in cost.layers[:cut]), 0),
        cycles=(sum(layer.latency_cycles for layer in cost.layers[:cut]), 0),
    )
    assert last.layer == "f6"
    assert found.ours.weight_bytes == sum(row.weight_bytes[0] for row in found.layers) == cost.weight_bytes
    assert found.ours.cycles == sum(row.cycles[0] for row in found.layers) == cost.latency_cycles
    assert found.ours.sram_bytes > 0


def test_parts_of_an_operator_are_added_up(cost: NetworkCost) -> None:
    found = compared(
        cost,
        operator("c1_q_act", 5),
        operator("c1_q", 2),
        operator("f6_q", 11),
        constants=(("c1.weight", 100), ("c1_q_table", 20), ("f6_q_scalar", 3)),
    )
    assert [row.cycles[1] for row in found.layers] == [7, 11]
    assert [row.weight_bytes[1] for row in found.layers] == [120, 3]
    assert (found.unmatched, found.unmatched_constants, found.on_cpu) == ((), (), ())
    assert (found.vela.weight_bytes, found.vela.sram_bytes, found.vela.cycles) == (9, 8, 7)


def test_what_no_layer_has_is_listed(cost: NetworkCost) -> None:
    left, moved, free = operator("c1_q", 0, on_npu=False), operator("cat", 4), operator("view", 0)
    found = compared(cost, left, moved, free, constants=(("lut", 256),))
    assert (found.unmatched, found.on_cpu) == ((moved,), (left,))
    assert found.unmatched_constants == (("lut", 256),)


def test_the_sram_is_what_the_device_says_of_it_or_what_is_kept_there(cost: NetworkCost) -> None:
    fit = MemoryFit(place="memories.sram", holds=("inputs",), needed_bytes=70, size_bytes=100, required=True)
    assert Figures.by_model(replace(cost, fits=(fit,)), DEVICE).sram_bytes == 70
    bare = replace(cost, fits=())
    assert Figures.by_model(bare, DEVICE).sram_bytes == cost.peak_activation_bytes
    sram = replace(DEVICE.find_memory("inputs"), operands=("weights", "inputs", "outputs"))
    both = Figures.by_model(bare, replace(DEVICE, memories=(sram,)))
    assert both.sram_bytes == cost.peak_activation_bytes + cost.weight_bytes
