"""The folder of a run: held by one process, files written whole, read with clear refusals."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from explorer.errors import SearchError
from explorer.settings import ComputeSettings
from explorer.study.folder import (
    LOCK,
    locked,
    read_outcome,
    read_study,
    refuse_changes,
    refuse_other_study,
    write_json,
    write_study,
)
from explorer.study.journal import Journal
from explorer.study.study_file import Study

STUDY = Study.from_json(
    {
        "study": {"name": "small"},
        "model": {"reference": "lenet5_digits", "training": {}},
        "data": {"source": "digits"},
        "device": {"profile": "bitfusion"},
        "objectives": {"names": ["accuracy", "energy"]},
    },
    folder="beside/it",
)


def test_a_folder_is_created_and_held(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    with locked(folder):
        assert folder.is_dir()
        (folder / "result").touch()
        with (
            pytest.raises(SearchError, match=r"there: another run is using this folder; wait for it, or choose"),
            locked(folder),
        ):
            pass
    with locked(folder):
        pass
    assert (folder / "result").exists()


def test_a_lock_holds_between_processes_and_dies_with_them(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from explorer.study.folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(SearchError, match="another run is using this folder"), locked(tmp_path):
            pass
        process.kill()
    with locked(tmp_path):
        pass


def test_a_created_folder_without_results_is_removed(tmp_path: Path) -> None:
    for keep in (False, True):
        with pytest.raises(ZeroDivisionError):
            _fail_in(tmp_path / "new" / "run", keep)
        assert (tmp_path / "new").exists() == keep
    (tmp_path / "empty").mkdir()
    with locked(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()  # it was there before


def _fail_in(folder: Path, keep: bool) -> None:
    with locked(folder):
        if keep:
            (folder / "weights.pt").touch()
        raise ZeroDivisionError


@pytest.mark.parametrize("inside", [".", "deeper/still"])
def test_a_file_is_no_folder(inside: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(SearchError, match=r"file.*: is not a folder; choose another one"), locked(file / inside):
        pass
    assert file.read_text() == "kept"
    assert not (tmp_path / LOCK).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SearchError, match=r"cannot be written \(Permission denied\)"), locked(tmp_path / "run"):
        pass


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    write_json(file, {"a": [1, None]})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert json.loads(file.read_text()) == {"a": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]


def test_a_study_is_kept_with_the_folder_of_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, STUDY)
    monkeypatch.chdir("/")
    study = read_study(tmp_path)
    assert study == STUDY
    assert study.folder == str(tmp_path / "beside" / "it")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"study": {}, "study_folder": "."}'])
def test_a_study_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(SearchError, match=r"(?s)study\.json: cannot be read .*; explorer run again writes it anew"):
        read_study(tmp_path)


def test_no_outcome(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"no run was made here; make one with: explorer run STUDY --out"):
        read_outcome(tmp_path)
    write_study(tmp_path, STUDY)
    with pytest.raises(SearchError, match=r"the run is not finished; explorer run again on this folder goes on"):
        read_outcome(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"baselines": 1}', "\x00"])
def test_an_outcome_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text(content)
    with pytest.raises(SearchError, match=r"outcome\.json: cannot be read as this version's outcome"):
        read_outcome(tmp_path)


def test_the_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    other = replace(STUDY, heading=replace(STUDY.heading, seed=1))
    refuse_other_study(tmp_path, other)  # nothing is there
    write_study(tmp_path, STUDY)
    refuse_other_study(tmp_path, other)  # no search was begun
    (tmp_path / "search.journal").touch()
    refuse_other_study(
        tmp_path,
        replace(
            STUDY,
            heading=replace(STUDY.heading, title="x"),
            search=replace(STUDY.search, trials=5),
            compute=ComputeSettings(batch_size=1),
        ),
    )
    with pytest.raises(SearchError, match=r"holds the results of another study \(study\.seed was 0, is 1\); choose"):
        refuse_other_study(tmp_path, other)
    (tmp_path / "study.json").write_text("{")
    refuse_other_study(tmp_path, other)  # the storage knows


def test_the_journal_of_an_earlier_version_is_left_as_it_is(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "search.journal")))
    optuna.create_study(storage=storage, study_name="s").set_user_attr("identity", {"explorer": "0.4.0"})
    text = (tmp_path / "search.journal").read_bytes()
    with pytest.raises(SearchError, match="an earlier version of explorer; choose another folder, or go on with that"):
        refuse_other_study(tmp_path, STUDY)
    assert (tmp_path / "search.journal").read_bytes() == text


def test_of_many_changes_three_are_named() -> None:
    before = dict.fromkeys("abcde", "1")
    with pytest.raises(SearchError, match=r"\(a was 1, is 2; b was 1, is 2; c was 1, is 2; and 3 more\)"):
        refuse_changes(Path("run"), before, {**dict.fromkeys("abcde", "2"), "f": "3"})
    refuse_changes(Path("run"), before, dict(before))


def test_a_journal_whose_trials_have_parameters_is_one_of_an_earlier_version(tmp_path: Path) -> None:
    study = optuna.create_study(storage=JournalStorage(Journal(tmp_path / "search.journal")), study_name="s")
    refuse_other_study(tmp_path, STUDY)
    study.ask().suggest_int("0.weight_bits/conv1", 0, 3)
    with pytest.raises(SearchError, match="an earlier version of explorer; choose another folder, or go on with that"):
        refuse_other_study(tmp_path, STUDY)
