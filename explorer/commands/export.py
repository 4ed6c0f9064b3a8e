"""The command that writes a point of a finished run's front for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.options import RunFolder, choosing
from explorer.commands.progress import ProgressDisplay
from explorer.commands.terminal import console, say
from explorer.export.formats import DEFAULT_FORMAT, FORMATS, INPUT_TYPES, OUTPUT_TYPES, FileTypes
from explorer.study.requirements import Requirements

LISTED = "; ".join(f"{name}: {exporter.summary}" for name, exporter in FORMATS.items())


@choosing
def export(
    folder: RunFolder,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    wanted: Requirements,
    tuned: Annotated[bool, typer.Option("--tuned", help="What explorer finetune made of a point.")] = False,
    form: Annotated[str, typer.Option("--format", help=f"{LISTED}.")] = DEFAULT_FORMAT,
    inputs: Annotated[str, typer.Option(help=f"What a tflite file reads: {' or '.join(INPUT_TYPES)}.")] = "int8",
    outputs: Annotated[str, typer.Option(help=f"What a tflite file gives: {' or '.join(OUTPUT_TYPES)}.")] = "int8",
    int4: Annotated[bool, typer.Option("--int4", help="Pack weights of up to 4 bits in a tflite file.")] = False,
) -> None:
    """Write a network of the front for use elsewhere, by default as an ONNX QDQ file, and check its predictions.

    Without options it is the recommended one: the cheapest within one point of the float network.
    """
    from explorer.study.choose import choose  # noqa: PLC0415
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    types = FileTypes(inputs=inputs, outputs=outputs, pack_int4=int4)
    outcome = read_outcome(folder)
    chosen = choose(outcome, wanted, tuned=tuned or None)
    say(f"chosen: {chosen.describe()}")
    with ProgressDisplay(console) as notify:
        from explorer.export.deploy import deploy  # noqa: PLC0415  (imports torch)

        exported = deploy(
            outcome, chosen.point, folder, to, notify, tuned=tuned or chosen.tuned, form=form, types=types
        )
    say(exported.summary())
