"""Digests of parts, as hashlib gives them for their bytes."""

import hashlib

import numpy as np
import pytest

from explorer.digests import digest


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ((), b""),
        (("abc",), b"abc"),
        (("a", b"\x00\xff", "\u00b5"), b"a\x00\xff\xc2\xb5"),
        ((np.array([[1, 2], [3, 4]], dtype=np.uint8),), b"\x01\x02\x03\x04"),
        ((np.array([[1, 2], [3, 4]], dtype=np.uint8).T, "x"), b"\x01\x03\x02\x04x"),
    ],
)
def test_a_digest_is_of_the_bytes_of_all_parts(parts: tuple[str | bytes, ...], content: bytes) -> None:
    assert digest(*parts) == hashlib.sha256(content).hexdigest()[:16]
