"""Every reader, on a few damaged files of each kind; python -m tests.fuzz does it on thousands."""

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

from explorer.errors import StudyFileError
from tests.fuzz.mutations import damage_archive, damage_bytes, damage_packed
from tests.fuzz.parsers import BINARY, TEXT, finished_run, parsers
from tests.fuzz.run import Counts, Parser, damaged, fuzz

pytestmark = pytest.mark.slow
Makers = Mapping[str, Callable[[], Parser]]


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Makers:
    home = tmp_path_factory.mktemp("fuzz")
    finished_run(home)
    return parsers(home)


@pytest.mark.parametrize("name", [*TEXT, *BINARY])
def test_damaged_files_are_read_or_refused_in_short_lines(name: str, makers: Makers) -> None:
    parser = makers[name]()
    counts = fuzz(parser, 30, seed=1)
    assert counts.faults == {}
    assert sum(counts.verdicts.values()) == 30
    assert counts.verdicts["accepted"] >= len(parser.sound)


def reader(read: Callable[[bytes, Path], object]) -> Parser:
    return Parser(name="reader", sound=[bytes(40)], mutations=(damage_bytes,), read=read)


def verdicts(read: Callable[[bytes, Path], object]) -> Counts:
    return fuzz(reader(read), 3, seed=0)


def fails(content: bytes, folder: Path) -> None:
    raise KeyError("x")


def refuses(content: bytes, folder: Path) -> None:
    raise StudyFileError(("one", "another\nin two lines"))


def dies(content: bytes, folder: Path) -> None:
    os.abort()


def writes(content: bytes, folder: Path) -> None:
    (folder / "inside").write_bytes(content)
    outside = folder.parents[1] / f"outside-{os.getpid()}"
    outside.write_bytes(content)
    outside.unlink()


def test_each_kind_of_fault_is_seen() -> None:
    assert verdicts(lambda content, folder: None).verdicts == {"accepted": 3}
    assert verdicts(refuses).verdicts == {"refused": 3}
    for read, verdict in ((fails, "traceback"), (dies, "died"), (writes, "outside")):
        counts = verdicts(read)
        assert counts.verdicts == {verdict: 3}, read.__name__
        assert not counts.is_sound


def test_the_same_seed_gives_the_same_inputs(makers: Makers) -> None:
    for make in makers.values():
        parser = make()
        inputs = [damaged(parser, 7, index) for index in range(40)]
        assert inputs == [damaged(parser, 7, index) for index in range(40)]
        assert len(set(inputs)) > 20


def test_archives_and_packed_networks_keep_right_checksums(makers: Makers) -> None:
    for index in range(20):
        archive = damage_archive(Random(index), makers["npz"]().sound)
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert opened.testzip() is None
        packed = damage_packed(Random(index), makers["packed"]().sound)
        assert zlib.crc32(packed[:-4]).to_bytes(4, "little") == packed[-4:]
