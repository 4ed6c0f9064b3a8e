"""The command that writes a point of a finished run's front for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.options import Pick, RunFolder
from explorer.commands.progress import ProgressDisplay
from explorer.commands.terminal import console, say
from explorer.export.formats import DEFAULT_FORMAT, FORMATS, NUMBER_TYPES, FileTypes

LISTED = "; ".join(f"{name}: {exporter.summary}" for name, exporter in FORMATS.items())
TYPES = " or ".join(NUMBER_TYPES)


def export(
    folder: RunFolder,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    pick: Pick = "knee",
    tuned: Annotated[bool, typer.Option("--tuned", help="What explorer finetune made of the point.")] = False,
    form: Annotated[str, typer.Option("--format", help=f"{LISTED}.")] = DEFAULT_FORMAT,
    inputs: Annotated[str, typer.Option(help=f"What a tflite file reads: {TYPES}.")] = "int8",
    outputs: Annotated[str, typer.Option(help=f"What a tflite file gives: {TYPES}.")] = "int8",
    int4: Annotated[bool, typer.Option("--int4", help="Pack weights of up to 4 bits in a tflite file.")] = False,
) -> None:
    """Write a point of the front for use elsewhere, by default as an ONNX QDQ file, and check its predictions."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415
    from explorer.study.front import pick as pick_point  # noqa: PLC0415

    types = FileTypes(inputs=inputs, outputs=outputs, pack_int4=int4)
    outcome = read_outcome(folder)
    point = pick_point(outcome.front, outcome.objectives, pick)
    with ProgressDisplay(console) as notify:
        from explorer.export.deploy import deploy  # noqa: PLC0415  (imports torch)

        exported = deploy(outcome, point, folder, to, notify, tuned=tuned, form=form, types=types)
    say(exported.summary())
