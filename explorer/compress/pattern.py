"""N:M patterns: of every m consecutive weights of a row at most n are not zero."""

from __future__ import annotations

from explorer.settings.values import parse_pattern


def group_count(pattern: str, size: int) -> int:
    """How many of `size` consecutive weights, at most m of them, an "n:m" pattern keeps: ceil(n * size / m).

    A row whose length m does not divide ends in a shorter group, which so keeps n/m of its weights, rounded up.
    """
    kept, of = parse_pattern(pattern)
    return -(-kept * size // of)


def pattern_count(pattern: str, rows: int, length: int) -> int:
    """How many weights an "n:m" pattern keeps of `rows` rows of `length` weights each."""
    kept, of = parse_pattern(pattern)
    return rows * (length // of * kept + group_count(pattern, length % of))


def pattern_density(pattern: str) -> float:
    """The share n/m that an "n:m" pattern keeps of rows whose length m divides."""
    kept, of = parse_pattern(pattern)
    return kept / of
