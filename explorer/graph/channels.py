"""Which channels must be kept or removed together: a union-find over channels, and the groups it yields."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.graph.layers import ChannelGroup, GroupCount
from explorer.graph.names import Names

Ids = NDArray[np.int64]
_Signature = tuple[str, tuple[str, ...], tuple[tuple[str, str, int], ...]]


class ChannelClasses:
    """Union-find over channel ids; a lock on one id holds for its whole class."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._locks: dict[int, str] = {}

    def fresh(self, count: int) -> Ids:
        """Return `count` new ids, each a class of its own."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def find(self, identity: int) -> int:
        """Return the representative of an id's class: its smallest id."""
        while self._parent[identity] != identity:
            self._parent[identity] = self._parent[self._parent[identity]]
            identity = self._parent[identity]
        return identity

    def tie(self, first: Ids, second: Ids) -> None:
        """Put channel i of one tensor and channel i of another into one class, for every i."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low

    def lock(self, ids: Ids, reason: str) -> None:
        """Forbid the removal of these channels; the first reason stays."""
        for identity in ids.tolist():
            self._locks.setdefault(identity, reason)

    def classes(self, ids: Ids) -> tuple[int, ...]:
        """Return the class of every id."""
        return tuple(self.find(identity) for identity in ids.tolist())

    def locked_classes(self) -> dict[int, str]:
        """Return reason of every locked class."""
        return {self.find(identity): reason for identity, reason in reversed(self._locks.items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One index map: the channel classes that a layer produces, a layer reads or an activation holds."""

    name: str
    role: str
    classes: tuple[int, ...]


def group_channels(members: Sequence[Member], locked: Mapping[int, str]) -> tuple[ChannelGroup, ...]:
    """Sort all classes into groups whose classes appear in the same members equally often.

    A residual stream that is padded with zeros from stage to stage (option A of He et al., 2016) so becomes
    one group for each stage at which channels join it, and a share kept of a group fixes every shape.
    """
    signature: defaultdict[int, list[tuple[str, str, int]]] = defaultdict(list)
    for member in members:
        for identity, count in Counter(member.classes).items():
            signature[identity].append((member.role, member.name, count))
    by_signature: defaultdict[_Signature, list[int]] = defaultdict(list)
    for identity in sorted(signature):
        reason = locked.get(identity, "")
        producers = tuple(name for role, name, _ in signature[identity] if role == "produces")
        if not producers and not reason:
            reason = "no layer produces these channels"
        by_signature[reason, producers, tuple(signature[identity])].append(identity)
    unnamed = {member.name for member in members if member.role == "produces"}
    groups, names = [], Names(unnamed, between="#")
    for (reason, producers, _), classes in by_signature.items():
        base = producers[0] if producers else "input"
        own = producers and base in unnamed  # the first group that a layer makes is called as the layer is
        name = base if own else names.free(base)
        unnamed -= {name}
        groups.append(ChannelGroup(name=name, classes=tuple(classes), producers=producers, locked=reason))
    return tuple(groups)


def shares(classes: Iterable[int], groups: Sequence[ChannelGroup]) -> tuple[GroupCount, ...]:
    """Return (group index, channels for each class of the group) for all groups that an index map touches."""
    group_of = {identity: index for index, group in enumerate(groups) for identity in group.classes}
    counts = Counter(group_of[identity] for identity in classes)
    return tuple((index, count // groups[index].size) for index, count in sorted(counts.items()))
