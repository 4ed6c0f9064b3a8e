"""Formulas of a layer's cycles, its traffic and what that costs, over the names of the layer's and device's values.

Each repeats what `hwmodels.cost` computes, which a test holds it against; `hwmodels.explain` knows the names.
"""

from __future__ import annotations

from hwmodels.cost.citation import cite, name_place, name_units
from hwmodels.cost.dataflow import DataflowFormulas, Formula
from hwmodels.cost.mapping import DATAFLOW_MODELS
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.parts import Buffer, Memory
from hwmodels.workload.layer import PRODUCT_KINDS, LayerJob, LayerShape

_SRAM_FIGURES = {"weights": "filter_sram_bits", "inputs": "ifmap_sram_bits", "outputs": "ofmap_sram_bits"}
_NO_STAGE = Formula("0", "the dataflow knows no such stage (hwmodels.cost.blocks)")
_DRAM_FIGURES = {"weights": "dram_weight_bits", "inputs": "dram_input_bits", "outputs": "dram_output_bits"}
"""Operand -> the figure that is its traffic with the memories; the former with the array."""


def compute_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the array, or those of the vector unit."""
    if job.shape.kind not in PRODUCT_KINDS:
        pools = job.shape.kind == "pool" and device.vector.pool_operations_per_cycle
        rate = "vector_pool_operations_per_cycle" if pools else "vector_operations_per_cycle"
        return Formula(f"ceil(vector_operations / {rate})", "the vector unit's rate (hwmodels.cost.latency)")
    return _explain_array(job, device).compute_cycles


def array_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the array's steps, waiting for weights and results aside."""
    array = _explain_array(job, device)
    return array.array_cycles or array.compute_cycles


def decoder_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles in which all weights leave the decoder."""
    return _explain_array(job, device).decoder_cycles or _NO_STAGE


def writing_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles in which all results are written."""
    return _explain_array(job, device).writing_cycles or _NO_STAGE


def mapping_efficiency(job: LayerJob, device: Accelerator) -> Formula:
    """Return the ratio of the array that has work while it runs."""
    return _explain_array(job, device).mapping_efficiency


def utilisation(_: LayerJob, device: Accelerator) -> Formula:
    """Return the achieved share of the peak rate."""
    peak = f"compute_cycles * {name_units(device)} * parallel_macs{'' if device.has_rows else ' * unroll_rate'}"
    return Formula(f"macs * serial_cycles / ({peak})", "MACs over those of all units at work (hwmodels.cost.mapping)")


def ifmap_sram_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return what the array, or the vector unit, reads of inputs."""
    if job.shape.kind not in PRODUCT_KINDS:
        return Formula("inputs * memory_input_bits", "each input once (hwmodels.cost.traffic)")
    array = _explain_array(job, device)
    reads = _array_reads(device.find_buffer("inputs"), Formula(array.ifmap_reads, array.reference), device)
    return reads._replace(text=f"{reads.text} * held_input_bits")


def filter_sram_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return what the array reads of weights."""
    array = _explain_array(job, device)
    reads = _array_reads(device.find_buffer("weights"), Formula(array.filter_reads, array.reference), device)
    return reads._replace(text=f"{reads.text} * held_weight_bits")


def ofmap_sram_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return what is written of outputs and sums, and of sums read back."""
    bits = " + ".join(_ofmap_parts(job, device))
    return Formula(
        bits, "each output once, or sums in every fold of k, read back in all but the first (hwmodels.cost.mapping)"
    )


def dram_output_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return the memory traffic of outputs and sums."""
    source = cite("array.output_traffic", device)
    return Formula(" + ".join(_dram_output_parts(job, device)), f"outputs, or sums there and back ({source})")


def sram_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the slowest buffer."""
    bits = {operand: f"{_SRAM_FIGURES[operand]} + {_DRAM_FIGURES[operand]}" for operand in _DRAM_FIGURES}
    if _moves_kept(device):
        bits |= {operand: f"{bits[operand]} + kept_sram_bits" for operand in ("inputs", "outputs")}
    waits = [_wait(bits, buffer, job.shape) for buffer in device.buffers]
    return Formula(_longest(waits), "the slowest buffer; without a bandwidth one keeps up (hwmodels.cost.latency)")


def dram_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the slowest memory."""
    waits = [_wait(_DRAM_FIGURES, memory, job.shape) + _overflow(memory, job.shape) for memory in device.memories]
    return Formula(_longest(waits), "traffic of the slowest memory (hwmodels.cost.latency)")


