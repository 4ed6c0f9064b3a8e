"""All evaluations of a run as a study of Optuna whose parameters are their choices, for Optuna's dashboard.

A search stores no parameters: of 300 layers with 4 choices each they take 196 kB and 17 ms a trial in a journal, and
1.3 s in SQLite, where a packed candidate takes 6 kB and 1 ms (11 kB, 9 ms).
"""

from __future__ import annotations

import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from explorer.files import refuse_foreign, replaced
from explorer.objectives import objectives_named
from explorer.report.front.evaluations import tabulate_choices
from explorer.study.journal import Journal
from explorer.study.record import Evaluation, Outcome

NAMED = "choices of "
"""Beginning of the study's name, by which a file of ours is known."""
START = datetime(2000, 1, 1)
"""When the first evaluation is said to have been, and each a second after the one before: an outcome has no times."""


def write_optuna_study(outcome: Outcome, path: Path) -> None:
    """Write the evaluations to a journal, whole or not at all; what all of them choose alike is no parameter.

    What was never scored is pruned, or failed where it cannot be computed. Excesses of limits are constraints.

    Raises:
        ExportError: The file is there, and is no such journal.
        OSError: It cannot be written.
    """
    refuse_foreign({path: f'"{NAMED}'.encode()})
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = tabulate_choices([item.candidate for item in outcome.evaluations])
    distributions: dict[str, BaseDistribution] = {
        f"{axis.of} {axis.field}": CategoricalDistribution(axis.values) for axis in table.axes
    }
    directions = [
        StudyDirection.MINIMIZE if objective.is_cost else StudyDirection.MAXIMIZE
        for objective in objectives_named(outcome.objectives)
    ]
    names = {point.evaluation.number: point.name for point in outcome.front}
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        storage = JournalStorage(Journal(journal))
        study = storage.create_new_study(directions, NAMED + str(outcome.study["study"]["name"]))
        for item, row in zip(outcome.evaluations, table.rows.tolist(), strict=True):
            values = [axis.values[place] for axis, place in zip(table.axes, row, strict=True)]
            chosen = dict(zip(distributions, values, strict=True))
            told = {"evaluation": item.number, "origin": item.origin, "point": names.get(item.number, "")}
            trial = _make_trial(item, outcome.objectives, told)
            trial.params, trial.distributions = chosen, distributions
            storage.create_new_trial(study, template_trial=trial)
        with replaced(path) as file:
            file.write(journal.read_bytes())


def _make_trial(item: Evaluation, objectives: tuple[str, ...], told: dict[str, object]) -> FrozenTrial:
    score = math.nan if item.score is None else item.score.value
    values = [objective.value(item.cost, score) for objective in objectives_named(objectives)]
    done = all(map(math.isfinite, values))
    start = START + timedelta(seconds=item.number)
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.COMPLETE if done else TrialState.FAIL if item.failure else TrialState.PRUNED,
        value=None,
        values=values if done else None,
        datetime_start=start,
        datetime_complete=start + timedelta(seconds=1),
        params={},
        distributions={},
        user_attrs=told,
        system_attrs={"constraints": [sum(excess for _, excess in item.violations)]},
        intermediate_values={},
    )
