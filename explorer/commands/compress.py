"""The command that takes a study's network through a known pipeline, without a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import typer

from explorer.commands.options import StudyPath
from explorer.commands.progress import resumable
from explorer.commands.terminal import say
from explorer.errors import ExportError
from explorer.settings.rules import suggestion

if TYPE_CHECKING:
    from explorer.progress import Notify
    from explorer.study.study_file import Study


class Report(Protocol):
    """What a pipeline says when it is done."""

    def summary(self) -> str:
        """Return lines for the terminal."""
        ...


def _deep_compression(study: Study, to: Path, notify: Notify) -> Report:
    from explorer.export.deep_compression import deep_compress  # noqa: PLC0415  (imports torch)

    return deep_compress(study, to, notify)


def _integer(study: Study, to: Path, notify: Notify) -> Report:
    from explorer.export.deploy import deploy_uniform  # noqa: PLC0415  (imports torch)

    return deploy_uniform(study, to / "steps", to, notify, form="integer")


class Preset(NamedTuple):
    """A pipeline in a few words, and its function of a study, the folder to write to, and what shows progress."""

    summary: str
    run: Callable[[Study, Path, Notify], Report]


PRESETS: Mapping[str, Preset] = {
    "deep_compression": Preset("prune, share, code", _deep_compression),
    "integer": Preset("8 bits, integers only", _integer),
}
"""By name, the default first. A new one is a function and an entry here."""
LISTED = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())


def compress(
    study: StudyPath,
    to: Annotated[Path, typer.Option(help="Folder to write to; what is found there goes on.")],
    preset: Annotated[str, typer.Option(help=f"{LISTED}.")] = next(iter(PRESETS)),
) -> None:
    """Compress a study's network by a known pipeline; after Ctrl-C the same command goes on."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    if preset not in PRESETS:
        raise ExportError(f"--preset: there is no {preset!r}; {suggestion(preset, PRESETS)}")
    settings = load_study(study)
    say(f"study {settings.name}, {preset}, results in {to}")
    with resumable(f"all finished epochs are kept in {to}") as notify:
        notify("start", 0, 1)
        report = PRESETS[preset].run(settings, to, notify)
    say(report.summary())
