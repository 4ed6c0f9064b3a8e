"""What a dataflow makes of each layer: cycles, buffer accesses, words on the network, bytes of weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwmodels.cost.bit_columns import BIT_COLUMNS
from hwmodels.cost.blocks import BLOCKS
from hwmodels.cost.dataflow import NONE, ArrayCounts, DataflowModel
from hwmodels.cost.ne16 import NE16
from hwmodels.cost.row_stationary import ROW_STATIONARY
from hwmodels.cost.systolic_dataflows import INPUT_STATIONARY, OUTPUT_STATIONARY, WEIGHT_STATIONARY
from hwmodels.cost.unrolled import UNROLLED
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.storage.memory import StoredWeights, measure_weights
from hwmodels.workload.layer_arrays import LayerArrays

DATAFLOW_MODELS: Mapping[str, DataflowModel] = {
    "os": OUTPUT_STATIONARY,
    "ws": WEIGHT_STATIONARY,
    "is": INPUT_STATIONARY,
    "rs": ROW_STATIONARY,
    "unrolled": UNROLLED,
    "blocks": BLOCKS,
    "ne16": NE16,
    "bits": BIT_COLUMNS,
}
"""By the names of `hwmodels.device.dataflows`."""


def count_array(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return what the accelerator's array does for each layer."""
    counts = DATAFLOW_MODELS[accelerator.dataflow].count(layers, accelerator, mac)
    if counts.array_cycles is NONE:
        counts = counts._replace(array_cycles=counts.cycles)
    product = layers.is_product
    peak = mac.parallel_macs * np.maximum(counts.cycles, 1) * float(accelerator.units)
    utilisation = layers.macs * mac.serial_cycles / (peak * accelerator.unit_rate)
    efficiency = np.where(product, counts.mapping_efficiency, 0.0)
    whole = {
        field: getattr(counts, field) * product
        for field in counts._fields
        if field not in ("mapping_efficiency", "utilisation", "row_folds", "column_folds")
    }
    for operand, reads in (("inputs", "ifmap_reads"), ("weights", "filter_reads")):
        if accelerator.find_buffer(operand).read_by == "unit":
            whole[reads] = layers.macs * 1
    return counts._replace(mapping_efficiency=efficiency, utilisation=utilisation, **whole)


def measure_stored(layers: LayerArrays, accelerator: Accelerator) -> StoredWeights:
    """Return the sizes of each layer's weights in the formats in which they may be stored for the accelerator."""
    formats = accelerator.storage_formats
    if "entropy" not in formats:
        return measure_weights(layers, formats)
    coded = DATAFLOW_MODELS[accelerator.dataflow].coded_weights(layers, accelerator)
    return measure_weights(layers, formats, coded)
