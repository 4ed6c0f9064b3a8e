"""Paths and addresses as written in a study file: environment variables and relative folders."""

from __future__ import annotations

import os
import re
from pathlib import Path

from explorer.errors import StudyFileError

VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand_variables(text: str, where: str) -> str:
    """Replace each ${NAME} by the environment variable.

    Raises:
        StudyFileError: Names those that are not set.
    """
    unset = sorted({name for name in VARIABLE.findall(text) if not os.environ.get(name)})
    if unset:
        raise StudyFileError(
            tuple(
                f"{where}: the environment variable {name} is not set, needed for {text!r}; "
                f"set it (export {name}=...), or write the full value here"
                for name in unset
            )
        )
    return VARIABLE.sub(lambda match: os.environ[match[1]], text)


def resolve_path(text: str, folder: str | Path, where: str) -> Path:
    """Return the full path of a path in a study file; relative ones start in `folder`, ~ is the home folder."""
    return Path(folder, Path(expand_variables(text, where)).expanduser()).resolve()


def cache_folder() -> Path | None:
    """Return where every study finds what was computed: EXPLORER_CACHE, or explorer in the user's cache folder.

    None where there is no home folder. It may not exist yet; all in it may be deleted at any time.
    """
    named = os.environ.get("EXPLORER_CACHE")
    if named:
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "explorer"
    except RuntimeError:
        return None
