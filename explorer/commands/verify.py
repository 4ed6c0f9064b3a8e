"""The command that compares an exported network with what its device's compiler makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from explorer.commands.terminal import console, say
from explorer.errors import ExportError

if TYPE_CHECKING:
    from explorer.referee.comparison import VelaComparison

EthosProfile = Annotated[
    str | None,
    typer.Option(
        "--device", help="An Ethos-U profile; by default the run's device, or ethos_u55_128 where that is another."
    ),
]


def verify(
    exported: Annotated[
        Path, typer.Argument(metavar="OUT", help="What explorer export --format tflite wrote: the folder, or the file.")
    ],
    vela: Annotated[bool, typer.Option("--vela", help="Compile it with Vela, Arm's compiler for the Ethos-U.")] = False,
    device: EthosProfile = None,
) -> None:
    """Compile an exported network, and print the compiler's bytes, SRAM and cycles beside those of our model."""
    from explorer.referee.exported import read_costed, verify_compiled  # noqa: PLC0415
    from explorer.referee.vela import describe_configuration  # noqa: PLC0415

    costed = read_costed(exported)
    if not vela:
        raise ExportError(
            f"verify: expected --vela, which compiles {costed.path}; its predictions were compared when it was "
            f"exported: {costed.agreement:.2%} of {costed.num_images} images agree with the integer program"
        )
    comparison, profile = verify_compiled(costed, device)
    console.print(_layer_table(comparison))
    say(f"{costed.name}, {costed.path}: our profile {profile} beside {describe_configuration(profile)}")
    for line in _remarks(comparison):
        say(line)


def show_ratio(ours: int, vela: int) -> str:
    """Return ours / Vela's as text, empty where Vela has nothing."""
    return f"{ours / vela:.2f}" if vela else ""


def _layer_table(comparison: VelaComparison) -> Table:
    table = Table("layer", "kind", box=None, pad_edge=False)
    for heading in ("bytes", "Vela's", "ratio", "cycles", "Vela's", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.layers:
        table.add_row(escape(row.layer), row.kind, *_cells(*row.weight_bytes), *_cells(*row.cycles))
    ours, vela = comparison.ours, comparison.vela
    table.add_row(
        "total", "", *_cells(ours.weight_bytes, vela.weight_bytes), *_cells(ours.cycles, vela.cycles), style="bold"
    )
    return table


def _cells(ours: int, vela: int) -> tuple[str, str, str]:
    """Return both and the ratio; nothing where both have nothing."""
    return (f"{ours:,}", f"{vela:,}", show_ratio(ours, vela)) if ours or vela else ("", "", "")


def _remarks(comparison: VelaComparison) -> list[str]:
    """Return the SRAM, and what stands in the totals, or in none, without a layer of ours."""
    ours, vela = comparison.ours.sram_bytes, comparison.vela.sram_bytes
    lines = [f"SRAM: {ours:,} bytes by our model, {vela:,} by Vela, ratio {show_ratio(ours, vela)}"]
    lines += [f"of no layer: {each.kind} {each.name}, {each.cycles:,} cycles" for each in comparison.unmatched]
    lines += [f"of no layer: constant {name}, {size:,} bytes" for name, size in comparison.unmatched_constants]
    lines += [f"left to the processor: {each.kind} {each.name}, cycles unknown" for each in comparison.on_cpu]
    return lines
