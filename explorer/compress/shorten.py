"""A network without some of its blocks: what every candidate that removes them is built from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import fx

from explorer.compress.calibrate import calibrate
from explorer.compress.correction import correct
from explorer.compress.prune import Order, copy_network, find_kept_positions
from explorer.graph.blocks import remove_blocks
from explorer.graph.inputs import example, take
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace

if TYPE_CHECKING:
    from explorer.compress.apply import CompressionContext

EXAMPLES = 4
"""Images on which a canonical network must agree with the user's, and with which shapes are traced."""


def shorten(whole: CompressionContext, removed: tuple[str, ...]) -> CompressionContext:
    """Return what candidates without these blocks are built from.

    Its float network has batch norms recalibrated for what they receive now, and ranges of activations of its own. The
    wanted mean outputs of its layers are those of the whole network. Nodes and layers keep their names, filters their
    order, and weights their importance.
    """
    graph, calibration = whole.graph, whole.calibration
    images = calibration.images if whole.images is None else whole.images
    model = shorten_network(whole, removed)
    shortened = replace(trace(model, take(images, slice(EXAMPLES))), removed_blocks=removed)
    own = calibrate(model, shortened, images, whole.quantizer)
    return replace(
        whole,
        model=model,
        graph=shortened,
        calibration=replace(own, outputs={name: calibration.outputs[name] for name in shortened.layer_names}),
        order=carry_order(whole.order, graph, shortened),
        orders={name: carry_order(order, graph, shortened) for name, order in whole.orders.items()},
        whole=whole,
    )


def shorten_network(whole: CompressionContext, removed: tuple[str, ...]) -> fx.GraphModule:
    """Return the float network without these blocks, its batch norms recalibrated for what they receive now."""
    graph, calibration = whole.graph, whole.calibration
    model = copy_network(whole.model)
    remove_blocks(model, graph, removed)
    model.to(calibration.torch_device)
    everything = frozenset(identity for group in graph.groups for identity in group.classes)
    correct(model, calibration, find_kept_positions(graph, everything))
    return model


def trace_shortened(model: fx.GraphModule, graph: ModelGraph, removed: tuple[str, ...]) -> ModelGraph:
    """Return the graph of a network without these blocks, for which no image is needed."""
    if not removed:
        return graph
    copied = copy_network(model)
    remove_blocks(copied, graph, removed)
    return replace(trace(copied, example(copied, graph.input_shapes, EXAMPLES)), removed_blocks=removed)


def carry_order(order: Order, whole: ModelGraph, shortened: ModelGraph) -> Order:
    """Return the order of filters of a network as one of the same network without some blocks.

    A class is known by its place among the outputs of the first layer that makes it. Classes that a removed layer tied
    together stay next to each other.
    """
    outputs = {layer.name: layer.output_classes for layer in whole.layers}
    place = {identity: index for classes in order.values() for index, identity in enumerate(classes)}
    found: dict[int, int] = {}
    for layer in shortened.layers:
        for own, before in zip(layer.output_classes, outputs[layer.name], strict=True):
            found.setdefault(own, place.get(before, len(place)))
    return {
        group.name: tuple(sorted(group.classes, key=lambda identity: (found[identity], identity)))
        for group in shortened.prunable
    }
