"""One network on several devices: the cheapest choice at equal accuracy, what it costs elsewhere, and what saves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hwmodels
from explorer.comparison import devices
from explorer.comparison.devices import (
    DeviceRun,
    DeviceRuns,
    choose_networks,
    find_levers,
    pool_choices,
    price_transfers,
    read_runs,
)
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.errors import SearchError
from explorer.graph.layers import ModelGraph
from explorer.study.costing import candidate_cost
from explorer.study.folder import OUTCOME, write_json, write_study
from explorer.study.study_file import Study
from tests.support.device_runs import run_of, widths


@pytest.fixture
def graph(context: Callable[[str], CompressionContext]) -> ModelGraph:
    """A residual network of three stages."""
    return context("option_a").graph


def test_a_choice_is_the_cheapest_of_those_that_are_good_enough(graph: ModelGraph) -> None:
    found = [(widths(graph, 8, 8), 0.90), (widths(graph, 4, 8), 0.89), (widths(graph, 2, 8), 0.86)]
    run = run_of(graph, "gap9_ne16", found)
    names = {(entry.loss, entry.point.name) for entry in choose_networks([run], (0.0, 0.01, 0.04, 0.5))}
    assert names == {(0.0, "p0"), (0.01, "p1"), (0.04, "p2"), (0.5, "p2")}
    assert choose_networks([run_of(graph, "gap9_ne16", found[2:])], (0.01,)) == ()


def test_of_equal_costs_the_most_accurate_is_chosen(graph: ModelGraph) -> None:
    """On a microcontroller narrow weights save a few cycles of a first tile, which is no reason to lose accuracy."""
    found = [(widths(graph, 2, 8), 0.89), (widths(graph, 8, 8), 0.90)]
    run = run_of(graph, "stm32h7a3", found)
    narrow, wide = (point.evaluation.cost.energy_uj or 0.0 for point in run.outcome.front)
    assert narrow < wide < 1.01 * narrow
    (choice,) = choose_networks([run], (0.01,))
    assert choice.point.name == "p1"


def test_a_choice_costs_more_on_the_device_that_it_was_not_made_for(graph: ModelGraph) -> None:
    """Narrow weights save time on bit-serial units and none on a microcontroller, which wants fewer filters."""
    narrow, few = (widths(graph, 4, 8), 0.90), (widths(graph, 8, 8, 0.75), 0.90)
    serial, micro = run_of(graph, "gap9_ne16", [narrow]), run_of(graph, "stm32h7a3", [few])
    runs = DeviceRuns(graph=graph, runs=(serial, micro))
    ratios = {
        (e.choice.run.device, e.device): e.energy_ratio
        for e in price_transfers(runs, choose_networks(runs.runs, (0.01,)))
    }
    assert ratios["gap9_ne16", "gap9_ne16"] == ratios["stm32h7a3", "stm32h7a3"] == 1.0
    assert ratios["gap9_ne16", "stm32h7a3"] > 1.2
    assert ratios["stm32h7a3", "gap9_ne16"] > 1.0
    by_hand = candidate_cost(graph, narrow[0], micro.accelerator), candidate_cost(graph, few[0], micro.accelerator)
    energies = [cost.energy_uj or math.nan for cost in by_hand]
    assert ratios["gap9_ne16", "stm32h7a3"] == pytest.approx(energies[0] / energies[1])


def test_runs_with_other_seeds_show_what_chance_does(graph: ModelGraph) -> None:
    lucky = run_of(graph, "gap9_ne16", [(widths(graph, 4, 8), 0.90)], seed=1)
    other = run_of(graph, "gap9_ne16", [(widths(graph, 5, 8), 0.90)], seed=2)
    runs = DeviceRuns(graph=graph, runs=(lucky, other))
    assert [device.name for device in runs.accelerators] == ["gap9_ne16"]
    first, second = price_transfers(runs, choose_networks(runs.runs, (0.01,)))
    assert first.energy_ratio == 1.0
    assert 1.0 < second.energy_ratio < 1.25


def test_the_pool_tells_what_a_device_missed(graph: ModelGraph) -> None:
    serial = run_of(graph, "gap9_ne16", [(widths(graph, 4, 8), 0.90), (widths(graph, 2, 8), 0.2)])
    micro = run_of(graph, "stm32h7a3", [(widths(graph, 3, 8), 0.90), (widths(graph, 8, 8, 0.75), 0.90)])
    shares = pool_choices(DeviceRuns(graph=graph, runs=(serial, micro)), 0.01)
    assert shares["stm32h7a3"] == 1.0
    assert 0.7 < shares["gap9_ne16"] < 1.0  # 3 bits instead of 4


def test_levers_are_those_of_the_device(graph: ModelGraph) -> None:
    runs = tuple(run_of(graph, name, [(widths(graph, 8, 8), 0.9)]) for name in ("bit_serial_16x16", "stm32h7a3"))
    found = {(entry.device, entry.name): entry for entry in find_levers(DeviceRuns(graph=graph, runs=runs))}
    for device in ("bit_serial_16x16", "stm32h7a3"):
        assert found[device, devices.UNIFORM].energy_ratio == found[device, devices.UNIFORM].latency_ratio == 1.0
        assert found[device, "half of the filters"].energy_ratio < 0.75
        assert found[device, "4-bit weights"].weight_ratio < 0.75
    assert found["bit_serial_16x16", "4-bit weights"].latency_ratio < 0.8
    assert found["stm32h7a3", "4-bit weights"].latency_ratio == pytest.approx(1.0, abs=0.01)


def test_cycles_are_counted_by_what_they_are_bound_by(graph: ModelGraph) -> None:
    cost = candidate_cost(graph, uniform(graph), hwmodels.load("bitfusion"))
    cycles = devices.count_cycles_by_bound(cost)
    assert sum(cycles.values()) == cost.latency_cycles
    assert "compute" in cycles


def written(folder: Path, run: DeviceRun, changes: Mapping[str, Any] | None = None) -> Path:
    """A folder such as a finished run leaves, as far as it is read here."""
    folder.mkdir()
    data = {
        "study": {"name": "small", "seed": run.seed},
        "model": {"reference": "lenet5_digits", "training": {}},
        "data": {"source": "digits"},
        "device": {"profile": run.device},
        "objectives": {"names": ["accuracy", "energy", "latency"]},
        **(changes or {}),
    }
    study = Study.from_json(data, folder=folder)
    write_study(folder, study)
    write_json(folder / OUTCOME, replace(run.outcome, study=study.to_json()).to_json())
    return folder


def test_runs_are_read_from_their_folders(graph: ModelGraph, tmp_path: Path) -> None:
    found = [(widths(graph, 8, 8), 0.9)]
    first = written(tmp_path / "a", run_of(graph, "bitfusion", found))
    second = written(tmp_path / "b", run_of(graph, "edge_tpu", found, seed=2))
    runs = read_runs([first, second], lambda *_: None)
    assert [(run.device, run.seed) for run in runs.runs] == [("bitfusion", 1), ("edge_tpu", 2)]
    assert runs.graph.layer_names[0] == "conv1"


def test_runs_that_cannot_be_compared_are_refused(graph: ModelGraph, tmp_path: Path) -> None:
    run = run_of(graph, "bitfusion", [(widths(graph, 8, 8), 0.9)])
    first = written(tmp_path / "a", run)
    other_space = written(tmp_path / "b", run, {"space": {"weight_bits": [8]}})
    with pytest.raises(SearchError, match=r"b: cannot be compared with .*a: they differ in space.weight_bits; only"):
        read_runs([first, other_space], lambda *_: None)
    weights = {**run.outcome.provenance, "weights digest": "v"}
    other = written(tmp_path / "c", replace(run, outcome=replace(run.outcome, provenance=weights)))
    with pytest.raises(SearchError, match="they differ in the network's weights"):
        read_runs([first, other], lambda *_: None)
    stale = json.loads((first / OUTCOME).read_text())
    stale["provenance"]["device digest"] = "0"
    (first / OUTCOME).write_text(json.dumps(stale))
    with pytest.raises(SearchError, match="device bitfusion has other numbers now"):
        read_runs([first], lambda *_: None)
    with pytest.raises(SearchError, match="no run to compare"):
        read_runs([], lambda *_: None)
    with pytest.raises(SearchError, match="no run was made here"):
        read_runs([tmp_path], lambda *_: None)


def test_a_choice_without_blocks_is_priced_without_them_on_every_device(
    context: Callable[[str], CompressionContext],
) -> None:
    base = context("option_a")
    removed = tuple(block.name for block in base.graph.removable)
    assert removed
    short = base.graph_without(removed)
    candidate = uniform(short)
    runs = DeviceRuns(
        graph=base.graph,
        runs=(
            run_of(short, "gap9_ne16", [(candidate, 0.90)]),
            run_of(base.graph, "stm32h7a3", [(widths(base.graph, 8, 8), 0.90)]),
        ),
        model=base.model,
    )
    ratios = {
        (entry.choice.run.device, entry.device): entry.latency_ratio
        for entry in price_transfers(runs, choose_networks(runs.runs, (0.01,)))
    }
    accelerator = hwmodels.load("stm32h7a3")
    less = candidate_cost(short, candidate, accelerator).latency_ms
    whole = candidate_cost(base.graph, uniform(base.graph), accelerator).latency_ms
    assert less is not None
    assert whole is not None
    assert ratios["gap9_ne16", "stm32h7a3"] == pytest.approx(less / whole)
    assert pool_choices(runs, 0.01)["stm32h7a3"] < 1
