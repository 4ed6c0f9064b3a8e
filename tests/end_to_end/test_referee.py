"""The front of a run for an Ethos-U is compiled with Vela, interrupted, gone on with, kept, and judged."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import explorer as api
from explorer.errors import ExportError
from explorer.export.tflite import package
from explorer.study.folder import read_outcome
from tests.support.exported_tflite import needs_vela

Explorer = Callable[..., Any]
pytestmark = needs_vela


@pytest.fixture
def finished(home: Path, explorer: Explorer) -> Path:
    """The folder of a run for the Ethos-U55, whose front has several members."""
    study = home / "tiny" / "study.toml"
    text = study.read_text().replace('"bitfusion"', '"ethos_u55_128"')
    study.write_text(text.replace("trials = 6", "trials = 12").replace('"energy"', '"latency"'))
    assert explorer("run", "tiny", "--out", "run").code == 0
    return home / "run"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands with which the compiler is called."""
    seen: list[list[str]] = []
    run = subprocess.run

    def recorded(command: list[str], **named: Any) -> Any:
        seen.append(command)
        return run(command, **named)

    monkeypatch.setattr(subprocess, "run", recorded)
    return seen


def kept(folder: Path, device: str = "ethos_u55_128") -> dict[str, Any]:
    file = folder / "referee.json"
    members: dict[str, Any] = json.loads(file.read_text())["devices"][device]["members"] if file.exists() else {}
    return members


def rows(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in out.splitlines() if re.match(r"p\d\d +\d", line)}


def test_every_member_is_compiled_once_and_the_order_is_judged(
    finished: Path, explorer: Explorer, compiled: list[list[str]]
) -> None:
    front = read_outcome(finished).front
    assert len(front) >= 3
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    said = explorer("referee", "run")
    assert (said.code, said.err) == (0, "")
    assert len(compiled) == len(front)
    assert re.search(r"compile: (\d+) of \1, done", said.out)
    table = rows(said.out)
    assert list(table) == [point.name for point in front]
    for point in front:
        ours, found, ratio = table[point.name][-3:]
        assert int(ours.replace(",", "")) == point.evaluation.cost.latency_cycles
        assert float(ratio) == pytest.approx(int(ours.replace(",", "")) / int(found.replace(",", "")), abs=0.006)
        assert int(table[point.name][0].replace(",", "")) == point.evaluation.cost.weight_bytes
    assert len(re.findall(r"^(cycles|bytes|SRAM): (Kendall's tau|no order, as Vela has)", said.out, re.MULTILINE)) == 3
    assert "another profile" not in said.out
    assert said.out.splitlines()[-1].startswith("How far to trust our order of this front: by cycles ")
    assert {name: content for name, content in before.items() if (finished / name).read_bytes() != content} == {}

    again = explorer("referee", "run")
    assert (again.code, len(compiled)) == (0, len(front))
    assert rows(again.out) == table
    assert "compile" not in again.out
    other = explorer("referee", "run", "--device", "ethos_u55_256")
    assert (other.code, len(compiled)) == (0, 2 * len(front))
    assert "note: the run's own figures are of another profile, ethos_u55_128 (Arm Ethos-U55, 128 MACs" in other.out
    assert (
        len(kept(finished))
        == len(kept(finished, "ethos_u55_256"))
        == len({point.evaluation.candidate.digest() for point in front})
    )

    result = api.load(finished)
    judged = result.referee()
    assert len(compiled) == 2 * len(front)
    assert judged.verdict() == said.out.splitlines()[-1]
    assert judged.to_frame()["cycles"].tolist() == [point.evaluation.cost.latency_cycles for point in front]


def test_members_that_the_format_refuses_do_not_stop_the_rest(
    finished: Path, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = package.try_out, read_outcome(finished).front[1].name

    def refuse_second(*arguments: Any) -> Path:
        if len(kept(finished)) == 1:
            raise ExportError("tflite: Conv 'x' cannot be written: of a test; choose --format integer or onnx")
        return write(*arguments)

    monkeypatch.setattr(package, "try_out", refuse_second)
    said = explorer("referee", "run")
    assert (said.code, said.err) == (0, "")
    assert f"refused: {refused}: tflite: Conv 'x' cannot be written: of a test" in said.out
    table = rows(said.out)
    assert len(table) == len(read_outcome(finished).front)
    assert len(table[refused]) == 3  # ours alone


def test_a_compiler_ended_from_outside_is_no_refusal_and_asked_again(
    finished: Path, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def end_second(command: list[str], **named: Any) -> Any:
        if len(kept(finished)) == 1:
            command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
        return run(command, **named)

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", end_second)
        said = explorer("referee", "run")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("error: vela: was ended from outside (SIGKILL) while it compiled model.tflite; give ")
    assert len(kept(finished)) == 1
    said = explorer("referee", "run")
    assert said.code == 0
    assert "refused" not in said.out


def test_where_no_member_can_be_compiled_it_is_an_error(
    finished: Path, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Path:
        raise ExportError("tflite: no rule")

    monkeypatch.setattr(package, "try_out", refuse)
    said = explorer("referee", "run")
    assert said.code == 2
    assert re.fullmatch(r"error: referee: none of \d+ members can be compiled: tflite: no rule\n", said.err)


def test_an_interrupted_one_goes_on(
    finished: Path, explorer: Explorer, start: Callable[..., Any], compiled: list[list[str]]
) -> None:
    members = len(read_outcome(finished).front)
    process = start("referee", "run")
    process.wait_for(lambda: 1 <= len(kept(finished)) < members)
    said = process.stop(signal.SIGINT)
    assert said.code == 130
    assert "interrupted: all compiled members are kept in run; the same command goes on" in said.err
    assert "Traceback" not in said.err
    done = len(kept(finished))
    assert 1 <= done < members
    assert explorer("referee", "run").code == 0
    assert len(compiled) == members - done


def test_bad_input_is_one_line(finished: Path, explorer: Explorer, home: Path) -> None:
    for words, message in (
        (("referee", "nowhere"), "no run was made here"),
        (("referee", "tiny"), "no run was made here"),
        (("referee", "run", "--device", "bitfusion"), "Vela compiles for ethos_u55_128, "),
        (("referee", "run", "--device", "ethos"), "unknown device 'ethos'"),
        (("referee",), "Missing argument"),
    ):
        said = explorer(*words)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert message in said.err
    assert not (finished / "referee.json").exists()
