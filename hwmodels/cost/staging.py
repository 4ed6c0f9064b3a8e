"""Room for weights that wait in a memory of activations until the layer that needs them has run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.arrays import IntArray
from hwmodels.device.accelerator import Accelerator
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import TensorArrays


def count_staged_peak(
    layers: LayerArrays, accelerator: Accelerator, tensors: TensorArrays, weight_bytes: IntArray
) -> IntArray:
    """Return the most bytes, over the steps, of activations alive and of the weights staged beside them, `...`.

    Weights that serve a single position are read once, from where they are kept. `weight_bytes` are `... x layers`.
    Without a buffer that stages weights this is the peak of the activations.
    """
    if not tensors.tensors or not any(buffer.staged_in for buffer in accelerator.buffers):
        return tensors.peak_bytes
    steps = {writer: tensor.first_step for tensor in tensors.tensors for writer in tensor.writers}
    weights = [
        ActivationTensor(name="weights", elements=0, bits=8, first_step=step, last_step=step)
        for step in (steps.get(layer, layer) for layer in range(layers.shape[-1]))
    ]
    staged = np.broadcast_to(weight_bytes * (layers.m > layers.batch), layers.shape)
    held = replace(
        tensors,
        tensors=(*tensors.tensors, *weights),
        elements=_join(tensors.elements, staged),
        bits=_join(tensors.bits, np.full(len(weights), 8)),
    )
    return held.peak_bytes


def _join(activations: IntArray, weights: IntArray) -> IntArray:
    """Return both side by side on the last axis, the others broadcast."""
    leading = np.broadcast_shapes(activations.shape[:-1], weights.shape[:-1])
    parts = [np.broadcast_to(part, (*leading, part.shape[-1])) for part in (activations, weights)]
    return np.concatenate(parts, axis=-1)
