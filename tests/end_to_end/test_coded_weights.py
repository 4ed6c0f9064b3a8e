"""A device that reads weights coded by their entropy: what pays there, and whose integers fronts and exports state."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import explorer
from explorer.evaluate import hardware
from explorer.settings import QuantizerSettings
from hwmodels import NetworkCost, load

DEVICE = load("ethos_u55_128")
SPACE = explorer.Space(
    weight_bits=(3, 4, 8),
    activation_bits=(8,),
    filter_keep_ratio=(0.5, 1.0),
    weight_density=(0.3, 1.0),
    codebook_sizes=(4, None),
)


def make_net(rounding: str) -> explorer.Net:
    """A network whose weights take longer to read than to multiply, trained a little to tell bright from dark."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # So close that the smallest networks do not have every image right.
        images = torch.rand(60, 1, 8, 8) + 0.4 * (torch.arange(60) % 2)[:, None, None, None]
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 64), nn.ReLU(),
            nn.Linear(64, 2),
        )  # fmt: skip
        with torch.no_grad():
            model.get_parameter("1.weight").copy_(torch.linspace(-1, 1, 8))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), torch.arange(60) % 2).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        quantizer = QuantizerSettings(rounding=rounding, rounding_images=16)
        return explorer.open(model.eval(), images, torch.arange(60) % 2, quantizer=quantizer)


@pytest.fixture(scope="module", params=["nearest", "adaptive"])
def net(request: pytest.FixtureRequest) -> explorer.Net:
    return make_net(request.param)


def counted(model: nn.Module, layers: tuple[str, ...]) -> dict[str, float]:
    """The entropy of each layer's integers, by its definition."""
    found = {}
    for layer in layers:
        integers = [int(code) for code in model.get_submodule(layer).get_buffer("weight_codes").flatten().tolist()]
        shares = [count / len(integers) for count in Counter(integers).values()]
        found[layer] = -math.fsum(share * math.log2(share) for share in shares)
    return found


def test_pruned_shared_and_narrow_weights_all_pay(net: explorer.Net) -> None:
    eight, whole = explorer.uniform(net), explorer.price(net, explorer.uniform(net), DEVICE)
    assert {layer.weight_format for layer in whole.layers if layer.weight_bits} == {"entropy"}
    for change in ({"weight_density": 0.3}, {"codebook_size": 8}, {"weight_bits": 3}):
        choices = tuple(replace(choice, **change) for choice in eight.layers)
        cost = explorer.price(net, replace(eight, layers=choices), DEVICE)
        assert cost.weight_bytes < 0.6 * whole.weight_bytes, change
        assert (cost.latency_ms or 0) < 0.9 * (whole.latency_ms or 0), change
        assert (cost.energy_uj or 0) < 0.9 * (whole.energy_uj or 0), change


def test_a_front_states_what_its_networks_cost(net: explorer.Net, tmp_path: Path) -> None:
    objectives = ("accuracy", "latency", "weight_memory")
    result = explorer.search(net, SPACE, DEVICE, objectives, "l2", 16, seeds=6, sampler="nsga2")
    assert len(result.front) > 1
    for point in result.front:
        check(point)
    note = result.outcome.provenance.get("weight entropies", "")
    assert note.startswith("of integers rounded to the nearest") == (net.context.quantizer.rounding == "adaptive")
    # None held aside: what training does is not taken back, whatever it is worth.
    tuned = explorer.finetune(net, result.front[-1], epochs=2, optimizer="sgd", learning_rate=0.05, held_aside=0.0)
    for name, model in (("searched", result.front[-1].build()), ("tuned", tuned)):
        explorer.export(model, tmp_path / name)
        stated = json.loads((tmp_path / name / "configuration.json").read_text())
        assert stated["cost"]["weight_bytes"] == cost_of_built(model).weight_bytes, name
    assert cost_of_built(tuned).weight_bytes != result.front[-1].cost.weight_bytes


def check(point: explorer.Point) -> None:
    expected = cost_of_built(point.build())
    assert point.cost.weight_bytes == expected.weight_bytes
    assert point.cost.latency_cycles == expected.latency_cycles
    assert point.cost.energy_uj == pytest.approx(expected.energy_pj * 1e-6, rel=1e-9)


def cost_of_built(model: explorer.Compressed) -> NetworkCost:
    graph = model.net.graph
    return hardware.cost(graph, model.candidate, DEVICE, counted(model, graph.layer_names))
