"""What a run keeps so that its candidates can be priced on any device without torch: the graphs of its networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from explorer.compress.candidate import uniform
from explorer.errors import ExplorerError, SearchError
from explorer.evaluate.known_entropies import LayerEntropies
from explorer.files import replaced
from explorer.graph.layers import ModelGraph
from explorer.search.space import Depth

GRAPHS = "graphs.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGraphs:
    """The graphs of a run's network, by the blocks that are removed, the whole one first.

    `entropies` are those of the layers of the whole network at 8 bits, in their order and in bits a weight.
    """

    graphs: tuple[ModelGraph, ...]
    entropies: tuple[float, ...]

    @property
    def graph(self) -> ModelGraph:
        """That of the whole network."""
        return self.graphs[0]

    @property
    def depths(self) -> tuple[Depth, ...]:
        """What there is left to choose for in each network, where blocks are removed at all."""
        return tuple(map(Depth.of, self.graphs)) if len(self.graphs) > 1 else ()

    def without(self, removed: tuple[str, ...]) -> ModelGraph:
        """Return the graph without these blocks.

        Raises:
            SearchError: None was kept.
        """
        for graph in self.graphs:
            if set(graph.removed_blocks) == set(removed):
                return graph
        raise SearchError(f"{GRAPHS}: holds no network without {', '.join(removed)}; explorer run again writes it anew")


def keep_graphs(folder: Path, graphs: Sequence[ModelGraph], entropies: LayerEntropies) -> None:
    """Keep the graphs of a run's networks in its folder, the whole one first."""
    plain: Mapping[str, float] = entropies.of_candidate(uniform(graphs[0]))
    data = {
        "graphs": [graph.to_json() for graph in graphs],
        "entropies": [plain[name] for name in graphs[0].layer_names],
    }
    with replaced(folder / GRAPHS) as file:
        file.write(json.dumps(data, separators=(",", ":")).encode())


def read_graphs(folder: Path) -> KeptGraphs:
    """Return the graphs of a run's networks.

    Raises:
        SearchError: An earlier version kept none, or they cannot be read.
    """
    path = folder / GRAPHS
    if not path.is_file():
        raise SearchError(
            f"{path}: missing, and no other device can be priced without it: an earlier version made this run; "
            "run the study anew in another folder"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return KeptGraphs(
            graphs=tuple(ModelGraph.from_json(graph) for graph in data["graphs"]),
            entropies=tuple(map(float, data["entropies"])),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ExplorerError) as error:
        raise SearchError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); explorer run again writes it anew"
        ) from error
