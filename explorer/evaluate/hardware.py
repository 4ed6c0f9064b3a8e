"""What a candidate costs on a device: its plan as jobs for the hardware models."""

from __future__ import annotations

from explorer.compress.candidate import Candidate
from explorer.compress.plan import NetworkPlan, plan
from explorer.graph.layers import ModelGraph
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


def cost(graph: ModelGraph, candidate: Candidate, accelerator: Accelerator) -> NetworkCost:
    """Cost of one inference of the candidate's network; no torch, and no network is built."""
    planned = plan(graph, candidate)
    return evaluate(layer_jobs(graph, planned), accelerator, activation_tensors(graph, planned))


def layer_jobs(graph: ModelGraph, planned: NetworkPlan) -> tuple[LayerJob, ...]:
    """One job for each layer, in the order of computation."""
    jobs = []
    for layer, built in zip(graph.layers, planned.layers, strict=True):
        shape = LayerShape(
            name=layer.name,
            kind=layer.kind,
            in_channels=built.in_channels,
            out_channels=built.out_channels,
            kernel_h=layer.kernel_size[0],
            kernel_w=layer.kernel_size[1],
            in_h=layer.input_size[0],
            in_w=layer.input_size[1],
            out_h=layer.output_size[0],
            out_w=layer.output_size[1],
            groups=built.groups,
            bias=True,  # a batch norm always folds into one, and a layer without either has a zero one
        )
        jobs.append(
            LayerJob(
                shape=shape,
                weight_bits=built.weight_bits,
                input_bits=built.input_bits,
                output_bits=built.output_bits,
                stored_input_bits=built.stored_input_bits,
                density=built.nonzero_weights / built.weights,
                codebook_size=built.codebook_size,
            )
        )
    return tuple(jobs)


def activation_tensors(graph: ModelGraph, planned: NetworkPlan) -> tuple[ActivationTensor, ...]:
    """Every stored activation with the steps during which it is alive."""
    return tuple(
        ActivationTensor(
            name=stored.name,
            elements=built.elements,
            bits=built.bits,
            first_step=stored.first_step,
            last_step=stored.last_step,
        )
        for stored, built in zip(graph.activations, planned.activations, strict=True)
    )


def float_weight_bytes(graph: ModelGraph) -> int:
    """Bytes of all weights and one bias per output channel in float32."""
    return 4 * sum(layer.weights + layer.out_channels for layer in graph.layers)


def float_activation_bytes(graph: ModelGraph) -> int:
    """Peak of the activations that are alive at one step, in float32."""
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
