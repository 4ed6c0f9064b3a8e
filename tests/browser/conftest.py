"""Headless Chromium for the tests of pages: EXPLORER_CHROMIUM or /usr/bin/chromium, with EXPLORER_TEST_BROWSER=1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from explorer.report.front.page import write_report
from explorer.study.choose import choose
from explorer.study.record import Outcome
from explorer.study.requirements import Requirements
from tests.support.browser import WIDE, Opened
from tests.support.outcomes import make_outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = os.environ.get("EXPLORER_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser, closed after the last of these tests."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def outcome() -> Outcome:
    """The synthetic outcome of the report's own tests."""
    return make_outcome()


@pytest.fixture(scope="package")
def window(browser: Browser, outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The report in a window of 1280 x 900, p08 chosen."""
    path = tmp_path_factory.mktemp("it's a run") / "report.html"
    write_report(outcome, path, choose(outcome, Requirements(pick="p08")))
    opened = Opened(browser, path, WIDE)
    yield opened
    opened.close()
