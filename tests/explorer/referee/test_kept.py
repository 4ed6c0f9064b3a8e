"""What was compiled is found again under equal conditions, for each device, whatever else the file holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.referee.comparison import Figures
from explorer.referee.kept import KEPT, CompiledMember, KeptMembers, read_compiled

DONE = CompiledMember(layers='{"jobs": [], "tensors": []}', vela=Figures(weight_bytes=1, sram_bytes=2, cycles=3))
REFUSED = CompiledMember(layers='{"jobs": [], "tensors": []}', vela=None, refused="no rule")
CONDITIONS = {"weights": "w", "explorer": "1"}


def test_members_are_found_again(tmp_path: Path) -> None:
    first = KeptMembers(tmp_path, "small", CONDITIONS)
    first.keep("a", DONE)
    first.keep("b", REFUSED)
    assert KeptMembers(tmp_path, "small", CONDITIONS).members == {"a": DONE, "b": REFUSED}
    assert [path.name for path in tmp_path.iterdir()] == [KEPT]


def test_each_device_has_its_own(tmp_path: Path) -> None:
    KeptMembers(tmp_path, "small", CONDITIONS).keep("a", DONE)
    large = KeptMembers(tmp_path, "large", CONDITIONS)
    assert large.members == {}
    large.keep("a", REFUSED)
    assert KeptMembers(tmp_path, "small", CONDITIONS).members == {"a": DONE}
    assert KeptMembers(tmp_path, "large", CONDITIONS).members == {"a": REFUSED}


def test_what_was_found_under_other_conditions_is_forgotten(tmp_path: Path) -> None:
    KeptMembers(tmp_path, "small", CONDITIONS).keep("a", DONE)
    assert KeptMembers(tmp_path, "small", {**CONDITIONS, "weights": "v"}).members == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"[1]",
        b"\xff\xfe",
        b'{"devices": 3}',
        b'{"devices": {"small": 3}}',
        b'{"devices": {"small": {"conditions": {"weights": "w", "explorer": "1"}, "members": {"a": {"vela": 1}}}}}',
        b'{"devices": {"small": {"conditions": {"weights": "w", "explorer": "1"}, "members": {"a": {"vela": null, '
        b'"refused": "", "layers": {"jobs": 5}}}}}}',
        b'{"devices": {"large": 3}}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_cannot_be_read_is_made_again(content: bytes, tmp_path: Path) -> None:
    (tmp_path / KEPT).write_bytes(content)
    kept = KeptMembers(tmp_path, "small", CONDITIONS)
    assert kept.members == {}
    kept.keep("a", DONE)
    assert KeptMembers(tmp_path, "small", CONDITIONS).members == {"a": DONE}


def test_without_a_folder_nothing_stays() -> None:
    kept = KeptMembers(None, "small", CONDITIONS)
    kept.keep("a", DONE)
    assert kept.members == {"a": DONE}


def test_a_report_reads_what_was_compiled_of_the_same_weights(tmp_path: Path) -> None:
    assert read_compiled(tmp_path, "w") == {}
    KeptMembers(tmp_path, "small", CONDITIONS).keep("a", DONE)
    KeptMembers(tmp_path, "large", {**CONDITIONS, "weights": "v"}).keep("a", REFUSED)
    assert read_compiled(tmp_path, "w") == {"small": {"a": DONE}}
    (tmp_path / KEPT).write_text("{")
    assert read_compiled(tmp_path, "w") == {}
