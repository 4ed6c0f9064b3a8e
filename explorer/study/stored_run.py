"""What the folder of a run holds, finished or not: its evaluations, and the scores of single images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.arrays import Float64Array
from explorer.compress.candidate import uniform
from explorer.evaluate.image_scores import unpack_scores
from explorer.evaluate.known_entropies import KnownEntropies, reads_entropies
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.sampling import restore_order
from explorer.search.space import SearchSpace, make_search_space
from explorer.study.folder import OUTCOME, locked, read_outcome, read_study, refuse_no_run
from explorer.study.graphs import KeptGraphs, read_graphs
from explorer.study.record import Evaluation, Outcome
from explorer.study.storage import read_store
from explorer.study.study_file import Study
from explorer.study.trials import StoredTrial
from hwmodels import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """What a run holds, finished or not: its study, its networks, what it evaluated, and scores of what is no trial.

    `former` is what it concluded with, None where it was interrupted.
    """

    study: Study
    graphs: KeptGraphs
    trials: tuple[StoredTrial, ...]
    images: Mapping[str, str]
    """Packed scores of what is no trial, as the store keeps them."""
    sample: Mapping[str, Any]
    """The order in which images are scored."""
    identity: Mapping[str, str]
    """What its evaluations depend on, each part by name."""
    former: Outcome | None

    @property
    def space(self) -> SearchSpace:
        """The space that was searched."""
        study = self.study
        granularity, method = study.sharing.codebook_granularity, study.relevance.method
        return make_search_space(self.graphs.graph, study.space, granularity, method, self.graphs.depths)

    def list_images(self, split: str) -> dict[str, Float64Array]:
        """Return the scores of the images of a split (N) by network: keys are split/images/network, and more behind."""
        parts = [(key.split("/"), images) for key, images in self.images.items()]
        return {name: unpack_scores(images) for (of, _, name, *_), images in reversed(parts) if of == split}

    def list_scores(self, split: str) -> dict[str, MeanScore]:
        """Return the mean scores of networks on the images of a split."""
        return {name: MeanScore.of(images) for name, images in self.list_images(split).items()}

    def list_search_images(self) -> dict[str, Float64Array]:
        """Return what networks scored on all images of the search (N), in the form that it scores them in."""
        parts = [(key.split("/"), images) for key, images in self.images.items() if key.startswith("search/")]
        return {of[2]: unpack_scores(images) for of, images in parts if len(of) == 3}

    def find_search_images(self, item: Evaluation) -> Float64Array | None:
        """Return what a candidate scored on all images of the search (N), None where not all are known."""
        own = self.list_search_images().get(item.candidate.digest())
        result = next(trial.result for trial in self.trials if trial.number == item.number)
        return restore_order(result.images, self.sample) if own is None and result is not None and self.sample else own

    def list_full_scores(self) -> dict[str, MeanScore]:
        """Return the mean scores of these."""
        return {name: MeanScore.of(images) for name, images in self.list_search_images().items()}

    def entropies_for(self, accelerator: Accelerator) -> KnownEntropies | None:
        """Return the entropies that are known, where a device reads weights coded by them."""
        if not reads_entropies(accelerator):
            return None
        known = [(trial.candidate, trial.entropies) for trial in self.trials if trial.entropies is not None]
        plain = (uniform(self.graphs.graph), self.graphs.entropies)
        return KnownEntropies.of(self.graphs.without, [plain, *known])


def read_run(folder: Path) -> StoredRun:
    """Return what a run has found so far.

    Raises:
        SearchError: No run was made there, another process is at it, or an earlier version made it.
    """
    refuse_no_run(folder)
    study, graphs = read_study(folder), read_graphs(folder)
    with locked(folder):
        store = read_store(folder, study)
        trials, images, identity = store.stored(), store.image_scores(), store.identity()
        sample = store.sample() or {}
    return StoredRun(
        study=study,
        graphs=graphs,
        trials=trials,
        images=images,
        sample=sample,
        identity=identity,
        former=read_outcome(folder) if (folder / OUTCOME).is_file() else None,
    )
