"""Quantisers of activations: put into a network, and found again in front of a layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import fx

from explorer.compress.calibrate import Calibration
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.resolve import ResolvedCandidate
from explorer.graph.layers import ModelGraph
from explorer.graph.names import add_module


def insert_quantizers(
    model: fx.GraphModule, graph: ModelGraph, calibration: Calibration, resolved: ResolvedCandidate
) -> None:
    """Quantise every stored activation at its width, and once more where a layer reads it narrower."""
    nodes = {node.name: node for node in model.graph.nodes}
    quantized: dict[str, fx.Node] = {}
    for activation in graph.activations:
        if activation.quantized:
            quantized[activation.name] = _insert_after(
                model, nodes[activation.name], calibration, activation.name, resolved.bits[activation.name]
            )
    by_target = {str(node.target): node for node in model.graph.nodes if node.op == "call_module"}
    for layer in graph.layers:
        bits = resolved.choices[layer.name].activation_bits
        if bits < resolved.bits[layer.source]:
            node = by_target[layer.name]
            source = node.all_input_nodes[0]
            while source.target is F.pad and len(source.users) == 1:  # a border of zeros is not read
                node, source = source, source.all_input_nodes[0]
            name = add_module(model, f"{layer.name}_input_quantizer", calibration.quantizer(layer.source, bits))
            with model.graph.inserting_before(node):
                node.replace_input_with(source, model.graph.call_module(name, (source,)))
    model.recompile()


def input_quantizer(model: fx.GraphModule, node: fx.Node) -> ActivationQuantizer:
    """Return the quantiser whose codes the layer at `node` reads through views and monotone operations.

    Raises:
        LookupError: Where there is none, which `apply` never leaves.
    """
    source = node
    while source.all_input_nodes:
        source = source.all_input_nodes[0]
        module = model.get_submodule(str(source.target)) if source.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            return module
    raise LookupError(f"layer {node.target} reads no quantised activation")


def _insert_after(
    model: fx.GraphModule, node: fx.Node, calibration: Calibration, activation: str, bits: int
) -> fx.Node:
    name = add_module(model, f"{node.name}_quantizer", calibration.quantizer(activation, bits))
    with model.graph.inserting_after(node):
        inserted = model.graph.call_module(name, (node,))
    node.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)
    return inserted
