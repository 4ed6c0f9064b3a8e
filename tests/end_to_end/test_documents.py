"""Every code block of README.md, CONTRIBUTING.md and docs/ runs, page by page, as a reader would run them in order.

A block whose first line is a comment that names a file (# mine/study.toml) is that file. A block that begins with
"# not run by the tests:" and the reason is only read, and so are the commands of the studies, which take data sets.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from typer.main import get_command

from explorer.cli import app, main
from explorer.export.formats import FORMATS
from explorer.objectives import OBJECTIVES
from explorer.relevance.criteria import CRITERIA
from explorer.search.samplers import SAMPLERS
from explorer.study.study_file import Study

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
STUDIES = sorted(REPOSITORY.glob("studies/*/README.md"))
TABLES: tuple[Any, ...] = (CRITERIA, SAMPLERS, OBJECTIVES, FORMATS)
"""What examples add their own entries to, which are gone after each page."""
SMALL = ("--trials", "2")
"""What a search gets that says nothing of trials, so that it takes seconds; one in Python gets SMALL_IN_PYTHON."""
SMALL_IN_PYTHON = "trials=4"
COMPILES = all(importlib.util.find_spec(name) for name in ("ai_edge_litert", "ethosu"))
EXTRAS = ("tflite", "referee", "verify")
"""Words of commands that need packages which not everyone has; read where these are missing."""
MOST_NOT_RUN = 8
"""Blocks of all pages that are not run."""
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
NOT_RUN = re.compile(r"# not run by the tests: \S")
NETWORK = """from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(676, 10))
"""


class Block(NamedTuple):
    document: Path
    line: int
    language: str
    text: str

    @property
    def is_run(self) -> bool:
        return NOT_RUN.match(self.text) is None

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(REPOSITORY)}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text[: match.start()].count("\n") + 1, match[1], match[2])
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    ]


WHOLE = next(block.text for block in blocks_of(DOCS / "own_network.md") if block.language == "toml")
"""A whole study, which settings that leave sections out are put into."""


def commands_of(block: Block) -> list[list[str]]:
    """The words of every command, without comments, variables that are set before it, and the environment's path."""
    lines = (shlex.split(line, comments=True) for line in block.text.replace("\\\n", " ").splitlines())
    return [
        [word.removeprefix(".venv/bin/") for word in dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words)]
        for words in lines
        if words
    ]


