"""Rules that several settings share."""

from __future__ import annotations

from explorer.rules import integer, many, number, or_none, text

FILE = text("a path", r"[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*")
BITS = many(integer(2, 8), distinct=True, ordered=True)
SHARES = many(number(above=0, highest=1), distinct=True, ordered=True)
CODEBOOKS = many(or_none(integer(2, 256)), distinct=True, ordered=True)
COUNT = integer(1)
POSITIVE = number(above=0)
