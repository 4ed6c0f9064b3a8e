"""Hardware-aware design-space exploration of PyTorch networks: what `import explorer` offers is in `explorer.api`.

It is loaded when it is first asked for, so that importing this package takes neither torch nor a tenth of a second.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.api import (
        Candidate,
        Compressed,
        Cost,
        ExplorerError,
        Front,
        LayerChoice,
        LayerSpace,
        MeanScore,
        Net,
        Point,
        Result,
        Score,
        Scores,
        Space,
        Study,
        accuracy,
        compress,
        export,
        finetune,
        load,
        load_study,
        open,
        plan,
        price,
        relevance,
        run,
        score,
        search,
        uniform,
        verify,
    )

__version__ = "0.7.0"
__all__ = [
    "Candidate",
    "Compressed",
    "Cost",
    "ExplorerError",
    "Front",
    "LayerChoice",
    "LayerSpace",
    "MeanScore",
    "Net",
    "Point",
    "Result",
    "Score",
    "Scores",
    "Space",
    "Study",
    "accuracy",
    "compress",
    "export",
    "finetune",
    "load",
    "load_study",
    "open",
    "plan",
    "price",
    "relevance",
    "run",
    "score",
    "search",
    "uniform",
    "verify",
]


class _Room(ModuleType):
    """A package that is also the function of the API that bears its name, as `explorer.search` is."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return getattr(import_module("explorer.api"), self.__name__.rpartition(".")[2])(*arguments, **named)

    @property
    def __signature__(self) -> Any:
        """What notebooks show of the call."""
        import inspect  # noqa: PLC0415

        return inspect.signature(getattr(import_module("explorer.api"), self.__name__.rpartition(".")[2]))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """What help and notebooks show: how the function is called, and what it does."""
        name = self.__name__.rpartition(".")[2]
        first, _, rest = (getattr(import_module("explorer.api"), name).__doc__ or "").partition("\n")
        return f"{first}\n\n    explorer.{name}{self.__signature__}\n{rest}"


# Whether such a name is the package or the function must not depend on what was imported before: it is both.
for _name in ("compress", "export", "relevance", "search"):
    import_module(f"explorer.{_name}").__class__ = _Room


def __getattr__(name: str) -> Any:
    if name not in __all__:
        # With name and obj Python suggests a name that is meant.
        raise AttributeError(f"module 'explorer' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    return getattr(import_module("explorer.api"), name)


def __dir__() -> list[str]:
    """Return what there is to call, and no room of the package, since that is what is completed."""
    return sorted([*__all__, "__version__"])
