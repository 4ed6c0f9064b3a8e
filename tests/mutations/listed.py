"""The mutations: a text of hwmodels that says what is published or derived, and one that says another thing."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One text for another in a file of hwmodels, where it must stand exactly once."""

    name: str
    file: str
    old: str
    new: str


_PROFILES, _COST, _STORAGE = "device/catalogue", "cost", "storage"
CONSTANTS = (
    Mutation("Ethos: flash 28 -> 2.8 pJ", f"{_PROFILES}/ethos_u55_128.toml", "{ value = 28.0,", "{ value = 2.8,"),
    Mutation("Gemmini: DRAM 8 -> 80 pJ", f"{_PROFILES}/gemmini_default.toml", "{ value = 8.0,", "{ value = 80.0,"),
    Mutation(
        "bit-serial: weight buffer 64 -> 16 KB",
        f"{_PROFILES}/bit_serial_16x16.toml",
        'operands = { value = ["weights"], source = "assumed" }\nsize_bytes = { value = 65536,',
        'operands = { value = ["weights"], source = "assumed" }\nsize_bytes = { value = 16384,',
    ),
    Mutation(
        "Ethos: depthwise lanes 8 -> 4",
        f"{_PROFILES}/ethos_u55_128.toml",
        "depthwise_channels = { value = 8,",
        "depthwise_channels = { value = 4,",
    ),
    Mutation(
        "Ethos: decoder 8 -> 16 weights a cycle",
        f"{_PROFILES}/ethos_u55_128.toml",
        "weights_per_cycle = { value = 8,",
        "weights_per_cycle = { value = 16,",
    ),
    Mutation(
        "entropy: 1.06 -> 1.16 bits for each bit",
        f"{_STORAGE}/entropy.py",
        "BITS_PER_ENTROPY_BIT = 1.06",
        "BITS_PER_ENTROPY_BIT = 1.16",
    ),
    Mutation("65 nm: 1.25 -> 1.52", "device/technology.py", "65: 1.25", "65: 1.52"),
    Mutation(
        "Bit Fusion: read of an input bank 0.0595 -> 0.107 pJ",
        f"{_PROFILES}/bitfusion.toml",
        "read_energy_pj_per_bit = { value = 0.0595,",
        "read_energy_pj_per_bit = { value = 0.107,",
    ),
    Mutation(
        "Edge TPU: parameters from the host 3.3 -> 6.6 Gbit/s",
        f"{_PROFILES}/edge_tpu.toml",
        "{ value = 3.3e9,",
        "{ value = 6.6e9,",
    ),
    Mutation(
        "TPU: idle 28 -> 18 W", f"{_PROFILES}/tpu_v1.toml", "static_w = { value = 28.0,", "static_w = { value = 18.0,"
    ),
    Mutation(
        "Eyeriss: network 4 -> 2 pJ a word",
        f"{_PROFILES}/eyeriss_v1.toml",
        "network_energy_pj_per_bit = { value = 0.25,",
        "network_energy_pj_per_bit = { value = 0.125,",
    ),
    Mutation("MPIC: 4 x 4 bits 3.5 -> 3.0 MACs", f"{_PROFILES}/mpic.toml", "[4, 4, 3.5]", "[4, 4, 3.0]"),
    Mutation("element of 8 bits: 0.2034 -> 0.2304 pJ", "device/precision.py", "0.2034, 0.6027", "0.2304, 0.6027"),
    Mutation(
        "Edge TPU: 4-bit weights take half a byte",
        f"{_PROFILES}/edge_tpu.toml",
        "packed = { value = [],",
        'packed = { value = ["weights"],',
    ),
    Mutation("scale of a channel: 4 -> 2 bytes", f"{_STORAGE}/memory.py", "SCALE_BYTES = 4", "SCALE_BYTES = 2"),
)
"""Numbers of profiles, and of published tables."""
FORMULAS = (
    Mutation(
        "tiling: blocks of channels rounded down",
        f"{_COST}/tiling.py",
        "blocks = ceil_div(roles.stationary, np.maximum(roles.stationary_kept, 1))",
        "blocks = np.maximum(roles.stationary // np.maximum(roles.stationary_kept, 1), 1)",
    ),
    Mutation(
        "fit: a memory of inputs alone holds no activations",
        f"{_COST}/fit.py",
        '{"inputs", "outputs"} & set(memory.operands)',
        '{"outputs"} & set(memory.operands)',
    ),
    Mutation(
        "row stationary: sets side by side in one direction only",
        f"{_COST}/row_stationary.py",
        "sets = (rows // kernel_rows) * (columns // output_rows)",
        "sets = rows // kernel_rows",
    ),
    Mutation("NE16: load of a 1 x 1 tile 19 -> 16", f"{_COST}/ne16.py", "_LOAD_POINT = 10 +", "_LOAD_POINT = 7 +"),
    Mutation(
        "Ethos: channels taken 32 at a time cost the steps of 8",
        f"{_COST}/blocks.py",
        "ceil_div(channels, set_channels) * -(-set_channels // unroll.in_channels)",
        "ceil_div(channels, unroll.in_channels)",
    ),
    Mutation(
        "entropy: zeros that fill up lanes are not coded",
        f"{_STORAGE}/entropy.py",
        "return np.maximum(added, 0.0)",
        "return np.minimum(added, 0.0)",
    ),
    Mutation(
        "systolic: groups on the diagonal wherever either side is free",
        f"{_COST}/systolic.py",
        "np.minimum(rows // spread_rows, columns // spread_columns)",
        "np.maximum(rows // spread_rows, columns // spread_columns)",
    ),
    Mutation(
        "systolic: fill of a weight-stationary fold without its load",
        f"{_COST}/systolic.py",
        '(0 if dataflow == "os" else rows)',
        "0",
    ),
    Mutation(
        "k_packing: kernel positions side by side for as many channels as rows",
        f"{_COST}/systolic_dataflows.py",
        "layers.is_product & (channels >= accelerator.rows)",
        "layers.is_product & (channels > accelerator.rows)",
    ),
    Mutation(
        "residency: what is alive may take twice the buffer",
        f"{_COST}/residency.py",
        "fits = alive <= capacity",
        "fits = alive <= 2 * capacity",
    ),
    Mutation(
        "Huffman: the oldest pair first, not the rarest",
        f"{_STORAGE}/huffman.py",
        "heappush(heap, (first + second, pair))",
        "heappush(heap, (first, pair))",
    ),
    Mutation(
        "arena: of equal sizes the earlier first",
        f"{_STORAGE}/arena.py",
        "(-sizes[index], -index)",
        "(-sizes[index], index)",
    ),
    Mutation(
        "sparse: a run one zero longer without a filler",
        f"{_STORAGE}/sparse.py",
        "long_run = long_run * long_run\n",
        "long_run = long_run * long_run * long_run\n",
    ),
    Mutation(
        "vector unit: its energy at any width",
        f"{_COST}/energy.py",
        "layers.vector_operations * layers.input_bits",
        "layers.vector_operations * VECTOR_BITS",
    ),
    Mutation(
        "idle units: those at work count, too",
        f"{_COST}/energy.py",
        "np.maximum(slots - layers.macs, 0.0)",
        "np.maximum(slots, 0.0)",
    ),
    Mutation(
        "static power: of all energy factors none",
        f"{_COST}/energy.py",
        "watts = factor * accelerator.static_power_w",
        "watts = accelerator.static_power_w",
    ),
    Mutation(
        "latency: the first tile is waited for twice",
        f"{_COST}/latency.py",
        "dram_cycles - first_tile) + first_tile",
        "dram_cycles) + first_tile",
    ),
    Mutation(
        "overflow: all weights come from elsewhere as soon as one does",
        f"{_COST}/latency.py",
        "np.ceil(moved * excess * ",
        "np.ceil(moved * (excess > 0) * ",
    ),
    Mutation(
        "buffers: what arrives from memory is not written",
        f"{_COST}/latency.py",
        "read + sram.ifmap_read_bits, written + dram.input_bits",
        "read + sram.ifmap_read_bits, written",
    ),
    Mutation(
        "calibrate: a second fit forgets the first",
        f"{_COST}/calibrate.py",
        "energy_factor=accelerator.energy_factor * (measured_energy_pj / modelled)",
        "energy_factor=measured_energy_pj / modelled",
    ),
    Mutation(
        "another node: buffers keep their energy of writing",
        f"{_COST}/calibrate.py",
        "write_energy_pj_per_bit=buffer.write_energy_pj_per_bit * ratio",
        "write_energy_pj_per_bit=buffer.write_energy_pj_per_bit",
    ),
    Mutation(
        "fusion: 16-bit operands take one pass",
        "device/precision.py",
        "serial = ceil_div(weight_bits, 8) * ceil_div(input_bits, 8)",
        "serial = np.ones_like(weight_bits)",
    ),
    Mutation(
        "containers: coded weights have the entropy of bytes",
        f"{_COST}/containers.py",
        "        entropy_bits=assume_entropy(layers),\n",
        "",
    ),
    Mutation(
        "HAQ's array: depthwise channels without a limit",
        f"{_COST}/bit_columns.py",
        "1, _DEPTHWISE_CHANNELS)",
        "1, None)",
    ),
)
"""What follows from them."""
MUTATIONS = (*CONSTANTS, *FORMULAS)
