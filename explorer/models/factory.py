"""Building a network with the user's own function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from explorer.errors import ModelError
from explorer.graph.copies import unwrap
from explorer.settings import ModelSettings
from explorer.user_code import describe, load_function


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
    factory = load_function(factory_name, folder, where, ModelError)
    try:
        model = factory(**{key: _as_list(value) for key, value in arguments})
    except Exception as error:
        raise ModelError(f"{where} raised {describe(error)}; correct it, or model.arguments") from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{where}: expected it to return a torch.nn.Module, received a {type(model).__name__}; return the network"
        )
    return unwrap(model)


def _as_list(value: object) -> object:
    return [_as_list(entry) for entry in value] if isinstance(value, tuple) else value
