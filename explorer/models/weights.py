"""The weights of a network among all that a checkpoint holds: where they are, and what each is called there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from explorer.settings.rules import shown

DEPTH = 4
"""Tables within tables are looked through so deep (assumed: what people nest is two deep)."""
PREFERRED = ("state_dict", "model_state_dict", "model", "net", "network")
"""Tables of a file, or parts of one, that stand for the network itself, before any other that fits, such as a moving
average."""
WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and torch.compile call the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One table of a checkpoint as the state dict of a network.

    `place` are the keys under which the table stands. `entries` are its values by the network's own names, without
    the `prefix` that they have there. `problems` says what keeps it from being the network's.
    """

    place: tuple[str, ...]
    prefix: str
    entries: Mapping[str, object]
    problems: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, ...]:
        """The lower, the rather the table is meant: the file itself, then PREFERRED keys, then others."""
        return tuple(PREFERRED.index(key) if key in PREFERRED else len(PREFERRED) for key in self.place)

    @property
    def told(self) -> str:
        """Where the table was found, for a message; nothing where it is the file itself, with plain names."""
        parts = [f"under {' / '.join(map(shown, self.place))}"] if self.place else []
        parts += [f"names without {shown(self.prefix)}"] if self.prefix else []
        return f" ({', '.join(parts)})" if parts else ""


def find_weights(content: Mapping[str, object], expected: Mapping[str, object]) -> list[Weights]:
    """Return every table of tensors in a checkpoint, those that fit `expected`, a network's state dict, first.

    A table fits where its names and shapes are the network's, once what all of them begin with is taken off; names as
    they stand come first, so that a part of a network may be called "module". Of several that fit, those whose keys
    are PREFERRED, or which are the file itself, come first. Step counts of batch norms may be missing.
    """
    found = [_named(place, table, expected) for place, table in _tables(content)]
    return sorted(found, key=lambda weights: (bool(weights.problems), weights.rank, len(weights.problems)))


def first_names(names: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    short = [name if len(name) <= 60 and name.isprintable() else shown(name) for name in names[:3]]
    return ", ".join(short) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _tables(content: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], dict[str, object]]]:
    """Yield every table that holds tensors, each once, with the keys that lead to it."""
    seen: set[int] = set()
    level: list[tuple[tuple[str, ...], Mapping[str, object]]] = [((), content)]
    for _ in range(DEPTH):
        below = []
        for place, table in level:
            if id(table) in seen:
                continue
            seen.add(id(table))
            entries = {str(name): value for name, value in table.items()}
            if any(isinstance(value, Tensor) for value in entries.values()):
                yield place, entries
            below += [((*place, name), value) for name, value in entries.items() if isinstance(value, Mapping)]
        level = below


def _named(place: tuple[str, ...], table: Mapping[str, object], expected: Mapping[str, object]) -> Weights:
    """Return a table by the network's names: as they stand, or without the prefix that brings most of them to fit."""
    prefixes = dict.fromkeys(
        name.removesuffix(wanted)
        for wanted in list(expected)[:3]
        for name in table
        if name == wanted or name.endswith(f".{wanted}")
    )
    choices = [_without(prefix, place, table, expected) for prefix in dict.fromkeys(["", *prefixes])]
    return min(choices, key=lambda weights: (bool(weights.problems), -len(weights.entries.keys() & expected.keys())))


def _without(
    prefix: str, place: tuple[str, ...], table: Mapping[str, object], expected: Mapping[str, object]
) -> Weights:
    """Return a table without a prefix.

    Single numbers beside the names with it, such as a count of averaged steps, are none of the network's, nor is a
    whole copy of it beside a PREFERRED one.
    """
    entries, beside = {}, []
    for name, value in table.items():
        own = name.removeprefix(prefix)
        if name.startswith(prefix) and (own in expected or isinstance(value, Tensor)):
            entries[own] = value
        elif isinstance(value, Tensor) and (value.is_nested or value.ndim):
            beside.append(name)
    if _is_preferred(prefix):
        beside = _without_copies(beside, expected)
    missing = [name for name in expected if name not in entries and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in entries if name not in expected]
    shapes = [
        f"{name} (expected {tuple(wanted.shape)}, received {_shape(value)})"
        for name, value in entries.items()
        if isinstance(wanted := expected.get(name), Tensor) and _shape(value) != str(tuple(wanted.shape))
    ]
    kinds = (
        ("missing", missing),
        ("unexpected", unexpected),
        (f"beside those with {shown(prefix)}", beside),
        ("of another shape", shapes),
    )
    problems = tuple(f"{len(names)} {kind}: {first_names(names)}" for kind, names in kinds if names)
    return Weights(place=place, prefix=prefix, entries=entries, problems=problems)


def _without_copies(names: list[str], expected: Mapping[str, object]) -> list[str]:
    """Return names that belong to no copy of the network under a prefix of its own, such as a moving average."""
    arrays = [name for name, value in expected.items() if isinstance(value, Tensor) and value.ndim]
    left = set(names)
    for prefix in {name.removesuffix(arrays[0]) for name in names if name.endswith(f".{arrays[0]}")}:
        copy = {prefix + name for name in arrays}
        left -= copy if copy <= left and not _is_preferred(prefix) else set()
    return [name for name in names if name in left]


def _is_preferred(prefix: str) -> bool:
    """Tell a prefix that stands for the network itself, in whatever wrapper."""
    return set(prefix.split(".")[:-1]) <= {*PREFERRED, *WRAPPERS}


def _shape(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return "a nested tensor" if value.is_nested else str(tuple(value.shape))
