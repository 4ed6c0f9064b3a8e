"""A tiny study of a user's own network and images, and a finished run of it."""

import runpy
import shutil
from pathlib import Path

import pytest

TINY = Path(__file__).parents[1] / "tiny_study"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study in "tiny" and its finished run in "done"; only to be copied."""
    home = tmp_path_factory.mktemp("finished")
    shutil.copytree(TINY, home / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](home / "tiny" / "images.npz")
    from explorer.cli import main  # noqa: PLC0415  (only where a test asks for a run)

    with pytest.raises(SystemExit) as stopped:
        main(["run", str(home / "tiny"), "--out", str(home / "done")])
    assert not stopped.value.code
    (home / "done" / "report.html").unlink()  # 5 MB for each test that copies it
    return home


@pytest.fixture
def home(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a study in "tiny" and its finished run in "done", to be spoilt at will."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
