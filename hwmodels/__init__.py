"""Energy, latency and storage of neural networks on accelerators, from closed forms, with numpy alone.

Example:
    >>> import hwmodels
    >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
    >>> cost = hwmodels.evaluate([hwmodels.LayerJob(shape=shape, weight_bits=4)], hwmodels.load("bitfusion"))
    >>> cost.macs, cost.weight_bytes
    (640, 400)
"""

from hwmodels.cost.calibrate import calibrate, scale_to_node
from hwmodels.cost.evaluate import evaluate
from hwmodels.cost.explain import FIGURES, explain
from hwmodels.cost.explanation import Explanation
from hwmodels.cost.fit import MemoryFit
from hwmodels.cost.latency import BOUNDS
from hwmodels.cost.network_cost import ENERGY_COMPONENTS, CandidateCosts, LayerCost, NetworkCost
from hwmodels.cost.notes import tell_unpriced
from hwmodels.cost.residency import NOTHING_STAYS, MapKeeper, Residency
from hwmodels.cost.systolic import SystolicCounts, systolic_counts
from hwmodels.cost.terms import LayerTerms, layer_terms
from hwmodels.device.accelerator import ASSUMED, Accelerator
from hwmodels.device.dataflows import DATAFLOWS, SYSTOLIC_DATAFLOWS
from hwmodels.device.parts import Blocks, Buffer, Memory, Registers, Unroll, VectorUnit
from hwmodels.device.precision import LAWS
from hwmodels.device.profiles import load, names, profile_entries
from hwmodels.device.technology import energy_ratio
from hwmodels.errors import DeviceError, HardwareModelError, LayerError, NetworkError
from hwmodels.storage.arena import peak_activation_bytes, peak_alive, plan_arena
from hwmodels.storage.entropy import entropy_bytes
from hwmodels.storage.huffman import code_lengths, huffman_bytes, mean_code_bits
from hwmodels.storage.memory import WEIGHT_FORMATS, codebook_bytes, codebook_huffman_bytes
from hwmodels.storage.sparse import RUN_BITS, bitmap_bytes, measure_relative_index_bytes
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.entropy import measure_entropy
from hwmodels.workload.jobs_json import read_jobs, write_jobs
from hwmodels.workload.layer import LAYER_KINDS, PRODUCT_KINDS, LayerJob, LayerShape
from hwmodels.workload.layer_arrays import LayerArrays, layer_arrays, stack, with_channels, with_widths
from hwmodels.workload.network import Network
from hwmodels.workload.networks import NETWORKS
from hwmodels.workload.onnx_network import OnnxNetwork, read_onnx, read_onnx_jobs
from hwmodels.workload.tensor_arrays import TensorArrays, stack_tensors, tensor_arrays
from hwmodels.workload.topology import read_topology, write_topology
from hwmodels.workload.widths import Workload

__all__ = [
    "ASSUMED",
    "BOUNDS",
    "DATAFLOWS",
    "ENERGY_COMPONENTS",
    "FIGURES",
    "LAWS",
    "LAYER_KINDS",
    "NETWORKS",
    "NOTHING_STAYS",
    "PRODUCT_KINDS",
    "RUN_BITS",
    "SYSTOLIC_DATAFLOWS",
    "WEIGHT_FORMATS",
    "Accelerator",
    "ActivationTensor",
    "Blocks",
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
    "MapKeeper",
    "Memory",
    "MemoryFit",
    "Network",
    "NetworkCost",
    "NetworkError",
    "OnnxNetwork",
    "Registers",
    "Residency",
    "SystolicCounts",
    "TensorArrays",
    "Unroll",
    "VectorUnit",
    "Workload",
    "bitmap_bytes",
    "calibrate",
    "code_lengths",
    "codebook_bytes",
    "codebook_huffman_bytes",
    "energy_ratio",
    "entropy_bytes",
    "evaluate",
    "explain",
    "huffman_bytes",
    "layer_arrays",
    "layer_terms",
    "load",
    "mean_code_bits",
    "measure_entropy",
    "measure_relative_index_bytes",
    "names",
    "peak_activation_bytes",
    "peak_alive",
    "plan_arena",
    "profile_entries",
    "read_jobs",
    "read_onnx",
    "read_onnx_jobs",
    "read_topology",
    "scale_to_node",
    "stack",
    "stack_tensors",
    "systolic_counts",
    "tell_unpriced",
    "tensor_arrays",
    "with_channels",
    "with_widths",
    "write_jobs",
    "write_topology",
]
