"""What is printed as the next command is one: as it is printed, in a shell whose output shows ASCII alone."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM, RUN = "'bin of mine/explorer'", "'runs of mine/first'"
FINETUNING = "[finetuning]\nepochs = 1\nbatch_size = 32\nlearning_rate = 0.004\n"


@pytest.fixture
def place(home: Path) -> Path:
    """A folder whose names hold spaces, with the study and with the program, which is not on the PATH."""
    folder = home / "my work"
    program = folder / "bin of mine" / "explorer"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nfrom explorer.cli import main\nmain()\n")
    program.chmod(0o755)
    shutil.move(home / "tiny", folder / "my study")
    with (folder / "my study" / "study.toml").open("a") as file:
        file.write(FINETUNING)
    return folder


def shell(place: Path, line: str) -> str:
    """What a line prints in a shell; it has to succeed, and to say nothing beside it."""
    ours = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii"}
    environment = {**os.environ, **ours}
    done = subprocess.run(["sh", "-c", line], cwd=place, env=environment, capture_output=True, check=False, timeout=600)
    assert (done.returncode, done.stderr.decode("ascii")) == (0, "")
    return done.stdout.decode("ascii")


def following(said: str) -> str:
    """The command that is printed as the next one."""
    (line,) = (line for line in said.splitlines() if line.startswith("next:"))
    return line.removeprefix("next:")


@pytest.mark.slow
def test_each_next_command_runs_as_it_is_printed(place: Path) -> None:
    folder = place / "runs of mine" / "first" / "export"
    export = following(shell(place, f"{PROGRAM} run 'my study' --out {RUN}"))
    assert shlex.split(export)[0] == "bin of mine/explorer"
    assert following(shell(place, f"{PROGRAM} front {RUN}")) == export
    assert "predictions agree" in shell(place, export)
    shutil.rmtree(folder)

    # A reader who has seen enough closes the pipe before all is printed.
    assert shell(place, f"{PROGRAM} front {RUN} | head -1 | wc -l").strip() == "1"

    shell(place, following(shell(place, f"{PROGRAM} finetune {RUN}")))
    assert list(folder.glob("*.onnx"))
