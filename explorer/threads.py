"""How many CPU threads torch uses: small work is done sooner by one than by several that wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_threaded(small: bool) -> Iterator[None]:
    """Let torch, within it, use one CPU thread if the work is `small`, else as many as before."""
    before = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
