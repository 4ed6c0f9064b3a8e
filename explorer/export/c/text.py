"""Names, comments and numbers as text of C, whatever a layer is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from explorer.graph.names import Names
from explorer.integer.program import Integers

PER_LINE = 16
LONGEST_NAME = 40
"""Characters that are kept of a name: compilers need to tell apart 63 alone (C99, 5.2.4.1)."""
LEAST_INT32 = -(2**31)


class Identifiers(Names):
    """Identifiers of one file: what is asked for in letters, digits and underscores, and which no other one is."""

    def make(self, wanted: str, kind: str) -> str:
        """Return an identifier that ends in `_kind`, so that it is no word of C or of its library."""
        letters = re.sub(r"[^A-Za-z0-9]+", "_", wanted)[:LONGEST_NAME].strip("_")
        return self.free(f"{letters if letters[:1].isalpha() else f'x{letters}'}_{kind}")


def make_comment(text: str) -> str:
    """Return a comment of one line, in which nothing can end it."""
    plain = re.sub(r"[^A-Za-z0-9 _.,:;=()<>+-]", "_", text)
    return f"/* {plain} */"


def make_number(value: float) -> str:
    """Return a float as a constant of C that reads as the same float32."""
    return f"{np.format_float_scientific(np.float32(value))}f"


def make_integers(values: Sequence[int]) -> str:
    """Return integers with commas between, so many in each line."""
    written = ["(-2147483647 - 1)" if value == LEAST_INT32 else str(value) for value in values]
    rows = (written[start : start + PER_LINE] for start in range(0, len(written), PER_LINE))
    return ",\n".join(f"    {', '.join(row)}" for row in rows)


def make_array(name: str, values: Integers) -> str:
    """Return the definition of a constant array of the values' type."""
    kind = f"{values.dtype}_t"
    return f"static const {kind} {name}[{values.size}] = {{\n{make_integers(values.reshape(-1).tolist())}\n}};\n"


def make_record(kind: str, name: str, fields: Mapping[str, object]) -> str:
    """Return the definition of a constant structure; fields that are 0 are left out, dicts are structures in it."""
    return f"static const {kind} {name} = {{\n{_make_fields(fields, 1)}}};\n"


def _make_fields(fields: Mapping[str, object], depth: int) -> str:
    lines = []
    for key, value in fields.items():
        if value in (0, "NULL"):
            continue
        indent = "    " * depth
        text = f"{{\n{_make_fields(value, depth + 1)}{indent}}}" if isinstance(value, Mapping) else str(value)
        lines.append(f"{indent}.{key} = {text},\n")
    return "".join(lines)
