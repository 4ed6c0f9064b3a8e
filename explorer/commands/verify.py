"""The command that measures a handed-over network, and compares it with what its device's compiler makes of it."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from explorer.commands.options import whole_number
from explorer.commands.progress import ProgressDisplay
from explorer.commands.terminal import console, say, show_beside
from explorer.errors import ExportError
from explorer.progress import silent

if TYPE_CHECKING:
    from explorer.export.verified import Verified
    from explorer.referee.comparison import VelaComparison

BROKEN = 1
"""Exit code where an artefact is not what its export recorded."""
MOST_LAYERS = 12
"""Layers whose bytes are printed; --json has all."""


def verify(
    artefact: Annotated[
        Path, typer.Argument(metavar="ARTEFACT", help="What explorer export wrote: the folder, or the file in it.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images to score it on: digits, mnist, cifar10, a folder of images, an .npz file, module:function, or "
            "a study file, whose held-out images and score they are.",
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(parser=whole_number(1), metavar="INTEGER", help="Score so many of them alone.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device profile to price it on, a name or a .toml file; by default the one it was made for."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    vela: Annotated[
        bool, typer.Option("--vela", help="Compile a tflite file with Vela, Arm's compiler for the Ethos-U.")
    ] = False,
) -> None:
    """Measure score, size and cost of an exported network from its files alone, and compare them with its record.

    The exit code is 1 where it scores otherwise than its export recorded of the same images, or files have changed.
    With --vela the compiler's bytes, SRAM and cycles are printed beside those of our model.
    """
    if vela:
        if data is not None or images is not None or as_json:
            raise ExportError("verify: expected --vela alone, or with --device; it scores nothing")
        _compare_compiled(artefact, device)
        return
    if data is None:
        raise ExportError(_tell_missing(artefact))
    import hwmodels  # noqa: PLC0415
    from explorer.export.measure import verify_artefact  # noqa: PLC0415  (imports torch)

    accelerator = None if device is None else hwmodels.load(device)
    with nullcontext(silent) if as_json else ProgressDisplay(console) as notify:
        found = verify_artefact(artefact, data, accelerator, num_images=images, notify=notify)
    if as_json:
        sys.stdout.write(f"{json.dumps(found.to_json(), indent=2, allow_nan=False)}\n")
    else:
        _show(found)
    if not found.is_as_promised:
        raise typer.Exit(BROKEN)


def _show(found: Verified) -> None:
    for line in found.summary().splitlines():
        say(line)
    stored = found.artefact.stored
    table = Table("bytes", box=None, pad_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    layers = list(stored.weights.items())
    for kind, size in stored.by_kind().items():
        if size:
            table.add_row(kind, f"{size:,}", f"{size / stored.total:.1%}")
        if kind == "weights":
            for name, bytes_ in layers[:MOST_LAYERS]:
                table.add_row(f"  {escape(name)}", f"{bytes_:,}", f"{bytes_ / stored.total:.1%}")
            if len(layers) > MOST_LAYERS:
                rest = sum(size for _, size in layers[MOST_LAYERS:])
                table.add_row(f"  {len(layers) - MOST_LAYERS} more layers", f"{rest:,}", f"{rest / stored.total:.1%}")
    table.add_row("all", f"{stored.total:,}", "", style="bold")
    console.print(table)


def _tell_missing(artefact: Path) -> str:
    """Return what to ask for, and of a file for LiteRT what is known without."""
    if artefact.suffix != ".tflite" and not (artefact / "model.tflite").is_file():
        return "verify: expected --data, images to score it on, such as --data digits, received none"
    from explorer.referee.exported import read_costed  # noqa: PLC0415

    costed = read_costed(artefact)
    return (
        f"verify: expected --vela, which compiles {costed.path}, or --data, images to score it on; its predictions "
        f"were compared when it was exported: {costed.agreement:.2%} of {costed.num_images} images agree with the "
        "integer program"
    )


def _compare_compiled(exported: Path, device: str | None) -> None:
    """Print the compiler's bytes, SRAM and cycles beside those of our model."""
    import hwmodels  # noqa: PLC0415
    from explorer.referee.exported import read_costed, verify_compiled  # noqa: PLC0415
    from explorer.referee.vela import describe_configuration, find_accelerator  # noqa: PLC0415

    costed = read_costed(exported)
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
