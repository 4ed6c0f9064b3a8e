"""The command line, as a user calls it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Explorer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def explorer(capsys: pytest.CaptureFixture[str]) -> Explorer:
    """Runs a command: (exit code, stdout, stderr)."""

    from explorer.cli import main  # noqa: PLC0415  (only where a test asks for it)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return run
