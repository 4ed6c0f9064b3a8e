"""A search that goes on from a run on another device, or within other budgets: no network is scored twice."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from explorer.errors import SearchError
from explorer.progress import Notify
from explorer.search.seeds import Seed
from explorer.study.folder import locked, refuse_other_study
from explorer.study.prepare import open_study
from explorer.study.record import Outcome
from explorer.study.retarget import Retargeted
from explorer.study.run import Start, explore
from explorer.study.stored_run import StoredRun
from explorer.study.study_file import Study

KEPT = ("weights-*.pt", "relevance-*.npz", "blocks-*.json")
"""What a run has computed of its network: the same whatever the device."""
MAY_DIFFER = ("device", "budgets", "search", "engine")
"""Parts of what evaluations depend on that no score does; by another engine it is the same but for rounding."""


def go_on(
    source: Path, run: StoredRun, found: Retargeted, study: Study, trials: int, folder: Path, notify: Notify
) -> Outcome:
    """Search in `folder` on the device and within the budgets of `study`, and return what was found.

    The members of the front that the run in `source` has there come first, with the scores that are known, then the
    proposals, then what the sampler makes of these, `trials` candidates in all beside the members. One that the run has
    scored has that score. After an interruption the same call goes on.

    Raises:
        SearchError: The folder holds another search, or the network is not that of the run any more.
    """
    members = [
        Seed(candidate=point.evaluation.candidate, origin=f"front of {source.name}") for point in found.outcome.front
    ]
    proposed = [Seed(candidate=each.candidate, origin=f"proposed, {each.origin}") for each in found.proposals]
    study = replace(study, search=replace(study.search, trials=len(members) + trials))
    start = Start(
        seeds=(*members, *proposed),
        images=run.images,
        sample=run.sample,
        known={
            trial.candidate.digest(): replace(trial.result, beaten=False)
            for trial in run.trials
            if trial.result is not None and trial.score is not None
        },
    )
    with locked(folder):
        refuse_other_study(folder, study)
        for file in (file for pattern in KEPT for file in source.glob(pattern)):
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)
        prepared = open_study(study, folder, notify)
        _refuse_other_network(source, run.identity, prepared.identity())
        return explore(prepared, folder, notify, start)


def _refuse_other_network(source: Path, known: Mapping[str, str], identity: Mapping[str, str]) -> None:
    changed = sorted(key for key in identity.keys() | known.keys() if identity.get(key) != known.get(key))
    changed = [key for key in changed if key.partition(".")[0] not in MAY_DIFFER]
    if changed:
        details = "; ".join(f"{key} was {known.get(key)}, is {identity.get(key)}" for key in changed[:3])
        raise SearchError(
            f"{source}: its scores do not hold any more, since not the device alone is another ({details}); restore "
            "what it was searched with, or run the study anew"
        )
