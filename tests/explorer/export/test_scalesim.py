"""topology.csv: SCALE-Sim counts the products that the pruned network computes."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.export import scalesim
from tests.support.deployments import make_deployment, mix_widths
from tests.support.square import random_candidate


def count_products(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Products of each convolution and linear layer for one image, from what torch computes."""
    found: dict[str, int] = {}

    def count(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, given: Any, output: Tensor) -> None:
            weight = module.get_parameter("weight")
            found[name] = output[0].numel() * weight[0].numel()

        return hook

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    handles = [layer.register_forward_hook(count(name)) for name, layer in layers.items()]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return found


def simulate(path: Path) -> dict[str, int]:
    """Products of each row, as `scalesim/topology_utils.py` of SCALE-Sim 3.0.0 counts them."""
    found = {}
    _, *rows = csv.reader(path.read_text().splitlines())
    for name, *cells, end in rows:
        assert end == ""
        height, width, kernel_h, kernel_w, channels, filters, stride = map(int, cells)
        positions = ceil((height - kernel_h + stride) / stride) * ceil((width - kernel_w + stride) / stride)
        found[name] = positions * kernel_h * kernel_w * channels * filters
    return found


@pytest.mark.parametrize("name", ["mixed", "gated", "option_a"])
def test_the_simulator_counts_what_the_network_computes(
    name: str,
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    base = context(name)
    plain = mix_widths(base)
    for number, candidate in enumerate((plain, random_candidate(base.graph, random.Random(3)))):
        deployment = make_deployment(base, images(name, 20), candidate)
        exported = scalesim.write(deployment, tmp_path / str(number))
        expected = count_products(deployment.model, images(name, 1))
        rows = simulate(tmp_path / str(number) / "topology.csv")
        assert sum(rows.values()) == sum(expected.values())
        assert all(rows[layer] == products for layer, products in expected.items() if layer in rows)
        assert f"{sum(expected.values()):,} multiply-accumulates" in exported.summary()
        assert "exported (no weights)" in exported.summary()
        described = json.loads((tmp_path / str(number) / "summary.json").read_text())
        assert described["macs"] == expected
        assert described["agreement"] is None
