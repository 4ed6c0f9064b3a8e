"""Building a network with the user's own function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from explorer.digests import digest
from explorer.errors import ModelError
from explorer.graph.copies import unwrap
from explorer.settings import ModelSettings


def call_factory(settings: ModelSettings, folder: str | Path = ".") -> nn.Module:
    """Return the network of the [model] settings of a study file in `folder`; see `build`."""
    where = f"model.factory: {settings.factory!r}"
    return build(settings.factory or "", Path(folder), settings.arguments, where)


def build(
    factory_name: str, folder: Path, arguments: Sequence[tuple[str, object]] = (), where: str | None = None
) -> nn.Module:
    """Return the network that "module:callable" returns for the arguments.

    It comes without what wraps it (`unwrap`), so that a checkpoint has its names.
    The module is looked for in `folder` first, that of the study file, then among the installed ones.

    Raises:
        ModelError: Says what went wrong, and `where`.
    """
    where = where or factory_name
    module_name, _, name = factory_name.partition(":")
    folder = folder.absolute()
    # The factory may import modules beside the study file while it runs, too.
    with _importable(folder):
        module = _import(module_name, folder, where)
        factory = getattr(module, name, None)
        if factory is None:
            names = [entry for entry, value in vars(module).items() if callable(value) and entry[0] != "_"]
            raise ModelError(f"{where}: the module has no {name!r}; it has {', '.join(names) or 'no functions'}")
        if not callable(factory):
            raise ModelError(
                f"{where}: expected a function or class, received a {type(factory).__name__}; "
                "name a function that returns the network"
            )
        try:
            model = factory(**{key: _as_list(value) for key, value in arguments})
        except Exception as error:
            raise ModelError(f"{where} raised {_described(error)}; correct it, or model.arguments") from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{where}: expected it to return a torch.nn.Module, received a {type(model).__name__}; return the network"
        )
    return unwrap(model)


def _import(name: str, folder: Path, where: str) -> ModuleType:
    beside = folder.joinpath(*name.split(".")).with_suffix(".py")
    try:
        return _import_file(name, beside) if beside.is_file() else importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"{where}: no module {name!r} beside the study file in {folder}, and none is installed; "
                "put the .py file there, or install its package"
            ) from error
        raise ModelError(f"{where}: importing module {name!r} raised {_described(error)}") from error


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


def _described(error: Exception) -> str:
    """Return type, text and the innermost line of the user's code."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    frames = traceback.extract_tb(error.__traceback__)
    inner = frames[-1] if frames else None
    return f"{text} ({inner.filename}, line {inner.lineno})" if inner is not None else text


def _as_list(value: object) -> object:
    return [_as_list(entry) for entry in value] if isinstance(value, tuple) else value
