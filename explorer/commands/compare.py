"""The command that compares criteria of relevance on a study's network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.progress import resumable
from explorer.commands.terminal import console, say
from explorer.errors import SearchError
from explorer.files import PAGE_MARK, refuse_foreign

PAGE = "comparison.html"


def _marks(to: Path) -> dict[Path, bytes | None]:
    """Return the tables and plots that are written to a folder, and what is in their first bytes."""
    from explorer.report.theme import FONT  # noqa: PLC0415

    drawn = [path for ending in ("by_*", "differences") for path in to.glob(f"*_{ending}.svg")]
    tables = {"points.csv": b"criterion,scope,state,", "differences.csv": b"focus,criterion,scope,"}
    return {
        **{to / name: header for name, header in tables.items()},
        **dict.fromkeys(drawn, f'font-family="{FONT}"'.encode()),
    }


def compare(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A study.toml, or its folder; it says what to compare.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run, output.folder by default; one found there goes on.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder for tables (CSV) and plots (SVG) instead of --out.")
    ] = None,
) -> None:
    """Compare criteria of relevance on a study's network; after Ctrl-C the same command goes on."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    settings = load_study(study)
    folder = out or settings.results_folder()
    say(f"study {settings.name}, comparison of criteria ({settings.comparison.case}), in {folder}")
    if results is not None and results.exists() and not results.is_dir():
        raise SearchError(f"{results}: is not a folder; choose another one for --results")
    refuse_foreign({folder / PAGE: PAGE_MARK, **_marks(results or folder)})
    with resumable(f"all scored networks are kept in {folder}") as notify:
        notify("start", 0, 1)
        from explorer.comparison.run import compare as compare_criteria  # noqa: PLC0415  (imports torch)

        notify("start", 1, 1)
        comparison = compare_criteria(settings, folder, notify)
    from explorer.report.comparison.page import write_comparison_page  # noqa: PLC0415
    from explorer.report.comparison.svg import write_charts  # noqa: PLC0415
    from explorer.report.comparison.tables import build_verdict_table, write_tables  # noqa: PLC0415
    from explorer.report.comparison.views import build_comparison_view  # noqa: PLC0415

    view, to = build_comparison_view(comparison), results or folder
    to.mkdir(parents=True, exist_ok=True)
    written = (*write_tables(view, to), *write_charts(view, to))
    write_comparison_page(view, folder / PAGE)
    console.print(build_verdict_table(view))
    for name, reason in comparison.skipped:
        say(f"skipped: {name}: {reason}")
    say(f"page:   {folder / PAGE}")
    say(f"tables and plots in {to}: {', '.join(path.name for path in written)}")
