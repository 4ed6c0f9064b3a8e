"""How long work says how far it is: a function that whoever starts it hands down."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (how much is done, of how much)."""

Notify = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, of how much)."""


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing: the `Notify` of a caller who does not ask."""
