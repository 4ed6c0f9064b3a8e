"""Energy, latency and storage of neural networks on accelerators, from closed forms, with numpy alone.

Example:
    >>> import hwmodels
    >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
    >>> cost = hwmodels.evaluate([hwmodels.LayerJob(shape=shape, weight_bits=4)], hwmodels.load("bitfusion"))
    >>> cost.macs, cost.weight_bytes
    (640, 400)
"""

from hwmodels.accelerator import Accelerator, Buffer
from hwmodels.cost import (
    LayerCost,
    LayerTerms,
    NetworkCost,
    NetworkTotals,
    evaluate,
    evaluate_totals,
    layer_terms,
)
from hwmodels.errors import DeviceError, HardwareModelError, LayerError
from hwmodels.layer import ActivationTensor, LayerArrays, LayerJob, LayerShape, layer_arrays
from hwmodels.memory import WEIGHT_FORMATS, peak_activation_bytes
from hwmodels.precision import LAWS
from hwmodels.profiles import load, names
from hwmodels.systolic import DATAFLOWS, SystolicCounts, systolic_counts

__all__ = [
    "DATAFLOWS",
    "LAWS",
    "WEIGHT_FORMATS",
    "Accelerator",
    "ActivationTensor",
    "Buffer",
    "DeviceError",
    "HardwareModelError",
    "LayerArrays",
    "LayerCost",
    "LayerError",
    "LayerJob",
    "LayerShape",
    "LayerTerms",
    "NetworkCost",
    "NetworkTotals",
    "SystolicCounts",
    "evaluate",
    "evaluate_totals",
    "layer_arrays",
    "layer_terms",
    "load",
    "names",
    "peak_activation_bytes",
    "systolic_counts",
]
