"""Functions of the user's own code, named "module:function" in a study file."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from explorer.digests import digest
from explorer.errors import ExplorerError, describe_error


def load_function(name: str, folder: str | Path, where: str, error: type[ExplorerError]) -> Callable[..., Any]:
    """Return the function or class that "module:function" names; its `__wrapped__` is the function itself.

    The module is looked for in `folder` first, that of the study file, then among the installed ones; while the
    function runs, it may import modules beside the study file, too. What goes wrong is an `error` that names `where`.
    """
    module_name, _, function_name = name.partition(":")
    folder = Path(folder).absolute()
    with _importable(folder):
        module = _import(module_name, folder, where, error)
    function = getattr(module, function_name, None)
    if function is None:
        names = [entry for entry, value in vars(module).items() if callable(value) and entry[0] != "_"]
        raise error(f"{where}: the module has no {function_name!r}; it has {', '.join(names) or 'no functions'}")
    if not callable(function):
        raise error(
            f"{where}: expected a function or class, received a {type(function).__name__}; name a function instead"
        )

    @functools.wraps(function, updated=())
    def called(*arguments: Any, **named: Any) -> Any:
        with _importable(folder):
            return function(*arguments, **named)

    return called


def digest_code(function: Callable[..., Any]) -> str:
    """Return a digest of a function's own text, without what it calls; of its name where there is no text."""
    own = inspect.unwrap(function)
    try:
        return digest(inspect.getsource(own))
    except (OSError, TypeError):
        return digest(repr(getattr(own, "__qualname__", type(own).__qualname__)))


def describe(error: BaseException) -> str:
    """Return type, text and the innermost line of what the user's code raised."""
    text = describe_error(error)
    frames = traceback.extract_tb(error.__traceback__)
    inner = frames[-1] if frames else None
    return f"{text} ({inner.filename}, line {inner.lineno})" if inner is not None else text


def _import(name: str, folder: Path, where: str, kind: type[ExplorerError]) -> ModuleType:
    beside = folder.joinpath(*name.split(".")).with_suffix(".py")
    try:
        return _import_file(name, beside) if beside.is_file() else importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise kind(
                f"{where}: no module {name!r} beside the study file in {folder}, and none is installed; "
                "put the .py file there, or install its package"
            ) from error
        raise kind(f"{where}: importing module {name!r} raised {describe(error)}") from error


def _import_file(name: str, file: Path) -> ModuleType:
    """Import a file under a name of its own: two studies may both have a network.py."""
    unique = f"{name}_{digest(str(file))}".replace(".", "_")
    if unique in sys.modules:
        return sys.modules[unique]
    spec = importlib.util.spec_from_file_location(unique, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
