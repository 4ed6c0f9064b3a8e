"""The commands about devices: which there are, where their numbers come from, whether a file of one's own is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from explorer.commands.terminal import console, say

devices = typer.Typer(help="The device profiles that come with explorer, and your own.", no_args_is_help=True)


@devices.command("list")
def devices_list() -> None:
    """List all device profiles."""
    import hwmodels  # noqa: PLC0415

    table = Table("name", "device", "array", "dataflow", "clock", "precision", box=None, pad_edge=False)
    for name in hwmodels.names():
        device = hwmodels.load(name)
        table.add_row(
            name,
            device.title,
            f"{device.rows}x{device.columns}" if device.has_rows else f"{device.units}",
            device.dataflow,
            f"{device.clock_hz / 1e6:g} MHz",
            device.precision_law,
        )
    console.print(table)


@devices.command("show")
def devices_show(
    profile: Annotated[str, typer.Argument(metavar="DEVICE", help="A name, or a .toml file.")],
) -> None:
    """Show every number of a device profile with its source; what has none says "assumed"."""
    import hwmodels  # noqa: PLC0415

    device = hwmodels.load(profile)
    title = escape(f"{device.name}: {device.title}")
    table = Table("key", "value", "source", box=None, pad_edge=False, title=title)
    entries = hwmodels.profile_entries(device)
    for key, value, source in entries:
        style = "yellow" if source == hwmodels.ASSUMED else None
        table.add_row(key, escape(_shown(value)), escape(source), style=style)  # brackets of an own file are no markup
    console.print(table)
    assumed = sum(source == hwmodels.ASSUMED for _, _, source in entries)
    where = "" if profile.endswith(".toml") else "; sources are in hwmodels/sources.bib"
    say(f"{assumed} of {len(entries)} values are assumed{where}")
    if device.unpriced:
        say(f"assumed 0, a bandwidth without limit: {', '.join(device.unpriced)}")


@devices.command("check")
def devices_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A device profile of your own, a .toml file.")],
) -> None:
    """Say everything that is wrong with a device profile, or that it can be used, and what it comes to."""
    import hwmodels  # noqa: PLC0415

    device = hwmodels.load(file)
    entries = hwmodels.profile_entries(device)
    assumed = sum(source == hwmodels.ASSUMED for _, _, source in entries)
    say(f"{file}: {device.name} ({device.title}) is complete: {len(entries)} values, {assumed} of them assumed")
    network, bits = hwmodels.NETWORKS["mlperf_tiny_resnet8"](), (device.weight_bits[-1], device.input_bits[-1])
    jobs, tensors = network.at(*bits)
    result = hwmodels.evaluate(jobs, device, tensors)
    say(
        f"ResNet-8 of MLPerf Tiny with weights of {bits[0]} bits and activations of {bits[1]} takes "
        f"{result.energy_pj * 1e-6:.4g} uJ, {result.latency_ms:.4g} ms and {result.weight_bytes} bytes of weights there"
    )


def _shown(value: object) -> str:
    """Return a value of a profile as text."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
