"""What evaluates the candidates of a study in a process that shares nothing with the run but its folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from explorer.evaluate.sampling import SampleOrder
from explorer.study.folder import refuse_changes
from explorer.study.jobs import Evaluate, evaluate
from explorer.study.prepare import open_study
from explorer.study.sampling import make_entropies, make_scorer
from explorer.study.study_file import Study


def open_evaluate(study: Study, folder: Path, identity: Mapping[str, str], order: Mapping[str, Any]) -> Evaluate:
    """Return what evaluates candidates, with the study opened anew.

    Args:
        folder: Of the run, which has trained weights and relevance where the study asks for them.
        identity: What the run's evaluations depend on.
        order: Of the images, as the store keeps it.

    Raises:
        SearchError: What evaluations here depend on is not that, naming what differs.
    """
    prepared = open_study(study, folder)
    refuse_changes(folder, identity, prepared.identity())
    return partial(evaluate, make_scorer(prepared, SampleOrder.from_json(order)), make_entropies(prepared))
