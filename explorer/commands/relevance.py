"""The command that computes, stores and shows what matters in a study's network, without a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from explorer.commands.options import StudyPath, checking_command_line, whole_number
from explorer.commands.progress import resumable
from explorer.commands.terminal import console, say
from explorer.errors import ExportError
from explorer.files import PAGE_MARK, refuse_foreign

if TYPE_CHECKING:
    from explorer.study.explain import Explained
    from explorer.study.study_file import Study

IMAGES = 4
"""Images whose pixels are shown, unless told otherwise (assumed: what fits on a page)."""


class FilterArgument(NamedTuple):
    """A filter by its layer and its index there."""

    layer: str
    number: int


def _filter(text: str) -> FilterArgument:
    """Return a filter from conv1:3."""
    layer, _, index = text.strip().rpartition(":")
    if not layer or not index.isdecimal():
        raise typer.BadParameter(f"expected LAYER:INDEX, such as conv1:3, received {text!r}")
    return FilterArgument(layer, int(index))


def relevance(  # noqa: PLR0913, PLR0917 - typer makes an option of each argument
    study: StudyPath,
    method: Annotated[str | None, typer.Option(help="The criterion, instead of relevance.method of the study.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where trained weights and relevance are kept; by default that of the study.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="File to store to (.npz); by default relevance_METHOD.npz in the folder.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="HTML file of the heat maps; by default beside it.")
    ] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="File for the score of every filter.")] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--images", parser=whole_number(1), metavar="INTEGER", help="Images to show the pixels of; by default 4."
        ),
    ] = None,
    images: Annotated[
        list[int] | None,
        typer.Option(
            "--image", parser=whole_number(0), metavar="INDEX", help="Such an image, by its place in the sample."
        ),
    ] = None,
    filters: Annotated[
        list[FilterArgument] | None,
        typer.Option("--filter", parser=_filter, metavar="LAYER:INDEX", help="A filter to show the pixels of."),
    ] = None,
    of_class: Annotated[
        int | None,
        typer.Option(
            "--class",
            parser=whole_number(0),
            metavar="INTEGER",
            help="Scores, and without --image pixels, of images explained as this class.",
        ),
    ] = None,
) -> None:
    """Say which filters matter, and which pixels make them; weights that were trained are kept and found again."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    if count is not None and images:
        raise typer.BadParameter("--images says how many, --image which: give one of them")
    settings = _with_method(load_study(study), method)
    kept = folder or settings.results_folder()
    name = f"relevance_{settings.relevance.method}" + ("" if of_class is None else f"_class_{of_class}")
    stored = to or kept / f"{name}.npz"
    files = {"--to": stored, "--html": page or stored.with_suffix(".html"), "--csv": table}
    _refuse_unwritable(files, kept)
    marks = {"--to": b"description.npy", "--html": PAGE_MARK, "--csv": b"layer,filter,group,"}
    refuse_foreign({path: marks[option] for option, path in files.items() if path is not None})
    wanted: dict[str, Any] = {
        "images": tuple(images or ()),
        "filters": tuple(filters or ()),
        "of_class": of_class,
        "count": count or IMAGES,
    }
    say(f"study {settings.name}, relevance by {settings.relevance.method}, kept in {kept}")
    with resumable(f"what was finished is kept in {kept}") as notify:
        notify("start", 0, 1)
        from explorer.study.explain import Wanted, explain  # noqa: PLC0415  (torch takes seconds to import)

        notify("start", 1, 1)
        explained = explain(settings, Wanted(**wanted), kept, notify)
    _write(explained, files)


def _with_method(study: Study, method: str | None) -> Study:
    """Return the study with the command line's criterion put in."""
    if method is None:
        return study
    with checking_command_line():
        return replace(study, relevance=replace(study.relevance, method=method))


def _refuse_unwritable(files: Mapping[str, Path | None], kept: Path) -> None:
    """Raise ExportError where a file has no folder to be in, or is asked for twice; `kept` will be made."""
    named = [path.absolute() for path in files.values() if path is not None]
    if len(set(named)) < len(named):
        raise ExportError(f"{', '.join(files)}: each needs a file of its own, received {', '.join(map(str, named))}")
    for option, path in files.items():
        if path is None:
            continue
        if path.is_dir():
            raise ExportError(f"{option}: {path} is a folder; name a file in it")
        if path.parent != kept and not path.parent.is_dir():
            raise ExportError(f"{option}: {path.parent} is no folder; make it, or name another file")


def _write(explained: Explained, files: Mapping[str, Path | None]) -> None:
    """Print the table, and write what is to be written."""
    from explorer.report.relevance.page import write_relevance_page  # noqa: PLC0415  (imports plotly)
    from explorer.report.relevance.tables import build_layer_table, write_filters_csv  # noqa: PLC0415
    from explorer.report.relevance.views import build_relevance_view  # noqa: PLC0415

    view = build_relevance_view(explained)
    console.print(build_layer_table(view))
    say(", ".join(f"{key} {value}" for key, value in view.facts))
    for note in view.notes:
        say(f"note: {note}")
    stored, page, table = (files[option] for option in ("--to", "--html", "--csv"))
    if stored is not None:
        explained.relevance.save(stored)
        say(f"stored: {stored}")
    if table is not None:
        write_filters_csv(view, table)
        say(f"table:  {table}")
    if page is not None:
        write_relevance_page(view, page)
        say(f"page:   {page}")
