"""Memory of a whole process: what tensors have freed is kept for the next ones, and what is imported stays."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
LARGEST_KEPT = 2**30, 2**25
"""Bytes from which an allocation is a mapping of its own, which goes back to the kernel when it is freed: as wished
(assumed), and the most that glibc took before 2.35 (HEAP_MAX_SIZE / 2 in its arena.c)."""
LARGEST_FREE = 2**31 - 1
"""Bytes free at the end of the heap from which they go back to the kernel: the largest that mallopt's int can say."""


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory, for the whole process from then on; return whether it does.

    By itself it gives that of every large tensor back to the kernel, which has to zero it for the next one. Elsewhere
    (musl, macOS, Windows) nothing happens, nor where the environment has settings of its own (`MALLOC_...`, or
    `GLIBC_TUNABLES` of malloc). Results stay the same.
    """
    own = any(name.startswith("MALLOC_") for name in os.environ)
    if own or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no library, or none without a name (Windows)
        return False
    for size in LARGEST_KEPT:
        if mallopt(M_MMAP_THRESHOLD, size) == 1:
            return bool(mallopt(M_TRIM_THRESHOLD, LARGEST_FREE) == 1)
    return False  # the other threshold alone would end glibc's own adaptation of the first


@contextmanager
def keep_imports() -> Iterator[None]:
    """Leave what is imported within it, torch before all, out of every collection of garbage from then on: it stays.

    Nothing happens where torch is imported already: what else there is may be garbage by then.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
