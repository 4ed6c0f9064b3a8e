"""Rules that several settings share."""

from __future__ import annotations

from typing import Any

from explorer.settings.pattern import LONGEST_PATTERN, parse_pattern
from explorer.settings.rules import Rule, integer, many, number, or_none, refused, text

FILE = text("a path", r"[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*")
FUNCTION = text('"module:callable"', r"[\w.]+:[A-Za-z_]\w*")
MINIMUM_BITS, MAXIMUM_BITS = 2, 8
WIDTH = integer(MINIMUM_BITS, MAXIMUM_BITS)
WEIGHT_WIDTH = integer(1, MAXIMUM_BITS)
BITS = many(WIDTH, distinct=True, ordered=True)
WEIGHT_BITS = many(WEIGHT_WIDTH, distinct=True, ordered=True)
SHARE = number(0, 1, above=True)
SHARES = many(SHARE, distinct=True, ordered=True)
CODEBOOK = or_none(integer(2, 256))
CODEBOOKS = many(CODEBOOK, distinct=True, ordered=True)
STEP = or_none(number(0, 1e12, above=True))
"""Of a layer's weights, in units of their relevance: any, since criteria differ in their unit."""
STEPS = many(STEP, distinct=True, ordered=True)
OFFSET = number(-16, 16)
OFFSETS = many(OFFSET, distinct=True, ordered=True)
BLOCKS = many(text("the name of a block"), distinct=True)
BLOCK_COUNT = integer(0, 10_000)
BLOCK_COUNTS = many(BLOCK_COUNT, distinct=True, ordered=True)
COUNT = integer(1, 2**31 - 1)
"""Of images, epochs or bytes: what an index of 32 bits reaches."""
LEARNING_RATE = number(1e-12, 100)
"""What changes float32 weights at all, to far more than any network stands."""
WEIGHT_DECAY = number(0, 100)


def _pattern() -> Rule:
    expected = f'a pattern "n:m" with 1 <= n < m <= {LONGEST_PATTERN}, such as "2:4"'

    def read(value: Any, where: str) -> str:
        try:
            parse_pattern(value)
        except ValueError:
            raise refused(where, expected, value) from None
        return str(value)

    return Rule(expected, read, schema=lambda: {"type": "string", "pattern": "^[1-9][0-9]?:[1-9][0-9]?$"})


PATTERN = or_none(_pattern())
PATTERNS = many(PATTERN, distinct=True)
