"""A run that is killed, interrupted or given more trials goes on where it was, and loses nothing."""

import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from explorer.evaluate.score import score_images
from explorer.study import final_scores
from explorer.study.folder import read_outcome

TRIALS = 100
SOME = 20


def weights(folder: Path) -> bytes:
    """The trained weights of a run."""
    (file,) = folder.glob("weights-*.pt")
    return file.read_bytes()


def test_killed_in_mid_search(
    home: Path, start: Callable[..., Any], explorer: Callable[..., Any], journal: Callable[..., Any], scored: list[str]
) -> None:
    command = ("run", "tiny", "--trials", TRIALS, "--out")
    process = start(*command, "killed")
    process.wait_for(lambda: len(journal(home / "killed")) >= SOME)
    assert process.stop(signal.SIGKILL).code == -signal.SIGKILL
    before = journal(home / "killed")
    assert SOME <= len(before) < TRIALS
    assert not (home / "killed" / "front.csv").exists()
    assert explorer("front", "killed").err.startswith("error: killed: the run is not finished; explorer run again")

    assert explorer(*command, "killed").code == 0
    after = journal(home / "killed")
    assert [trial for trial in after if trial in before] == before
    assert [trial.number for trial in after] == list(range(TRIALS))
    assert len(scored) == len(set(scored))
    assert len(scored) == len({trial.point for trial in after if trial.score} - {trial.point for trial in before})

    assert explorer(*command, "whole").code == 0
    assert journal(home / "whole") == after
    assert (home / "killed" / "front.csv").read_bytes() == (home / "whole" / "front.csv").read_bytes()
    killed, whole = read_outcome(home / "killed"), read_outcome(home / "whole")
    assert killed.evaluations == whole.evaluations
    assert killed.front == whole.front


@pytest.mark.slow
def test_killed_in_training(home: Path, start: Callable[..., Any], explorer: Callable[..., Any]) -> None:
    study = home / "tiny" / "study.toml"
    study.write_text(study.read_text().replace("epochs = 6", "epochs = 100"))
    process = start("run", "tiny", "--out", "killed")
    process.wait_for(lambda: list((home / "killed").glob("*.unfinished")))
    assert process.stop(signal.SIGKILL).code == -signal.SIGKILL
    assert not list((home / "killed").glob("weights-*.pt"))
    # Where it was killed as it wrote, the next write removes the half-written file once that is not young.
    for part in (home / "killed").glob(".*.part"):
        os.utime(part, (0, 0))
    for folder in ("killed", "whole"):
        assert explorer("run", "tiny", "--out", folder).code == 0
    assert weights(home / "killed") == weights(home / "whole")
    assert (home / "killed" / "front.csv").read_bytes() == (home / "whole" / "front.csv").read_bytes()
    assert not list((home / "killed").glob("*.unfinished*"))


@pytest.mark.slow
def test_ctrl_c(home: Path, start: Callable[..., Any], journal: Callable[..., Any]) -> None:
    process = start("run", "tiny", "--out", "run", "--trials", 100_000)
    process.wait_for(lambda: len(journal(home / "run")) >= SOME)
    said = process.stop(signal.SIGINT)
    assert said.code == 130
    assert said.err == "interrupted: all finished evaluations are kept in run; the same command goes on\n"
    before = journal(home / "run")
    process = start("run", "tiny", "--out", "run", "--trials", len(before) + 5)
    out, err = process.popen.communicate(timeout=600)
    assert (process.popen.returncode, err) == (0, "")
    after = journal(home / "run")
    assert [trial for trial in after if trial in before] == before
    assert len(after) == len(before) + 5
    assert "train, batches" not in out


@pytest.mark.slow
def test_more_trials_go_on(home: Path, explorer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def counting(model: Any, images: Any, labels: Any, batch_size: int, score: Any, **named: bool) -> Any:
        counted.append(len(labels))
        return score_images(model, images, labels, batch_size, score, **named)

    monkeypatch.setattr(final_scores, "score_images", counting)
    on_held_out: set[str] = set()
    found = []
    for trials in (2, 12, 30):  # 2 is less than the seeds of the study
        counted.clear()
        assert explorer("run", "tiny", "--out", "run", "--trials", trials).code == 0
        found.append(read_outcome(home / "run"))
        members = {point.evaluation.candidate.digest() for point in found[-1].front}
        baselines = 0 if on_held_out else 3  # the float network's on search images set their order
        assert len(counted) == len(members - on_held_out) + baselines
        on_held_out |= members
    assert [len(entry.evaluations) for entry in found] == [2, 12, 30]
    for fewer, more in pairwise(found):
        assert more.evaluations[: len(fewer.evaluations)] == fewer.evaluations
    at_once = explorer("run", "tiny", "--out", "at_once", "--trials", 30)
    assert at_once.code == 0
    assert (home / "run" / "front.csv").read_bytes() == (home / "at_once" / "front.csv").read_bytes()


@pytest.mark.slow
def test_a_damaged_journal_is_mended(home: Path, explorer: Callable[..., Any], scored: list[str]) -> None:
    whole = explorer("run", "tiny", "--out", "run")
    front = (home / "run" / "front.csv").read_bytes()
    file = home / "run" / "search.journal"
    lines = file.read_bytes().splitlines(keepends=True)
    broken = next(number for number, line in enumerate(lines) if b'"state":1' in line)
    for text in (lines[:broken] + lines[broken + 1 :], [*lines[:4], b"not json\n", *lines[5:]]):
        file.write_bytes(b"".join(text))
        scored.clear()
        again = explorer("run", "tiny", "--out", "run")
        assert (again.code, again.err, scored) == (0, "", [])
        assert "evaluation 1 and those after it" in again.out.replace("\n", " ")
        assert (home / "run" / "front.csv").read_bytes() == front
        assert "was not what had been written there" in read_outcome(home / "run").provenance["journal"]
    assert "evaluation 1" not in whole.out


@pytest.mark.parametrize("trials", [6, 3])
def test_a_finished_run_again(trials: int, home: Path, explorer: Callable[..., Any], scored: list[str]) -> None:
    first = explorer("run", "tiny", "--out", "run")
    front = (home / "run" / "front.csv").read_bytes()
    assert "nothing was left" not in first.out
    scored.clear()
    again = explorer("run", "tiny", "--out", "run", "--trials", trials)
    assert (again.code, again.err, scored) == (0, "", [])
    assert again.out.endswith(
        "nothing was left to search: all 6 candidates had been evaluated; a higher --trials goes on\n"
    )
    assert "p01" in again.out
    assert (home / "run" / "front.csv").read_bytes() == front
