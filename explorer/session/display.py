"""What notebooks show of values: tables of escaped text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def paragraph(text: str) -> str:
    """Return lines of text as HTML."""
    return f"<p>{html.escape(text).replace(chr(10), '<br>')}</p>"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as HTML; numbers stand right."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        return f'<td style="text-align: right">{text}</td>'
    return f'<td style="text-align: left">{html.escape("" if value is None else str(value))}</td>'
