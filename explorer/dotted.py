"""What a dotted path names, imported when it is first needed: a table of names imports none of its entries."""

from __future__ import annotations

import importlib
from typing import Any


def resolve(path: str) -> Any:
    """Return what "package.module:name" stands for."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
