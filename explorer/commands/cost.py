"""The command that prices a network on a device, with neither a study nor a search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from explorer.commands.options import whole_number
from explorer.commands.terminal import console, say
from explorer.files import refuse_foreign, write_csv
from explorer.settings.rules import suggestion

if TYPE_CHECKING:
    from explorer.evaluate.workload import Priced
    from hwmodels import Accelerator, LayerCost, NetworkCost

FACTORS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
NAMED = 3
"""Operations that are not counted are named up to so many for each reason."""


class Widths(NamedTuple):
    """Bits of weights and of activations."""

    weights: int
    activations: int


class Image(NamedTuple):
    """Shape of an image."""

    channels: int
    height: int
    width: int


def _widths(text: str) -> Widths:
    """Return widths from 8 or 4/8: weights, then activations."""
    match = re.fullmatch(r"(\d{1,3})(?:/(\d{1,3}))?", text.strip())
    found = Widths(int(match[1]), int(match[2] or match[1])) if match else Widths(0, 0)
    if not all(1 <= bits <= 32 for bits in found):
        what = "expected the bits of weights and activations, such as 4/8, each from 1 to 32"
        raise typer.BadParameter(f"{what}, received {text!r}")
    return found


def _image(text: str) -> Image:
    """Return channels, height and width from 3x32x32."""
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})x([1-9]\d{0,5})", text.strip())
    if match is None:
        raise typer.BadParameter(f"expected channels x height x width, such as 3x32x32, received {text!r}")
    return Image(int(match[1]), int(match[2]), int(match[3]))


def cost(  # noqa: PLR0913, PLR0917 - typer makes an option of each argument
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A known network, a SCALE-Sim topology (.csv), an .onnx file, or module:callable in PyTorch.",
        ),
    ],
    device: Annotated[str, typer.Option(help="Device profile: a name, or a .toml file.")],
    bits: Annotated[
        Widths | None,
        typer.Option(
            parser=_widths,
            metavar="W/A",
            help="Bits of weights and activations; by default what an ONNX file says, or 8/8.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="INTEGER", help="Images that run together; by default 1."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Print a line for each layer.")] = True,
    images: Annotated[
        Image | None,
        typer.Option("--input", parser=_image, metavar="CxHxW", help="Shape of an image, for a PyTorch network."),
    ] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="File for every number of every layer.")] = None,
    roofline: Annotated[Path | None, typer.Option(help="HTML file for the roofline plot.")] = None,
    explained: Annotated[
        str | None, typer.Option("--explain", metavar="LAYER:FIGURE", help="Say how one number of a layer comes about.")
    ] = None,
) -> None:
    """Price a network on a device: energy, latency, memory, and what is not counted."""
    import hwmodels  # noqa: PLC0415
    from explorer.evaluate.workload import priced  # noqa: PLC0415

    accelerator = hwmodels.load(device)
    workload = priced(network, bits, batch or 1, images)
    result = hwmodels.evaluate(workload.jobs, accelerator, workload.tensors)
    if explained is not None:
        say(_explanation(explained, workload, accelerator, result))
        return
    if table is not None:
        _write_csv(result.layers, table)
    if roofline is not None:
        from explorer.report.roofline.page import write_roofline  # noqa: PLC0415  (imports plotly)
        from explorer.report.roofline.views import build_roofline_view  # noqa: PLC0415

        write_roofline(build_roofline_view(workload.name, workload.jobs, result.layers, accelerator), roofline)
    if layers:
        console.print(_layer_table(workload, result))
    say(f"{workload.name} on {accelerator.name}, {accelerator.title}; {workload.widths}")
    for line in (*_summary(workload, result), *_not_counted(workload.skipped)):
        say(line)


def _explanation(wanted: str, workload: Priced, accelerator: Accelerator, result: NetworkCost) -> str:
    """Return the formula of one number of one layer, with its values and their sources; of one run of many."""
    import hwmodels  # noqa: PLC0415

    name, _, figure = wanted.rpartition(":")
    jobs = {job.shape.name: (job, layer) for job, layer in zip(workload.jobs, result.layers, strict=True)}
    if name not in jobs:
        raise typer.BadParameter(
            f"--explain: expected LAYER:FIGURE, such as {next(iter(jobs))}:energy_pj, but "
            f"{workload.name} has no layer {name!r}: {suggestion(name, jobs, 'layers')}"
        )
    job, layer = jobs[name]
    if result.runs > 1:
        job = replace(job, shape=replace(job.shape, batch=job.shape.batch // result.runs))
    return str(hwmodels.explain(job, accelerator, figure, layer))


def _summary(workload: Priced, result: NetworkCost) -> list[str]:
    """Return the sums, each on a line; then what they would hide."""
    parts = {name: part for name, part in result.energy_pj_by_component.items() if part > 0}
    shares = ", ".join(f"{name} {100 * part / result.energy_pj:.3g} %" for name, part in parts.items())
    kinds = len(result.layers), sum(layer.macs > 0 for layer in result.layers)
    lines = [
        f"layers:      {kinds[0]}, {kinds[1]} of them with products; {_amount(result.macs)} MACs",
        f"energy:      {_number(result.energy_pj * 1e-6)} uJ: {shares}" if parts else "energy:      0 uJ",
        f"latency:     {_number(result.latency_ms)} ms, {result.latency_cycles} cycles; {_bounds(result.layers)}",
        f"weights:     {result.weight_bytes} bytes in storage",
        f"activations: {_activations(workload, result)}",
        f"DRAM:        {_amount(result.dram_bits / 8)} bytes read and written",
    ]
    for fit in result.fits:
        verdict = f"{fit.spare_bytes} bytes to spare" if fit.spare_bytes >= 0 else f"{-fit.spare_bytes} bytes too many"
        held = " and ".join(fit.holds)
        lines.append(f"{fit.place}: {held} take {fit.needed_bytes} of {fit.size_bytes} bytes, {verdict}")
    return [*lines, *(f"note: {note}" for note in result.notes)]


def _bounds(layers: Sequence[LayerCost]) -> str:
    """Return how much of the time is bound by what."""
    from hwmodels import BOUNDS  # noqa: PLC0415

    whole = sum(layer.latency_cycles for layer in layers)
    cycles = {bound: sum(layer.latency_cycles for layer in layers if layer.bound == bound) for bound in BOUNDS}
    bounds = [f"{100 * part / whole:.0f} % bound by {bound}" for bound, part in cycles.items() if part]
    return ", ".join(bounds) or "no layer takes any"


def _activations(workload: Priced, result: NetworkCost) -> str:
    """Return the peak of the activations, which a topology does not tell."""
    if not workload.tensors:
        return "unknown, since a topology does not say which layer reads which"
    return f"{result.peak_activation_bytes} bytes at their peak, {result.arena_bytes} in TensorFlow Lite Micro's arena"


def _not_counted(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line for each reason why operations are left out, with the first of them."""
    names: dict[str, list[str]] = {}
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    return [
        f"not counted: {', '.join(each[:NAMED])}"
        + (f" and {len(each) - NAMED} more" if len(each) > NAMED else "")
        + f": {reason}"
        for reason, each in names.items()
    ]


