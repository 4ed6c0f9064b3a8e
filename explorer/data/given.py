"""Images that were given in Python, and are nowhere to be read from."""

from __future__ import annotations

from pathlib import Path

from explorer.data.images import ReadSets
from explorer.errors import DataError
from explorer.settings import DataSettings


def refuse_given(settings: DataSettings, folder: str | Path, input_shape: tuple[int, int, int] | None) -> ReadSets:
    """Raise DataError: whoever gave the images has to give them again."""
    raise DataError(
        'data.source: "given" are images that were given in Python, not by a study file; open them there again, and '
        "load the run with explorer.load(folder, net)"
    )
