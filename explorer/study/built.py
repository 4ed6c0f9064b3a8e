"""Networks that a search has built, kept for the end, so that those of its front are not built again."""

from __future__ import annotations

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.evaluate.engine import Runner

MOST, MOST_BYTES = 64, 2**28
"""Networks, and bytes of their tensors, that are kept (assumed)."""
COMPILED = 2
"""Times a network's tensors that it takes with the constants it is compiled to, about (assumed)."""


class BuiltNetworks:
    """The latest networks that were kept; those kept the longest go first."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: dict[str, tuple[CompressionContext, Runner, int]] = {}

    def keep(self, context: CompressionContext, candidate: Candidate, runner: Runner) -> None:
        """Keep what was built of a candidate."""
        tensors = (*runner.model.parameters(), *runner.model.buffers())
        self._kept[candidate.digest()] = context, runner, COMPILED * sum(tensor.nbytes for tensor in tensors)
        while len(self._kept) > self._most or sum(size for *_, size in self._kept.values()) > self._most_bytes:
            del self._kept[next(iter(self._kept))]

    def find(self, context: CompressionContext, candidate: Candidate) -> Runner | None:
        """Return what was built of a candidate in this very context, where it is still there."""
        known, runner, _ = self._kept.get(candidate.digest(), (None, None, 0))
        return runner if known is context else None