def _layer_table(workload: Priced, result: NetworkCost) -> Table:
    """Return a row for each layer."""
    table = Table("layer", "kind", box=None, pad_edge=False)
    for heading in ("m x k x n", "W/A", "MACs", "cycles", "bound", "used %", "energy uJ", "weights B", "DRAM B"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job, layer in zip(workload.jobs, result.layers, strict=True):
        shape, product = job.shape, layer.macs > 0
        groups = f" x {shape.groups}" if shape.groups > 1 else ""
        dram_bits = layer.dram_weight_bits + layer.dram_input_bits + layer.dram_output_bits
        table.add_row(
            escape(layer.name),
            layer.kind,
            f"{shape.m}x{shape.k}x{shape.n}{groups}" if product else f"{_amount(layer.vector_operations)} ops",
            f"{job.weight_bits}/{job.input_bits}" if product else f"{job.input_bits}",
            _amount(layer.macs) if product else "",
            str(layer.latency_cycles),
            layer.bound,
            f"{100 * layer.utilisation:.3g}" if product else "",
            _number(layer.energy_pj * 1e-6),
            str(layer.weight_bytes),
            _amount(dram_bits / 8),
        )
    return table


def _write_csv(layers: Sequence[LayerCost], path: Path) -> None:
    """Write every field of every layer, one column for each buffer's energy; OSError where it cannot be written."""
    rows = []
    for layer in layers:
        row = layer._asdict()
        row |= {f"{name}_buffer_pj": part for name, part in row.pop("buffers_pj").items()}
        rows.append(row)
    columns = list(rows[0])
    refuse_foreign({path: ",".join(columns[:3]).encode()})
    write_csv(path, columns, ([row[column] for column in columns] for row in rows))


def _amount(count: float) -> str:
    """Return a count with three digits and a factor: 12.5 M."""
    for factor, letter in FACTORS:
        if count >= factor:
            return f"{count / factor:.3g} {letter}"
    return f"{count:.0f}"


def _number(value: float) -> str:
    """Return four significant digits, never as a power of ten unless it is far from 1."""
    return f"{value:.4g}" if value < 1e4 else f"{value:.0f}"
