"""Archives of arrays: what is damaged or forged is refused, and its size is known before anything is unfolded."""

import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer import npz
from explorer.npz import ArchiveError, read_npz

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def npy(header: str, content: bytes, version: int = 1) -> bytes:
    """An array's file with any header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + content


def archive(folder: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    file = folder / "a.npz"
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("a.npy", content)
    return file


@pytest.mark.parametrize("method", METHODS)
def test_arrays_are_read_whatever_packs_them(tmp_path: Path, method: int) -> None:
    header = "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3)}"
    found = read_npz(archive(tmp_path, npy(header, bytes(range(12))), method))
    np.testing.assert_array_equal(found["a"], np.frombuffer(bytes(range(12)), "<i2").reshape(3, 2).T)


@pytest.mark.parametrize("shape", ["(9,)", "(2**40,)", "(10**20,)", "(-1,)", "(-4, -2)", "(0,)", "(True, 7)", "()"])
def test_a_forged_shape_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    with pytest.raises(ArchiveError, match=r"a states a shape that its 8 bytes do not have|a is no array of numbers"):
        read_npz(archive(tmp_path, npy(header, bytes(8))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npy("{'descr': '|u1'", b""),
        npy("[" * 500, b""),
        npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (8,)}", bytes(8)),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (8,)}", bytes(8), version=3),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (8,)}", bytes(8), version=9),
        npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({'8, ' * 9000})}}", bytes(8)),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"a is no array of numbers|the archive is damaged \(TokenError"):
        read_npz(archive(tmp_path, content))


def test_sizes_are_known_before_anything_is_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.npz"
    np.savez_compressed(file, a=np.zeros(600, np.uint8), b=np.zeros(500, np.uint8))
    monkeypatch.setattr(npz, "MEMORY_LIMIT", 4 * 1100)
    assert read_npz(file).keys() == {"a", "b"}
    monkeypatch.setattr(npz, "MEMORY_LIMIT", 4 * 1100 - 1)
    monkeypatch.setattr(npz, "_read", None)
    with pytest.raises(ArchiveError, match=r"its arrays take .* GiB, expected at most"):
        read_npz(file)


def test_arrays_may_take_a_quarter_of_the_memory() -> None:
    assert [npz.memory_limit(size * 2**30) for size in (0, 8, 16, 64)] == [4 * 2**30, 4 * 2**30, 4 * 2**30, 16 * 2**30]
    assert npz.memory_limit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) == npz.MEMORY_LIMIT


@pytest.mark.parametrize("method", METHODS)
def test_damage_anywhere_is_refused_or_does_not_matter(tmp_path: Path, method: int) -> None:
    values = np.arange(40, dtype=np.float32)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (40,)}"
    content = archive(tmp_path, npy(header, values.tobytes()), method).read_bytes()
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x41
        (tmp_path / "a.npz").write_bytes(changed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found: dict[str, Any] = read_npz(tmp_path / "a.npz", ("a",))
        except ArchiveError:
            refused += 1
            continue
        np.testing.assert_array_equal(found["a"], values)
    assert refused > len(content) / 2


def test_a_wrong_checksum_of_deflated_data_is_refused(tmp_path: Path) -> None:
    packed = zlib.compressobj(wbits=-15)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
        made.writestr("a.npy", packed.compress(b"x" * 100) + packed.flush())
        made.infolist()[0].compress_type = zipfile.ZIP_DEFLATED
    with pytest.raises(ArchiveError):
        read_npz(tmp_path / "a.npz")
