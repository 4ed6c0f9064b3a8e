"""The command that compares an exported network with what its device's compiler makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from explorer.commands.options import EthosProfile
from explorer.commands.terminal import console, say, show_beside
from explorer.errors import ExportError

if TYPE_CHECKING:
    from explorer.referee.comparison import VelaComparison


def verify(
    exported: Annotated[
        Path, typer.Argument(metavar="OUT", help="What explorer export --format tflite wrote: the folder, or the file.")
    ],
    vela: Annotated[bool, typer.Option("--vela", help="Compile it with Vela, Arm's compiler for the Ethos-U.")] = False,
    device: EthosProfile = None,
) -> None:
    """Compile an exported network, and print the compiler's bytes, SRAM and cycles beside those of our model."""
    import hwmodels  # noqa: PLC0415
    from explorer.referee.exported import read_costed, verify_compiled  # noqa: PLC0415
    from explorer.referee.vela import describe_configuration, find_accelerator  # noqa: PLC0415

    costed = read_costed(exported)
    if not vela:
        raise ExportError(
            f"verify: expected --vela, which compiles {costed.path}; its predictions were compared when it was "
            f"exported: {costed.agreement:.2%} of {costed.num_images} images agree with the integer program"
        )
    accelerator = find_accelerator(costed.device, None if device is None else hwmodels.load(device))
    comparison = verify_compiled(costed, accelerator)
    compiler = describe_configuration(accelerator)
    console.print(_layer_table(comparison))
    say(f"{costed.name}, {costed.path}: our profile {accelerator.name} beside {compiler}; ratios are ours / Vela's")
    for line in _remarks(comparison):
        say(line)


def _layer_table(comparison: VelaComparison) -> Table:
    table = Table("layer", "kind", box=None, pad_edge=False)
    for heading in ("bytes", "Vela's", "ratio", "cycles", "Vela's", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.layers:
        table.add_row(escape(row.layer), row.kind, *show_beside(*row.weight_bytes), *show_beside(*row.cycles))
    ours, vela = comparison.ours, comparison.vela
    sums = (*show_beside(ours.weight_bytes, vela.weight_bytes), *show_beside(ours.cycles, vela.cycles))
    table.add_row("total", "", *sums, style="bold")
    return table


def _remarks(comparison: VelaComparison) -> list[str]:
    """Return the SRAM, and what stands in the totals, or in none, without a layer of ours."""
    ours, vela, ratio = show_beside(comparison.ours.sram_bytes, comparison.vela.sram_bytes)
    lines = [f"SRAM: {ours} bytes by our model, {vela} by Vela, ratio {ratio}"]
    lines += [f"of no layer: {each.kind} {each.name}, {each.cycles:,} cycles" for each in comparison.unmatched]
    lines += [f"of no layer: constant {name}, {size:,} bytes" for name, size in comparison.unmatched_constants]
    lines += [f"left to the processor: {each.kind} {each.name}, cycles unknown" for each in comparison.on_cpu]
    return lines
