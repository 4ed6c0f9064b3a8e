"""What a candidate costs on a device: its plan as jobs for the hardware models."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from explorer.compress.candidate import Candidate
from explorer.compress.plan import LayerPlan, NetworkPlan, OperationPlan, plan
from explorer.graph.layers import Layer, ModelGraph, Operation
from hwmodels import (
    Accelerator,
    ActivationTensor,
    LayerJob,
    LayerShape,
    NetworkCost,
    evaluate,
    peak_activation_bytes,
)

FLOAT_BITS = 32
Entropies = Mapping[str, float]
"""Entropy of the integers of each layer, by its name, in bits a weight."""


def cost(
    graph: ModelGraph, candidate: Candidate, accelerator: Accelerator, entropies: Entropies | None = None
) -> NetworkCost:
    """Return the cost of one inference of the candidate's network; no torch, and no network is built.

    Without `entropies` a device that reads weights coded by their entropy is taken to gain nothing by that.
    """
    planned = plan(graph, candidate)
    return evaluate(list_layer_jobs(graph, planned, entropies), accelerator, list_activation_tensors(graph, planned))


def list_layer_jobs(
    graph: ModelGraph, planned: NetworkPlan, entropies: Entropies | None = None
) -> tuple[LayerJob, ...]:
    """Return one job for each layer and each operation, in the order of computation; each has a name of its own.

    What works in place comes right behind what writes its tensor.
    """
    fused = find_fusible(graph)
    layers = {built.name: built for built in planned.layers}
    operations = {built.name: built for built in planned.operations}
    return tuple(
        build_layer_job(part, layers[part.name], None if entropies is None else entropies[part.name])
        if isinstance(part, Layer)
        else build_operation_job(part, operations[part.name], part.name in fused)
        for part in list_parts(graph)
    )


def list_parts(graph: ModelGraph) -> tuple[Layer | Operation, ...]:
    """Return layers and operations in the order of computation."""
    return tuple(sorted((*graph.layers, *graph.operations), key=attrgetter("step")))


def build_layer_job(layer: Layer, built: LayerPlan, entropy_bits: float | None = None) -> LayerJob:
    """Return the job of a layer, whose integers have an entropy of so many bits a weight where that is known.

    A transposed convolution is a product at every input position: each makes kernel_h x kernel_w outputs of every
    channel, which are added up where they overlap: a 1 x 1 convolution with so many more channels (Dumoulin and Visin,
    2016, section 4), whose results count before they are added up.
    """
    window = layer.kernel_size[0] * layer.kernel_size[1]
    return LayerJob(
        shape=LayerShape(
            name=layer.name,
            kind=layer.kind,
            in_channels=built.in_channels,
            out_channels=built.out_channels * (window if layer.transposed else 1),
            kernel_h=1 if layer.transposed else layer.kernel_size[0],
            kernel_w=1 if layer.transposed else layer.kernel_size[1],
            stride_h=1 if layer.transposed else layer.stride[0],
            stride_w=1 if layer.transposed else layer.stride[1],
            dilation_h=1 if layer.transposed else layer.dilation[0],
            dilation_w=1 if layer.transposed else layer.dilation[1],
            in_h=layer.input_size[0] // layer.images,
            in_w=layer.input_size[1],
            out_h=(layer.input_size if layer.transposed else layer.output_size)[0] // layer.images,
            out_w=(layer.input_size if layer.transposed else layer.output_size)[1],
            groups=built.groups,
            batch=layer.images,
            bias=True,  # a batch norm always folds into one, and a layer without either has a zero one
        ),
        weight_bits=built.weight_bits,
        input_bits=built.input_bits,
        output_bits=built.output_bits,
        stored_input_bits=built.stored_input_bits,
        density=built.num_nonzero_weights / built.num_weights,
        codebook_size=built.codebook_size,
        codebooks=built.codebooks,
        entropy_bits=entropy_bits,
        weights_elsewhere=bool(layer.shares_weights),
        columns_per_channel=window if layer.transposed else 1,
    )


def find_fusible(graph: ModelGraph) -> frozenset[str]:
    """Return names of the operations that work in place, or read what a layer wrote and nothing else reads.

    A pooling of what `view` makes of a linear layer's features is not among them: its windows span the array's columns.
    """
    written = {layer.target: math.prod(layer.output_size) for layer in graph.layers}
    read_once = {
        stored.name: stored.feeds[0]
        for stored in graph.activations
        if stored.name in written and len(stored.feeds) == 1 and not stored.readers
    }
    return frozenset(
        operation.name
        for operation in graph.operations
        if operation.sources == (operation.target,)
        or all(
            read_once.get(source) == operation.target
            and (operation.kind != "pool" or math.prod(operation.input_size) <= written[source])
            for source in operation.sources
        )
    )


def build_operation_job(operation: Operation, built: OperationPlan, fused: bool) -> LayerJob:
    """Return the job of an operation, which a device may work out as results leave its array where it is `fused`."""
    return LayerJob(
        shape=LayerShape(
            name=operation.name,
            kind=operation.kind,
            in_channels=built.channels,
            out_channels=built.channels,
            kernel_h=operation.kernel_size[0],
            kernel_w=operation.kernel_size[1],
            stride_h=operation.stride[0],
            stride_w=operation.stride[1],
            dilation_h=operation.dilation[0],
            dilation_w=operation.dilation[1],
            in_h=operation.input_size[0] // operation.images,
            in_w=operation.input_size[1],
            out_h=operation.output_size[0] // operation.images,
            out_w=operation.output_size[1],
            batch=operation.images,
            operands=operation.operands,
        ),
        input_bits=built.input_bits,
        output_bits=built.output_bits,
        fusible=fused,
    )


def list_activation_tensors(graph: ModelGraph, planned: NetworkPlan) -> tuple[ActivationTensor, ...]:
    """Return every stored activation with the steps during which it is alive, and the layers that touch it.

    Steps are those of the trace, in which what only moves data has one of its own.
    """
    access = list_accesses(graph)
    return tuple(
        ActivationTensor(
            name=stored.name,
            elements=built.elements,
            bits=built.bits,
            first_step=stored.first_step,
            last_step=stored.last_step,
            **access[stored.name],
        )
        for stored, built in zip(graph.activations, planned.activations, strict=True)
    )


def list_accesses(graph: ModelGraph) -> dict[str, dict[str, Any]]:
    """Return for each activation the jobs that write and read it, by their positions, and whether it is external.

    The network's inputs come first; what it returns is kept beyond the last step in which anything is written.
    """
    writers: defaultdict[str, list[int]] = defaultdict(list)
    readers: defaultdict[str, list[int]] = defaultdict(list)
    for index, part in enumerate(list_parts(graph)):
        if isinstance(part, Layer):
            read: tuple[str, ...] = (part.source,)
        else:
            read = part.sources + part.sources[:1] * (part.operands - len(part.sources))  # one that is added to itself
        for name in read:
            readers[name].append(index)
        writers[part.target].append(index)
    inputs = {stored.name for stored in graph.activations[: len(graph.input_shapes)]}
    last_written = max(stored.first_step for stored in graph.activations)
    return {
        stored.name: {
            "writers": tuple(writers[stored.name]),
            "readers": tuple(readers[stored.name]),
            "external": stored.name in inputs or stored.last_step > last_written,
        }
        for stored in graph.activations
    }


def count_float_weight_bytes(graph: ModelGraph) -> int:
    """Return bytes of all weights and one bias per output channel in float32, and of what no layer holds."""
    held = 4 * sum(layer.weights + layer.out_channels for layer in graph.layers if not layer.shares_weights)
    return held + count_kept_float_bytes(graph)


def count_kept_float_bytes(graph: ModelGraph) -> int:
    """Return the bytes of what no layer holds and no candidate changes: float32, stored beside the layers' weights."""
    return 4 * graph.float_values


def count_float_activation_bytes(graph: ModelGraph) -> int:
    """Return the peak of the activations that are alive at one step, in float32."""
    tensors = [
        ActivationTensor(
            name=stored.name,
            elements=sum(graph.groups[group].size * count for group, count in stored.channels)
            * stored.size[0]
            * stored.size[1],
            bits=FLOAT_BITS,
            first_step=stored.first_step,
            last_step=stored.last_step,
        )
        for stored in graph.activations
    ]
    return peak_activation_bytes(tensors)
