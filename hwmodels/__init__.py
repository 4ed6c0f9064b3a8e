"""Energy, latency and storage of neural networks on accelerators, from closed forms, with numpy alone.

Example:
    >>> import hwmodels
    >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
    >>> cost = hwmodels.evaluate([hwmodels.LayerJob(shape=shape, weight_bits=4)], hwmodels.load("bitfusion"))
    >>> cost.macs, cost.weight_bytes
    (640, 400)
"""

from hwmodels.accelerator import DATAFLOWS, Accelerator
from hwmodels.arena import peak_activation_bytes, peak_alive, plan_arena
from hwmodels.calibrate import at_node, calibrate
from hwmodels.cost import ENERGY_COMPONENTS, CandidateCosts, LayerCost, NetworkCost, evaluate
from hwmodels.errors import DeviceError, HardwareModelError, LayerError, NetworkError
from hwmodels.explain import FIGURES, Explanation, explain
from hwmodels.fit import MemoryFit
from hwmodels.layer import LAYER_KINDS, ActivationTensor, LayerJob, LayerShape
from hwmodels.layer_arrays import LayerArrays, layer_arrays, stack, with_widths
from hwmodels.memory import WEIGHT_FORMATS
from hwmodels.network import Network
from hwmodels.onnx_network import OnnxNetwork, read_onnx, read_onnx_jobs
from hwmodels.parts import Buffer, Memory, Registers, Unroll, VectorUnit
from hwmodels.precision import LAWS
from hwmodels.profiles import load, names
from hwmodels.systolic import SYSTOLIC_DATAFLOWS, SystolicCounts, systolic_counts
from hwmodels.technology import energy_ratio
from hwmodels.terms import LayerTerms, layer_terms
from hwmodels.topology import read_topology, write_topology

__all__ = [
    "DATAFLOWS",
    "ENERGY_COMPONENTS",
    "FIGURES",
    "LAWS",
    "LAYER_KINDS",
    "SYSTOLIC_DATAFLOWS",
    "WEIGHT_FORMATS",
    "Accelerator",
    "ActivationTensor",
    "Buffer",
    "CandidateCosts",
    "DeviceError",
    "Explanation",
    "HardwareModelError",
    "LayerArrays",
    "LayerCost",
    "LayerError",
    "LayerJob",
    "LayerShape",
    "LayerTerms",
    "Memory",
    "MemoryFit",
    "Network",
    "NetworkCost",
    "NetworkError",
    "OnnxNetwork",
    "Registers",
    "SystolicCounts",
    "Unroll",
    "VectorUnit",
    "at_node",
    "calibrate",
    "energy_ratio",
    "evaluate",
    "explain",
    "layer_arrays",
    "layer_terms",
    "load",
    "names",
    "peak_activation_bytes",
    "peak_alive",
    "plan_arena",
    "read_onnx",
    "read_onnx_jobs",
    "read_topology",
    "stack",
    "systolic_counts",
    "with_widths",
    "write_topology",
]
