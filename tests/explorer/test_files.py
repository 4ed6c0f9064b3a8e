"""Files that are written whole, tables that no spreadsheet runs, and nothing that a terminal would obey."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.commands.terminal import printable
from explorer.errors import ExportError
from explorer.files import csv_cell, refuse_foreign, replaced, write_csv

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1", '=HYPERLINK("http://x")', "\t=1")
PLAIN = ("conv1", "layer.0.conv", "1=1", "a-b", "", "p01", "'quoted")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_is_quoted(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [*PLAIN, "-1", "-1e-9", "+3", "-inf", -1, -0.5, None, True])
def test_numbers_and_plain_texts_stay(value: object) -> None:
    assert csv_cell(value) == value


def test_a_table_reads_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("name", "value"), [("=a\x1b[31m", -1.5), ('b,"c"\n', None)])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "value"], ["'=a�[31m", "-1.5"], ['b,"c"\n', ""]]


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "\x07", "a\rb", "\u202eexe", "\x7f"])
def test_nothing_that_a_terminal_obeys_is_printed(text: str) -> None:
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 or sign == "\u202e" for sign in printable(text, "utf-8"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("text", ["98.1 ±0.3", "µJ", "größe", "模型", "\udcff"])
def test_every_text_can_be_printed_and_keeps_its_place(text: str, encoding: str) -> None:
    shown = printable(text, encoding)
    shown.encode(encoding)
    assert len(shown) == len(text)


PROGRAM = """
import sys
from rich.table import Table
from explorer.commands.terminal import console, errors, prepare_streams, say
prepare_streams()
table = Table("a \\u00b1 \\x1b[31m", title="\\u6a21")
table.add_row("\\x1b]0;title\\x07\\u00b5J")
console.print(table)
say("\\x1b[2J caf\\u00e9")
errors.print("error: \\x1b[2J \\u00e9")
print("\\u00e9")
"""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_what_is_printed_is_clean_whatever_the_output_is(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        check=False,
        timeout=60,
        env={"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert ("uJ" if encoding == "ascii" else "µJ").encode(encoding) in done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_outputs_are_no_error(closed: str, tmp_path: Path) -> None:
    """A file that is opened while an output is closed would get its number, and what is printed."""
    program = (
        "from explorer.commands.terminal import prepare_streams, say, errors; prepare_streams()\n"
        f"file = open({str(tmp_path / 'mine')!r}, 'w'); assert file.fileno() > 2\n"
        "say('out'); errors.print('err')\n"
        f"open({str(tmp_path / 'done')!r}, 'w')\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} {tmp_path / 'program.py'} {closed}"],
        check=False,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0
    assert (tmp_path / "done").exists()
    assert (tmp_path / "mine").read_text() == ""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from explorer.files import replaced\n"
        "with replaced(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('open', flush=True); time.sleep(60)\n"
    )
    dead, living = (
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / name)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        for name in ("dead", "living")
    )
    try:
        for process in (dead, living):
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
        dead.kill()
        dead.wait()
        (tmp_path / ".mine.part").write_text("of the user")
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0))  # long ago
        with replaced(tmp_path / "new") as file:
            file.write(b"whole")
        left = sorted(path.name for path in tmp_path.iterdir())
        assert [name.split(".")[1] for name in left if name.startswith(".")] == ["living", "mine"]
    finally:
        living.kill()
        living.wait()
        for process in (dead, living):
            assert process.stdout is not None
            process.stdout.close()


def test_a_new_unfinished_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".other.1-0123abcd.part").write_text("just opened, and not yet locked")
    with replaced(tmp_path / "new") as file:
        file.write(b"whole")
    assert len(list(tmp_path.iterdir())) == 2


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    ours, theirs, empty = (tmp_path / name for name in ("ours", "theirs", "empty"))
    ours.write_bytes(b"head mark tail")
    theirs.write_bytes(b"my thesis")
    empty.touch()
    refuse_foreign({ours: b"mark", empty: b"mark", tmp_path / "none": b"mark", tmp_path: b"mark"})
    for marks in ({theirs: b"mark"}, {ours: b"mark", theirs: b"mark"}, {theirs: None}):
        with pytest.raises(
            ExportError, match="theirs: is there and was not written by this version of explorer; move it"
        ):
            refuse_foreign(marks)
