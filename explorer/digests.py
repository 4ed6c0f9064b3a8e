"""Digests of what a result depends on, by which it is found again or refused."""

from __future__ import annotations

import hashlib
from typing import Any

from numpy.typing import NDArray

DIGITS = 16


Part = str | bytes | NDArray[Any]


def digest(*parts: Part) -> str:
    """Return the first 16 hexadecimal digits of `sha256`: enough to tell what one run meets apart."""
    return sha256(*parts)[:DIGITS]


def sha256(*parts: Part) -> str:
    """Return SHA-256, 64 hexadecimal digits, over the parts one after another, with nothing between them.

    Texts count in UTF-8, arrays by their values row by row.
    """
    state = hashlib.sha256()
    for part in parts:
        state.update(part.encode() if isinstance(part, str) else part if isinstance(part, bytes) else part.tobytes())
    return state.hexdigest()