def call(words: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what pages speak of: a finished run, a network with weights and images, two files."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as own:
        own.chdir(folder)
        assert call(["run", *SMALL]) == 0
        mine = folder / "mine"
        mine.mkdir()
        for place in (mine, folder):
            (place / "network.py").write_text(NETWORK, encoding="utf-8")
        names: dict[str, Any] = {}
        exec(NETWORK, names)
        torch.save(names["build"]().state_dict(), mine / "weights.pt")
        images = np.random.default_rng(0).integers(0, 255, (10, 32, 32, 3), dtype=np.uint8)
        arrays: dict[str, Any] = {}
        for name, count in (("train", 300), ("test", 400)):
            arrays |= {f"x_{name}": np.resize(images, (count, 32, 32, 3)), f"y_{name}": np.arange(count) % 10}
        np.savez_compressed(mine / "images.npz", **arrays)
        (mine / "study.toml").write_text(WHOLE, encoding="utf-8")
        shutil.copy(REPOSITORY / "studies" / "cost_models" / "scalesim" / "topology.csv", folder)
        assert call(["export", "runs/digits", "--to", "exported"]) == 0
        shutil.move("exported/model.onnx", "model.onnx")
        shutil.rmtree("exported")
        yield folder


def check_command(words: list[str], runs: bool) -> None:
    program, *arguments = words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        assert {word for word in arguments if "=" not in word} <= targets
    elif program == "pip":
        assert arguments[0] == "install"
        named = [word.partition("[")[0] for word in arguments if word.startswith(".")]
        assert all((REPOSITORY / word / "pyproject.toml").is_file() for word in named)
    elif program == "python" and arguments[1] != "explorer":
        assert arguments[0] == "-m"
        assert (REPOSITORY / arguments[1].replace(".", "/")).with_suffix(".py").is_file()
    elif program in {"explorer", "python"}:
        arguments = arguments[2 if program == "python" else 0 :]
        if runs and (COMPILES or not set(EXTRAS) & set(arguments)):
            small = SMALL if arguments[0] == "run" and "--trials" not in arguments else ()
            assert call([*arguments, *small]) == 0
        elif arguments[0] in app_commands():
            app_commands()[arguments[0]].make_context(arguments[0], arguments[1:], resilient_parsing=False).close()
        else:
            assert arguments == ["--version"]
    elif runs and shutil.which(program):
        subprocess.run(words, check=True, timeout=60)


def app_commands() -> dict[str, Any]:
    command: Any = get_command(app)
    return dict(command.commands)


def check_settings(text: str) -> None:
    """Read settings as a study; those that leave sections out are put into a whole one."""
    given = tomllib.loads(text)
    study = Study.from_json(given if "study" in given else {**tomllib.loads(WHOLE), **given})
    for section, values in given.items():
        assert set(values) <= set(study.to_json()[section])


def run_block(block: Block, names: dict[str, Any]) -> None:
    file = FILE.match(block.text)
    if file:
        Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(file[1]).write_text(block.text, encoding="utf-8")
    if block.language == "toml" and (not file or file[1].endswith("study.toml")):
        check_settings(block.text)
    elif block.language == "python" and not file:
        code = compile(re.sub(r"\btrials=\d+", SMALL_IN_PYTHON, block.text), block.place, "exec")
        if block.is_run:
            exec(code, names)
    elif block.language == "sh":
        commands = commands_of(block)
        assert commands
        for words in commands:
            check_command(words, runs=block.is_run)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_what_a_page_says_to_do_can_be_done(
    page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    before, names = set(sys.modules), {"__name__": "__main__"}
    with ExitStack() as kept, torch.random.fork_rng():
        for table in TABLES:
            kept.enter_context(patch.dict(table))
        torch.manual_seed(0)
        for block in blocks_of(page):
            try:
                run_block(block, names)
            except BaseException as error:
                error.add_note(f"in the block at {block.place}")
                raise
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.parent.name)
def test_the_commands_of_a_study_can_be_read(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for block in blocks_of(study):
        assert block.language == "sh", block.place
        for words in commands_of(block):
            check_command(words, runs=False)


def test_every_block_has_a_rule_and_few_are_not_run() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    assert [block.place for block in blocks if block.language not in {"sh", "toml", "python"}] == []
    assert len([block.place for block in blocks if not block.is_run]) <= MOST_NOT_RUN
    for page in (*PAGES, *STUDIES):
        assert len(re.findall("^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) == 2 * len(blocks_of(page))


def test_the_readme_is_short_and_has_an_example() -> None:
    readme = REPOSITORY / "README.md"
    block = next(block for block in blocks_of(readme) if block.language == "python")
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 20
    assert all(word in block.text for word in ("explorer.open", "device=", "front", "explorer.export"))
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_site_is_built_without_a_warning_and_links_lead_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert [page for page in pages if not (tmp_path / "site" / page).is_file()] == []
    assert not re.search(
        r"https?://(?!www\.w3\.org)[^\"' ]*\.(?:css|js|woff2?)", (tmp_path / "site/index.html").read_text()
    )
    for page in PAGES[:2]:
        links = re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": (\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_page_of_relevance_has_a_row_for_every_criterion() -> None:
    section = (DOCS / "relevance.md").read_text(encoding="utf-8").partition("## The criteria")[2].partition("##")[0]
    first = " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+)`", first)) == set(CRITERIA)


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
    file = DOCS / "distributed" / name
    found = [words for tree in yaml.safe_load_all(file.read_text(encoding="utf-8")) for words in commands_in(tree)]
    assert [words[1] for words in found] == (["run", "worker"])
    for words in found:
        check_command(words, runs=False)


def test_compose_builds_what_there_is_and_shares_the_folder_of_the_run() -> None:
    file = DOCS / "distributed" / "compose.yaml"
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
    text = (DOCS / "distributed" / "slurm.sh").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("srun")]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line.removesuffix("&"))
        check_command(words[words.index("explorer") :], runs=False)
