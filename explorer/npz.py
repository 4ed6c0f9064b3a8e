"""Reading .npz archives that anybody may have written: no pickle, and nothing is unfolded before its size is known."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import ExplorerError


def memory_limit(machine_bytes: int) -> int:
    """Return the bytes of arrays that a machine takes: a quarter of its memory, as there are copies, at least 4 GiB."""
    return max(4 * 2**30, machine_bytes // 4)


def _machine_bytes() -> int:
    """Return the memory of this machine; 0 where it cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 0


MEMORY_LIMIT = memory_limit(_machine_bytes())
"""Bytes of all arrays that are read, at no less than four a number, since images become float32."""


class ArchiveError(ExplorerError):
    """An archive cannot be read; the text says why, but not which it is."""


def read_npz(path: Path, wanted: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file with these keys, or all.

    Each must have the bytes that its header states, and all together at most MEMORY_LIMIT.

    Raises:
        ArchiveError: For anything else than arrays of numbers or text.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ArchiveError("not a .npz archive; write it with numpy.savez or numpy.savez_compressed")
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            missing = [key for key in wanted if key not in entries]
            if missing:
                held = ", ".join(sorted(entries)) or "nothing"
                raise ArchiveError(f"{', '.join(missing)} missing; the file holds {held}; rename its arrays")
            chosen = {key: entries[key] for key in wanted or entries}
            size = sum(_size(archive, key, entry) for key, entry in chosen.items())
            if size > MEMORY_LIMIT:
                raise ArchiveError(
                    f"its arrays take {size / 2**30:,.1f} GiB, expected at most {MEMORY_LIMIT / 2**30:,.1f} on this "
                    "machine; take fewer or smaller images"
                )
            return {key: _read(archive, entry) for key, entry in chosen.items()}
    except ArchiveError:
        raise
    except Exception as error:  # what is damaged makes zipfile, its decoders and numpy raise errors of any kind
        reason = f"{type(error).__name__}: {str(error)[:100]}"
        raise ArchiveError(f"the archive is damaged ({reason}); fetch or write it again") from None


def _size(archive: zipfile.ZipFile, key: str, entry: zipfile.ZipInfo) -> int:
    """Return bytes that an array will take, from its header alone."""
    with archive.open(entry) as file:
        shape, dtype = _header(file, key)
        left = entry.file_size - file.tell()
    if dtype.hasobject:
        raise ArchiveError(
            f"{key} holds pickled Python objects, which could run code; save it as an array of numbers of one shape"
        )
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize != left:
        raise ArchiveError(f"{key} states a shape that its {left} bytes do not have; fetch or write the file again")
    return count * max(4, dtype.itemsize)


def _header(file: IO[bytes], key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = reader(file)
    except (ValueError, KeyError):
        raise ArchiveError(f"{key} is no array of numbers; write the file with numpy.savez") from None
    return shape, dtype


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
