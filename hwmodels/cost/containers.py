"""Widths at which memories hold operands: packed, or in containers as wide as what the device computes with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.arrays import IntArray
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.parts import STORED_OPERANDS
from hwmodels.storage.memory import assume_entropy
from hwmodels.workload.layer import MAXIMUM_BITS, LayerJob
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import TensorArrays


def contain_layers(layers: LayerArrays, accelerator: Accelerator) -> LayerArrays:
    """Return the layers with what moves and is stored as wide as memories hold it.

    The second operand of a product of two activations is an activation. A width limits the entropy of weights that are
    coded, whatever they are held in before.
    """
    if len(accelerator.packed) == len(STORED_OPERANDS):
        return layers
    weights, second = (contain_bits(layers.weight_bits, operand, accelerator) for operand in STORED_OPERANDS)
    return replace(
        layers,
        weight_bits=np.where(layers.is_product & ~layers.stores_weights, second, weights),
        memory_input_bits=contain_bits(layers.memory_input_bits, "activations", accelerator),
        output_bits=contain_bits(layers.output_bits, "activations", accelerator),
        entropy_bits=assume_entropy(layers),
    )


def contain_tensors(tensors: TensorArrays, accelerator: Accelerator) -> TensorArrays:
    """Return the activations as wide as memories hold them."""
    if "activations" in accelerator.packed:
        return tensors
    bits = contain_bits(tensors.bits, "activations", accelerator)
    held = (replace(each, bits=accelerator.contain(each.bits, "activations")) for each in tensors.tensors)
    return replace(tensors, tensors=tuple(held), bits=bits)


def contain_job(job: LayerJob, accelerator: Accelerator) -> LayerJob:
    """Return the job of one layer as `contain_layers` returns those of many."""
    return replace(
        job,
        weight_bits=accelerator.contain(job.weight_bits, name_second(job.shape.kind)),
        stored_input_bits=accelerator.contain(job.memory_input_bits, "activations"),
        output_bits=accelerator.contain(job.output_bits, "activations"),
    )


def name_second(kind: str) -> str:
    """Return what the second operand of a layer's product is."""
    return "activations" if kind == "matmul" else "weights"


def contain_bits(bits: IntArray, operand: str, accelerator: Accelerator) -> IntArray:
    """Return the widths at which memories hold an operand of so many bits."""
    table = np.array([accelerator.contain(width, operand) for width in range(MAXIMUM_BITS + 1)], dtype=np.int64)
    held: IntArray = table[bits]
    return held
