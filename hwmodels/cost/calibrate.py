"""Fit a device to a measurement, or move it to another technology node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwmodels.bounds import Span
from hwmodels.checks import check_number, check_text
from hwmodels.cost.evaluate import evaluate
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.technology import energy_ratio
from hwmodels.errors import DeviceError
from hwmodels.workload.layer import LayerJob

MEASURED_PJ = Span(1e-3, 1e18)
"""Up to a megajoule, for one network."""
_ON_CHIP = ("arithmetic.mac_energy_pj", "array.network_energy_pj_per_bit", "registers.energy_pj_per_bit")


def calibrate(
    accelerator: Accelerator, jobs: Sequence[LayerJob], measured_energy_pj: float, source: str
) -> Accelerator:
    """Return the device with all energies multiplied so that `jobs` take the measured energy.

    One factor cannot mend what the model gets wrong between networks: predict another measured network, and look at
    the ratio.

    Args:
        accelerator: The device to fit.
        jobs: The layers of the measured network.
        measured_energy_pj: What one run of it took.
        source: What was measured: it becomes the source of the profile's `power.energy_factor`.

    Raises:
        DeviceError: the energy is not positive, there is no source, or the device takes no energy to scale.
        LayerError: the device cannot run the jobs.

    Example:
        >>> import hwmodels
        >>> jobs = hwmodels.NETWORKS["mlperf_tiny_resnet8"]().jobs()
        >>> fitted = hwmodels.calibrate(hwmodels.load("gemmini_default"), jobs, 250e6, "my measurement")
        >>> round(hwmodels.evaluate(jobs, fitted).energy_pj), fitted.sources["power.energy_factor"]
        (250000000, 'my measurement')
    """
    problems = [*check_number("measured_energy_pj", measured_energy_pj, MEASURED_PJ), *check_text("source", source)]
    if problems:
        raise DeviceError(problems)
    modelled = evaluate(jobs, accelerator).energy_pj
    if not modelled:
        raise DeviceError(
            f"device {accelerator.name!r}: its energies are all 0, so no factor gives {measured_energy_pj:g} pJ: "
            "state at least its power (`power.static_w`)"
        )
    return replace(
        accelerator,
        energy_factor=accelerator.energy_factor * (measured_energy_pj / modelled),
        sources={**accelerator.sources, "power.energy_factor": source},
    )


def scale_to_node(accelerator: Accelerator, node_nm: int) -> Accelerator:
    """Return the device with its on-chip energies scaled to another technology node, in nm.

    Arithmetic, registers, network, buffers and vector unit scale by the published ratios (see
    `hwmodels.device.technology`); memories, static power and the clock stay: they do not follow the node of the logic.

    Raises:
        DeviceError: one of the nodes is not known.

    Example:
        >>> import hwmodels
        >>> device = hwmodels.load("bitfusion")
        >>> device.node_nm, hwmodels.scale_to_node(device, 16).mac_energy_pj / device.mac_energy_pj
        (45, 0.19)
    """
    ratio = energy_ratio(accelerator.node_nm, node_nm)
    buffers = tuple(
        replace(
            buffer,
            read_energy_pj_per_bit=buffer.read_energy_pj_per_bit * ratio,
            write_energy_pj_per_bit=buffer.write_energy_pj_per_bit * ratio,
        )
        for buffer in accelerator.buffers
    )
    vector, registers = accelerator.vector, accelerator.registers
    scaled = dict.fromkeys(
        (
            key
            for key in accelerator.sources
            if key in _ON_CHIP or (key.startswith(("buffers.", "vector.")) and "_pj" in key)
        ),
        f"scaled from {accelerator.node_nm} to {node_nm} nm: stillmaker_integration2017",
    )
    return replace(
        accelerator,
        node_nm=node_nm,
        mac_energy_pj=accelerator.mac_energy_pj * ratio,
        network_energy_pj_per_bit=accelerator.network_energy_pj_per_bit * ratio,
        registers=replace(registers, energy_pj_per_bit=registers.energy_pj_per_bit * ratio),
        vector=replace(vector, energy_pj_per_operation=vector.energy_pj_per_operation * ratio),
        buffers=buffers,
        sources={**accelerator.sources, **scaled},
    )
