"""Multiply-accumulates by torch's own counter, which shares no code with the trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from explorer.graph.inputs import Inputs, as_tuple
from explorer.graph.layers import ModelGraph


def counted(model: nn.Module, inputs: Inputs) -> int:
    """Multiply-accumulates of one call, of all images."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*as_tuple(inputs))
    total: int = counter.get_total_flops()
    return total // 2


def counted_by_node(model: fx.GraphModule, inputs: Inputs) -> dict[str, int]:
    """Multiply-accumulates of every node that has some: by module path, or by the name of the function."""
    found: dict[str, int] = {}

    class Counter(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            with FlopCounterMode(display=False) as counter:
                result = super().run_node(n)
            macs = counter.get_total_flops() // 2
            if macs:
                name = str(n.target) if n.op != "call_function" else getattr(n.target, "__name__", str(n.target))
                found[name] = found.get(name, 0) + macs
            return result

    with torch.no_grad():
        Counter(model).run(*as_tuple(inputs))
    return found


def check_macs(model: nn.Module, canonical: fx.GraphModule, graph: ModelGraph, inputs: Inputs) -> None:
    """Every layer has the MACs that torch counts; what else torch counts is listed as skipped, with its line.

    A batch norm that follows no layer gets one in the canonical network, which torch counts there alone.
    """
    images = len(as_tuple(inputs)[0])
    by_node = counted_by_node(canonical, inputs)
    layers = {layer.name: layer.macs * images for layer in graph.layers}
    assert {name: macs for name, macs in by_node.items() if name in layers} == layers
    skipped = {entry.path: entry.reason for entry in graph.skipped}
    others = {name: macs for name, macs in by_node.items() if name not in layers}
    assert all("line" in skipped[name] and "its cost is not counted" in skipped[name] for name in others)
    gains = sum(macs for name, macs in layers.items() if name.endswith("_gain"))
    assert graph.macs * images - gains + sum(others.values()) == counted(model, inputs)
