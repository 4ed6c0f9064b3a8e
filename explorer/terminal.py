"""What the commands print with: results to the standard output, errors beside it, one line each."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 110
"""Columns of a table that is not printed to a terminal."""

console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def say(line: str) -> None:
    """Print a line as it is: brackets in a path are no markup, and a long path is not broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())
