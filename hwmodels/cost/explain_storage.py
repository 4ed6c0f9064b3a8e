"""The formula of what a layer's weights take in storage, and the values of the names in it."""

from __future__ import annotations

import numpy as np

from hwmodels.cost.containers import contain_job, contain_layers
from hwmodels.cost.dataflow import Formula
from hwmodels.cost.mapping import DATAFLOW_MODELS, measure_stored
from hwmodels.device.accelerator import Accelerator
from hwmodels.storage.entropy import BITS_PER_ENTROPY_BIT, CHANNEL_BYTES, LAYER_BYTES, added_bits
from hwmodels.storage.huffman import CODE_LENGTH_BITS
from hwmodels.storage.memory import BIAS_BYTES, SCALE_BYTES, WEIGHT_FORMATS, assume_entropy
from hwmodels.storage.sparse import ROW_POINTER_BITS, RUN_BITS, count_nonzero, index_bits, round_up
from hwmodels.workload.layer import MAXIMUM_BITS, LayerJob
from hwmodels.workload.layer_arrays import layer_arrays

_PACKED = {
    "dense": "out_channels * ceil(k * weight_bits / 8)",
    "codebook": "ceil((k * out_channels * index_bits + codebooks * codebook_size * weight_bits) / 8)",
    "codebook_huffman": "ceil((coded_index_bits + codebook_size * (codebooks * weight_bits + code_length_bits)) / 8)",
    "bitmap": "ceil((k * out_channels + nonzero_weights * weight_bits) / 8)",
    "relative_index": "ceil(run_entries * (weight_bits + run_bits) / 8)",
    "csr": "ceil((nonzero_weights * (column_bits + weight_bits) + (out_channels + 1) * row_pointer_bits) / 8)",
    "entropy": "ceil(coded_weight_bits / 8) + code_layer_bytes",
}
"""Format -> bytes without biases and scales."""
STORAGE_CONSTANTS = {
    "bias_bytes": (BIAS_BYTES, "TensorFlow Lite's 8-bit quantisation specification (hwmodels.storage.memory)"),
    "scale_bytes": (SCALE_BYTES, "TensorFlow Lite's 8-bit quantisation specification (hwmodels.storage.memory)"),
    "code_length_bits": (CODE_LENGTH_BITS, "assumed (hwmodels.storage.huffman)"),
    "row_pointer_bits": (ROW_POINTER_BITS, "assumed (hwmodels.storage.sparse)"),
    "code_channel_bytes": (CHANNEL_BYTES, "vela_5.2 (hwmodels.storage.entropy)"),
    "code_layer_bytes": (LAYER_BYTES, "vela_5.2 (hwmodels.storage.entropy)"),
}
"""Name -> value and source."""


def explain_storage(job: LayerJob, device: Accelerator, formats: tuple[str, ...], which: str) -> Formula:
    """Return the bytes of a layer's weights in the smallest of some formats."""
    if job.shape.kind == "matmul":
        return Formula("0", "the second operand is an activation, which is not stored with the network")
    held = contain_layers(layer_arrays([job]), device)
    sizes = measure_stored(held, device).bytes_by_format[:, 0].tolist()
    smallest = min(sorted(formats, key=WEIGHT_FORMATS.index), key=lambda name: sizes[WEIGHT_FORMATS.index(name)])
    extras = ["bias_bytes"] * job.shape.bias + ["scale_bytes"] * (held.weight_bits.item() < MAXIMUM_BITS)
    per_channel = "code_channel_bytes" if smallest == "entropy" else f"({' + '.join(extras)})" * bool(extras)
    channels = "out_channels" + " / columns_per_channel" * (job.columns_per_channel > 1)
    text = _PACKED[smallest] + f" + {channels} * {per_channel}" * bool(per_channel)
    origin = "as in vela_5.2 (hwmodels.storage.entropy)"
    if smallest != "entropy":
        origin = "formats as in han_iclr2016 (hwmodels.storage.memory)"
    return Formula(text, f"{smallest}, the smallest of {which}; {origin}")


def storage_values(job: LayerJob, device: Accelerator) -> dict[str, tuple[float, str]]:
    """Return the whole numbers that weight formats make of densities, entropies, code lengths and codebooks."""
    weights, weight_bits = job.shape.k * job.shape.out_channels, contain_job(job, device).weight_bits
    nonzero = count_nonzero(weights, job.density).item()
    zeros, sizes = (1 - nonzero / weights) * (nonzero > 0) if weights else 0.0, []
    for run_bits in RUN_BITS:
        zeros *= zeros
        run_entries = round_up(np.asarray(nonzero / (1 - zeros))).item()
        sizes.append((run_entries * (weight_bits + run_bits), run_entries, run_bits))
    coded = round_up(np.asarray((job.index_code_bits or 0.0) * weights)).item()
    layers, known = layer_arrays([job]), job.entropy_bits is not None
    padded = DATAFLOW_MODELS[device.dataflow].coded_weights(layers, device).item()
    entropy = weights * assume_entropy(layers).item()
    entropy += added_bits(weights, job.density, padded).item()
    unknown = f"weight_bits {job.weight_bits} / {BITS_PER_ENTROPY_BIT}, the entropy being unknown,"
    named = f"entropy_bits {job.entropy_bits}" if known else unknown
    return {
        "index_bits": (index_bits(job.codebook_size or 1).item(), "ceil(log2 codebook_size)"),
        "column_bits": (index_bits(max(job.shape.k, 1)).item(), "ceil(log2 k)"),
        "coded_index_bits": (coded, f"index_code_bits {job.index_code_bits} * k * out_channels, rounded up"),
        "coded_weight_bits": (
            round_up(np.asarray(entropy * BITS_PER_ENTROPY_BIT)).item(),
            f"{BITS_PER_ENTROPY_BIT} * ({named} * k * out_channels + what {padded - weights} zeros add), rounded up",
        ),
        "nonzero_weights": (nonzero, f"density {job.density} * k * out_channels, rounded up"),
        "run_bits": (min(sizes)[2], "the width from 1 to 8 that takes the least"),
        "run_entries": (min(sizes)[1], f"{nonzero} nonzero weights / (1 - (share of zeros)^(2^run_bits)), rounded up"),
    }
