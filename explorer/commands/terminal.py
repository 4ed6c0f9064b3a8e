"""What the commands print with: results to the standard output, errors beside it, one line each."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.segment import Segment

from explorer.files import without_controls

PIPE_WIDTH = 110
"""Columns of a table that is not printed to a terminal."""
PLAIN = {"µ": "u", "\u00d7": "x", "·": ".", "\u2013": "-", "—": "-", "…": "."}
"""What is printed instead where the output cannot show a symbol; as wide, so that tables stay aligned."""


class _Printable(RenderHook):
    """Lets nothing reach the terminal that it would obey or cannot show: control characters, symbols beyond ASCII."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Cleaned(renderable) for renderable in renderables]


class _Cleaned:
    """A renderable whose text can be printed as it is; what rich itself has to say to a terminal stays."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._renderable, options):
            text = segment.text if segment.control else printable(segment.text, console.encoding)
            yield Segment(text, segment.style, segment.control)


def printable(text: str, encoding: str) -> str:
    """Return a text that an output of that encoding can print and that gives a terminal no commands."""
    text = without_controls(text)
    if _can_show(text, encoding):
        return text
    text = text if _can_show("±", encoding) else text.replace(" ±", "+-")
    return "".join(sign if _can_show(sign, encoding) else PLAIN.get(sign, "?") for sign in text)


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _opened(console: Console) -> Console:
    console.push_render_hook(_Printable())
    return console


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


console = _opened(Console(width=None if _is_terminal() else PIPE_WIDTH))
errors = _opened(Console(stderr=True, soft_wrap=True, highlight=False, markup=False))


def prepare_streams() -> None:
    """Make sure that printing never fails, and that no file of ours is opened in the place of a closed output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what others print, such as the help


def say(line: str) -> None:
    """Print a line as it is: brackets in a path are no markup, and a long path is not broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_beside(ours: int, vela: int | None) -> tuple[str, str, str]:
    """Return two figures and the ratio of the first to the second; nothing where both have nothing."""
    if not ours and not vela:
        return "", "", ""
    return f"{ours:,}", "" if vela is None else f"{vela:,}", f"{ours / vela:.2f}" if vela else ""


def from_here(path: Path) -> Path:
    """Return the path as one would type it in the working folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def command(*arguments: object) -> str:
    """Return a command line of this program that can be run as it is printed, from the working folder."""
    started = Path(sys.argv[0])
    program = ["explorer"]
    if not shutil.which("explorer"):  # not on the PATH
        if started.name == "explorer":
            program = [str(from_here(started.absolute()))]
        elif started.name == "__main__.py":
            program = ["python", "-m", "explorer"]
    return shlex.join([*program, *map(_argument, arguments)])


def _argument(value: object) -> str:
    """Return a value as an argument; a path that begins with a dash is no option."""
    return f"./{value}" if isinstance(value, Path) and str(value).startswith("-") else str(value)
