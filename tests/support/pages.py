"""What a report holds for its program, read back from the file."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any


def unpack_page(text: str) -> Any:
    """The data of a page that draws without Plotly."""
    found = re.search(r'<script type="application/gzip" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(gzip.decompress(b64decode(found.group(1))))


def read_page_data(path: Path) -> Any:
    """The data of a page in a file."""
    return unpack_page(path.read_text(encoding="utf-8"))
