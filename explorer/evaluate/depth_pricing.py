"""What candidates of one network cost, whatever blocks they lack."""

from __future__ import annotations

from explorer.evaluate.known_entropies import GraphWithout, LayerEntropies
from explorer.evaluate.pricing import Pricing
from hwmodels import Accelerator


class DepthPricing:
    """A `Pricing` for the network without each set of blocks that candidates remove, made when it is asked for."""

    def __init__(
        self, graph_without: GraphWithout, accelerator: Accelerator, entropies: LayerEntropies | None = None
    ) -> None:
        self._graph_without, self._accelerator, self._entropies = graph_without, accelerator, entropies
        self._found: dict[tuple[str, ...], Pricing] = {}

    def without(self, removed: tuple[str, ...]) -> Pricing:
        """Return the prices of candidates that remove these blocks, and no others.

        Raises:
            CandidateError: A block that the network has not, or that cannot be removed.
        """
        if removed not in self._found:
            entropies = None if self._entropies is None else self._entropies.shortened(removed)
            self._found[removed] = Pricing(self._graph_without(removed), self._accelerator, entropies)
        return self._found[removed]
