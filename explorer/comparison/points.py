"""Points of a comparison: one network compressed as a criterion says, scored image by image, kept line by line."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.errors import SearchError
from explorer.study.folder import refuse_changes

POINTS = "points.jsonl"
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonCell:
    """Where a point stands among all that a comparison asks for."""

    criterion: str
    scope: str
    level: float
    state: str
    seed: int


FLOAT = ComparisonCell(criterion="float", scope="layer", level=0.0, state="uncorrected", seed=0)
"""The network as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a compressed network takes.

    `parameters` counts what is left and not zero, biases and norms included; `weight_bytes` the weights of layers
    alone, in their smallest format where single ones are zero, with the tables of shared ones; `coded_bytes` the same
    with Huffman codes, None where nothing is shared; `macs` multiply-accumulates of an image with weights not zero.
    """

    parameters: int
    weight_bytes: int
    coded_bytes: int | None
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCell:
    """A scored network: what was chosen (a digest), what it takes, and which images it has right.

    `right` is a bit for each of `num_images` search images, packed and in base 64.
    """

    cell: ComparisonCell
    selection: str
    size: Size
    num_images: int
    right: str

    def right_images(self) -> Bools:
        """Return which images are right, in their order (images)."""
        packed = np.frombuffer(base64.b64decode(self.right), dtype=np.uint8)
        return np.unpackbits(packed, count=self.num_images).astype(np.bool_)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, from which `from_json` rebuilds an equal point."""
        data = asdict(self)
        return {"place": data.pop("cell"), **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScoredCell:
        """Rebuild a point.

        Raises:
            KeyError, TypeError, ValueError: For anything else.
        """
        given = dict(data)
        cell, size = ComparisonCell(**given.pop("place")), Size(**given.pop("size"))
        point = cls(cell=cell, size=size, **given)
        point.right_images()
        return point


def pack(right: Bools) -> str:
    """Return which images are right (images), as a point keeps it."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def open_points(folder: Path, identity: Mapping[str, str]) -> dict[ComparisonCell, ScoredCell]:
    """Return the points that the folder holds, and its file ready for more; a torn last line is dropped.

    Raises:
        SearchError: Where they were scored under another `identity`, or the file holds something else.
    """
    path = folder / POINTS
    text, whole = _lines(path)
    if not whole:
        _write(path, json.dumps({"identity": dict(identity)}), "wb")
        return {}
    if len(whole) < len(text):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    known, points = _parsed(path, whole)
    refuse_changes(folder, known, identity)
    return {point.cell: point for point in points}


def read_identity(folder: Path) -> dict[str, str] | None:
    """Return what the points in the folder were scored under, None where there are none.

    Raises:
        SearchError: For anything else.
    """
    _, whole = _lines(folder / POINTS)
    return _parsed(folder / POINTS, whole)[0] if whole else None


def _lines(path: Path) -> tuple[bytes, bytes]:
    """Return all that the file holds, and of that the whole lines."""
    text = path.read_bytes() if path.is_file() else b""
    return text, text[: text.rfind(b"\n") + 1]


def _parsed(path: Path, whole: bytes) -> tuple[dict[str, str], list[ScoredCell]]:
    try:
        first, *lines = (json.loads(line) for line in whole.splitlines())
        return dict(first["identity"]), [ScoredCell.from_json(line) for line in lines]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise SearchError(f"{path}: not the points of a comparison ({error}); delete it to score them again") from error


def append_point(folder: Path, point: ScoredCell) -> None:
    """Keep a point: a whole line that survives the end of this process."""
    _write(folder / POINTS, json.dumps(point.to_json()), "ab")


def _write(path: Path, line: str, mode: str) -> None:
    with path.open(mode) as file:
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
