"""The README of hwmodels: its code blocks run one after another, beside its profile, and give what it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import hwmodels

README = Path(hwmodels.__file__).with_name("README.md")


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def test_the_code_blocks_give_what_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (profile,) = blocks("toml")
    Path("mine.toml").write_text(profile, encoding="utf-8")
    code = blocks("python")
    assert len(code) >= 4
    assert all(block.startswith(">>> ") for block in code)
    results = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest("\n".join(code), {}, "README", None, 0))
    assert (results.failed, results.attempted > 15) == (0, True)


def test_the_files_that_it_links_to_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
