"""N:M patterns, of every m consecutive weights of a row at most n: how they are written, and how many they keep."""

from __future__ import annotations

import re

from explorer.settings.rules import shown

LONGEST_PATTERN = 32
"""Largest m of an n:m pattern (assumed)."""


def parse_pattern(pattern: object) -> tuple[int, int]:
    """Return (n, m) of an "n:m" pattern with 1 <= n < m <= 32.

    Raises:
        ValueError: For anything else.
    """
    found = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", pattern) if isinstance(pattern, str) else None
    if found is None or not int(found[1]) < int(found[2]) <= LONGEST_PATTERN:
        raise ValueError(f'expected a pattern "n:m" with 1 <= n < m <= {LONGEST_PATTERN}, received {shown(pattern)}')
    return int(found[1]), int(found[2])


def group_count(pattern: str, size: int) -> int:
    """Return how many of `size` consecutive weights, at most m of them, an "n:m" pattern keeps: ceil(n * size / m).

    A row whose length m does not divide ends in a shorter group, which so keeps n/m of its weights, rounded up.
    """
    kept, of = parse_pattern(pattern)
    return -(-kept * size // of)


def pattern_count(pattern: str, rows: int, length: int) -> int:
    """Return how many weights an "n:m" pattern keeps of `rows` rows of `length` weights each."""
    kept, of = parse_pattern(pattern)
    return rows * (length // of * kept + group_count(pattern, length % of))


def pattern_density(pattern: str) -> float:
    """Return the share n/m that an "n:m" pattern keeps of rows whose length m divides."""
    kept, of = parse_pattern(pattern)
    return kept / of
