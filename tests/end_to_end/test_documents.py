"""Every code block of the documents runs, or is read as what it is; one that no rule covers fails."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from typer.main import get_command

from explorer.cli import app, main
from explorer.relevance.criteria import CRITERIA
from explorer.study.study_file import Study

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted(REPOSITORY.glob("studies/*/README.md")),
]
SMALL = ("--trials", "2")
"""What a search gets, so that it takes seconds."""
COMPILES = all(importlib.util.find_spec(name) for name in ("ai_edge_litert", "ethosu"))
RUN = ("check", "cost", "devices", "export", "front", "report", "run", *(("referee", "verify") if COMPILES else ()))
"""Commands of the README that run, a search with SMALL. All others take minutes or need data sets: they are parsed."""
NETWORK = """from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(676, 10))
"""


class Block(NamedTuple):
    document: Path
    line: int
    language: str
    text: str


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text[: match.start()].count("\n") + 1, match[1], match[2])
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    ]


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def named(block: Block) -> str:
    return f"{block.document.relative_to(REPOSITORY)}:{block.line}"


def commands_of(block: Block) -> list[list[str]]:
    """The words of every command, without comments, variables that are set before it, and the environment's path."""
    lines = (shlex.split(line, comments=True) for line in block.text.splitlines())
    return [
        [word.removeprefix(".venv/bin/") for word in dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words)]
        for words in lines
        if words
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the README speaks of: a finished run, a network with weights and images, two files."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(["run", str(REPOSITORY / "studies" / "digits"), "--out", "runs/digits", *SMALL]) == 0
        own = folder / "mine"
        own.mkdir()
        for place in (own, folder):
            (place / "network.py").write_text(NETWORK, encoding="utf-8")
        names: dict[str, Any] = {}
        exec(NETWORK, names)
        torch.save(names["build"]().state_dict(), own / "weights.pt")
        draw = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for name, count in (("train", 300), ("test", 4000)):
            arrays[f"x_{name}"] = draw.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)
            arrays[f"y_{name}"] = np.arange(count) % 10
        np.savez(own / "images.npz", **arrays)
        first = next(block for block in BLOCKS if block.language == "toml")
        (own / "study.toml").write_text(first.text, encoding="utf-8")
        shutil.copy(REPOSITORY / "studies" / "cost_models" / "scalesim" / "topology.csv", folder)
        yield folder


def call(words: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


def check_command(words: list[str], runs: bool) -> None:
    program, *arguments = words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        assert {word for word in arguments if "=" not in word} <= targets
    elif program == "python":
        assert arguments[0] == "-m"
        assert (REPOSITORY / arguments[1].replace(".", "/")).with_suffix(".py").is_file()
    elif runs and arguments[0] in RUN and (COMPILES or "tflite" not in arguments):
        assert call([*arguments, *(SMALL if arguments[0] == "run" else ())]) == 0
    else:
        assert program == "explorer"
        command: Any = get_command(app)
        command.commands[arguments[0]].make_context(arguments[0], arguments[1:], resilient_parsing=False).close()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=named)
def test_commands_run_or_can_be_read(block: Block, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = block.document == REPOSITORY / "README.md"
    monkeypatch.chdir(workplace if own else REPOSITORY)
    if own and not Path("model.onnx").exists() and "model.onnx" in block.text:
        assert call(["export", "runs/digits", "--to", "exported"]) == 0
        shutil.copy("exported/model.onnx", "model.onnx")
    commands = commands_of(block)
    assert commands
    for words in commands:
        check_command(words, runs=own)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=named)
def test_settings_are_read_as_a_study(block: Block) -> None:
    """Those that leave sections out are put into the first, which is whole."""
    first = next(block for block in BLOCKS if block.language == "toml")
    whole, given = tomllib.loads(first.text), tomllib.loads(block.text)
    study = Study.from_json(given if "study" in given else {**whole, **given})
    for section, values in given.items():
        assert set(values) <= set(study.to_json()[section])


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=named)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(block.text, named(block), "exec"), {"__name__": "__main__"})


def test_the_example_of_the_readme_is_short() -> None:
    block = next(block for block in blocks_of(REPOSITORY / "README.md") if block.language == "python")
    lines = [line for line in block.text.splitlines() if line.strip()]
    assert len(lines) <= 20
    assert all(word in block.text for word in ("DataLoader", "device=", "front", "explorer.export"))


def test_the_readme_has_a_row_for_every_criterion() -> None:
    section = (
        (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("### The criteria")[2].partition("###")[0]
    )
    first = " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+)`", first)) == set(CRITERIA)


def test_every_block_has_a_rule() -> None:
    assert [named(block) for block in BLOCKS if block.language not in {"sh", "toml", "python"}] == []
    for document in DOCUMENTS:
        assert len(re.findall("^```", document.read_text(encoding="utf-8"), re.MULTILINE)) == 2 * len(
            blocks_of(document)
        )


def commands_in(tree: Any) -> Iterator[list[str]]:
    """Every list under the key "command" in a YAML document."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "command":
                yield value
            else:
                yield from commands_in(value)
    elif isinstance(tree, list):
        for each in tree:
            yield from commands_in(each)


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_files_for_several_machines_have_commands_that_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    file = REPOSITORY / "docs" / "distributed" / name
    found = [words for tree in yaml.safe_load_all(file.read_text(encoding="utf-8")) for words in commands_in(tree)]
    assert [words[1] for words in found] == (["run", "worker"])
    for words in found:
        check_command(words, runs=False)


def test_compose_builds_what_there_is_and_shares_the_folder_of_the_run() -> None:
    file = REPOSITORY / "docs" / "distributed" / "compose.yaml"
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in ("coordinator", "worker"):
        service = tree["services"][name]
        assert service["volumes"] == ["runs:/runs"]
        assert set(service["depends_on"]) <= set(tree["services"])
        assert (file.parent / service["build"]["context"]).resolve() == REPOSITORY
        assert service["command"][3:7] == tree["services"]["coordinator"]["command"][3:7]
        for copied in re.findall(r"/explorer/([\w./]+)", service["build"]["dockerfile_inline"]):
            assert (REPOSITORY / copied).exists(), copied


def test_the_job_for_slurm_has_commands_that_can_be_read() -> None:
    text = (REPOSITORY / "docs" / "distributed" / "slurm.sh").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("srun")]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line.removesuffix("&"))
        check_command(words[words.index("explorer") :], runs=False)
