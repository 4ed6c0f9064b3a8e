"""What tensors of a TensorFlow Lite file are called, and which layer a name is of."""

from __future__ import annotations

import re
from collections.abc import Mapping

WEIGHT = ".weight"
"""How the name of a layer's weights ends, behind that of its sums."""


def find_layer(name: str, layer_of: Mapping[str, str]) -> str | None:
    """Return the layer of the longest known name that `name` is, or begins with; None where there is none."""
    ends = [match.start() for match in re.finditer(r"[^a-zA-Z0-9]", name)]
    for end in (len(name), *reversed(ends)):
        if name[:end] in layer_of:
            return layer_of[name[:end]]
    return None