def first_tile_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the slowest memory for what the array needs to start."""
    weights, inputs = _explain_array(job, device).first_tile
    once = "dram_weight_bits / weight_passes"
    bits = {
        # The brackets around the bits of one weight keep the order in which the model rounds.
        "weights": f"min(ceil({weights} * ({once} / (k * out_channels))), {once})",
        "inputs": f"min({inputs}, inputs) * memory_input_bits",
    }
    if device.map_buffer:
        bits["inputs"] = f"min({bits['inputs']}, dram_input_bits / input_passes)"
    waits = [_wait(bits, memory, job.shape) for memory in device.memories]
    return Formula(_longest(waits), "needs of the first fold, from the slowest memory (hwmodels.cost.traffic)")


def sram_pj(job: LayerJob, device: Accelerator) -> Formula:
    """Return the energy of all buffers."""
    (sums_written, *sums_read), (to_memory, *from_memory) = _ofmap_parts(job, device), _dram_output_parts(job, device)
    reads = {**_SRAM_FIGURES, "outputs": " + ".join([*sums_read, to_memory])}
    writes = {**_DRAM_FIGURES, "outputs": " + ".join([sums_written, *from_memory])}
    if _moves_kept(device):
        reads["outputs"] += " + kept_sram_bits"
        writes["inputs"] += " + kept_sram_bits"
    spent = [
        f"{moved} * {name_place(buffer)}_{side}_energy_pj_per_bit"
        for buffer in device.buffers
        for side, bits in (("read", reads), ("write", writes))
        if (moved := _moved(bits, buffer, job.shape))
    ]
    return Formula(f"energy_factor * ({' + '.join(spent)})", "both sides of each buffer (hwmodels.cost.latency)")


def dram_pj(job: LayerJob, device: Accelerator) -> Formula:
    """Return the energy of all memories."""
    spent = [
        f"{moved} * {name_place(memory)}_energy_pj_per_bit"
        for memory in device.memories
        if (moved := _moved(_DRAM_FIGURES, memory, job.shape))
    ]
    return Formula(f"energy_factor * ({' + '.join(spent)})", "the traffic of each memory (hwmodels.cost.energy)")


def _moves_kept(device: Accelerator) -> bool:
    """Tell whether outputs that stay move to another buffer, which is that of the inputs."""
    return device.map_buffer is not None and device.map_buffer is not device.find_buffer("outputs")


def _ofmap_parts(job: LayerJob, device: Accelerator) -> list[str]:
    """Return the bits of outputs or sums that are written to their buffer, and those of sums that are read back."""
    folds = _explain_array(job, device).row_folds
    if job.shape.kind not in PRODUCT_KINDS or not folds:
        return ["outputs * output_bits"]
    return [f"outputs * {folds} * accumulator_bits", f"outputs * ({folds} - 1) * accumulator_bits"]


def _dram_output_parts(job: LayerJob, device: Accelerator) -> list[str]:
    """Return the bits of outputs or sums that go to memory, and those of sums that come from there."""
    if job.shape.kind in PRODUCT_KINDS and device.output_traffic == "sums":
        return ["outputs * accumulator_bits", "outputs * accumulator_bits"]
    return [f"{'(1 - resident_output) * ' if device.map_buffer else ''}outputs * output_bits"]


def _explain_array(job: LayerJob, device: Accelerator) -> DataflowFormulas:
    return DATAFLOW_MODELS[device.dataflow].formulas(job.shape, device)


def _array_reads(buffer: Buffer, edge: Formula, device: Accelerator) -> Formula:
    """Return the words that are read of one operand, given those that enter the array at its edge."""
    if buffer.read_by == "unit":
        return Formula("macs", f"every unit reads for itself ({cite(f'buffers.{buffer.name}.read_by', device)})")
    return edge


def _moved(bits: dict[str, str], place: Buffer | Memory, shape: LayerShape) -> str:
    """Return the sum of the bits of a layer's operands that a buffer or memory holds."""
    homes = {operand: operand for operand in bits if operand != "weights" or shape.kind in PRODUCT_KINDS}
    if shape.kind == "matmul" and isinstance(place, Memory):
        homes["weights"] = "inputs"
    moved = " + ".join(bits[operand] for operand, home in homes.items() if home in place.operands)
    return f"({moved})" if " + " in moved else moved


def _wait(bits: dict[str, str], place: Buffer | Memory, shape: LayerShape) -> str:
    """Return the cycles of a buffer or memory; "" where there are none."""
    moved, rate = _moved(bits, place, shape), f"({name_place(place)}_bandwidth_bits_per_s / clock_hz)"
    if isinstance(place, Buffer):
        rate = f"{name_place(place)}_bandwidth_bits_per_cycle" if place.bandwidth_bits_per_cycle else ""
    return f"ceil({moved} / {rate})" if moved and rate else ""


def _overflow(memory: Memory, shape: LayerShape) -> str:
    """Return what is added for weights that exceed a memory."""
    name, stored = name_place(memory), shape.kind in ("conv", "linear") and "weights" in memory.operands
    if not stored or not memory.overflow_bandwidth_bits_per_s:
        return ""
    share = f"max(1 - {name}_size_bytes * 8 / max(dram_weight_bits / weight_passes, 1), 0)"
    slower = f"1 / ({name}_overflow_bandwidth_bits_per_s / clock_hz) - 1 / ({name}_bandwidth_bits_per_s / clock_hz)"
    return f" + max(ceil(dram_weight_bits * {share} * ({slower})), 0)"


def _longest(waits: list[str]) -> str:
    stated = [wait for wait in waits if wait]
    return f"max({', '.join(stated)})" if len(stated) > 1 else "".join(stated) or "0"


FORMULAS = (
    *(array_cycles, decoder_cycles, writing_cycles),
    *(compute_cycles, sram_cycles, dram_cycles, first_tile_cycles, mapping_efficiency, utilisation),
    *(ifmap_sram_bits, filter_sram_bits, ofmap_sram_bits, dram_output_bits, sram_pj, dram_pj),
)
"""Each under the name of its figure."""
