"""Searching from Python: a study made of arguments instead of a file, and runs found again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from explorer.errors import SearchError
from explorer.evaluate.score import ACCURACY, LIKENESS, Score
from explorer.objectives import SCORE, score_named
from explorer.progress import Notify, silent
from explorer.report.front.files import refuse_foreign_pages, write_pages
from explorer.session.devices import Device, find_device
from explorer.session.network import Net, net_of_study, refuse_other
from explorer.session.result import Result
from explorer.session.scores import Scores, find_scores
from explorer.settings import (
    BudgetSettings,
    DataSettings,
    DeviceSettings,
    ModelSettings,
    ObjectiveSettings,
    ScoreSettings,
    SearchSettings,
)
from explorer.settings import SpaceSettings as Space
from explorer.settings.records import read_record
from explorer.settings.sources import GIVEN
from explorer.study.finetune import reopen
from explorer.study.folder import locked, read_outcome, read_study, refuse_other_study
from explorer.study.prepare import PreparedStudy, digest_images, make_context, open_study, prepare_study
from explorer.study.record import Outcome
from explorer.study.run import EFFORT, Effort, explore
from explorer.study.study_file import Heading, Study, load_study
from explorer.study.weights import digest_state
from hwmodels import Accelerator

Open = Callable[[Path], PreparedStudy]


def search(  # noqa: PLR0913, PLR0917  (what, where, for what, and for how long)
    net: Net,
    space: Space | Mapping[str, Any] | None = None,
    device: Device = "bitfusion",
    objectives: Sequence[str] = ("accuracy", "energy"),
    scores: Scores | str = "deeplift",
    trials: int = 400,
    budgets: Mapping[str, float] | None = None,
    folder: str | Path | None = None,
    notify: Notify = silent,
    **settings: Any,
) -> Result:
    """Search the Pareto front of a network: accuracy, or what it is scored by, against costs on a device.

    `scores` order the filters and choose where the search starts. `budgets` are limits: `energy_uj`, `latency_ms`,
    `weight_bytes`, `activation_bytes`, `coded_bytes`, and the least score by its name (`accuracy`). With a folder
    everything is kept there, and the same call goes on after an interruption, or with more trials.
    `settings` are keys of [search]: `seeds`, `sampler`, `least_gain`, `population`, `beacons`.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> space = explorer.Space(weight_bits=(4, 8), filter_keep_ratio=(0.5, 1.0))
        >>> result = explorer.search(net, space, "bitfusion", trials=6, scores="l2")
        >>> len(result.outcome.evaluations), result.front.to_frame().loc[result.knee.name, "0.weight_bits"] in (4, 8)
        (6, True)
    """
    refuse_other(net)
    if isinstance(objectives, str) or not isinstance(objectives, Sequence):
        raise SearchError(
            f"objectives: expected a list of names, received {objectives!r}; give ('{net.score.name}', 'energy', ...)"
        )
    accelerator, found = find_device(device), find_scores(net, scores, notify)
    study = _make_study(
        net,
        accelerator,
        found,
        space=space if isinstance(space, Space) else read_record(Space, _mapping("space", space), "space"),
        objectives=objectives,
        budgets=_mapping("budgets", budgets),
        settings=read_record(SearchSettings, {"trials": trials, **settings}, "search"),
    )
    return _search(net, study, accelerator, found, None if folder is None else Path(folder), notify)


def load(folder: str | Path, net: Net | None = None, notify: Notify = silent) -> Result:
    """Return what a finished run found, of a study file or of `search`; of the latter, `net` builds its points.

    Example:
        >>> import explorer, tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     searched = explorer.search(net, trials=3, scores="l2", folder=folder)
        ...     explorer.load(folder).knee.name == searched.knee.name
        True
    """
    if net is not None:
        refuse_other(net)
    folder = Path(folder)
    outcome = read_outcome(folder)

    @cache
    def open_net() -> Net:
        study = read_study(folder)
        with locked(folder):
            if study.data.source != GIVEN:
                return net_of_study(reopen(outcome, folder, notify))
            if net is None:
                raise SearchError(
                    f"{folder}: {study.model.factory} and its images were given in Python; open them again, and load "
                    "the run with explorer.load(folder, net)"
                )
            _refuse_other_than_searched(net, outcome, folder)
            return replace(net, context=make_context(study, net.network, folder, notify)[0])

    return Result(outcome=outcome, open_net=open_net, folder=folder)


def run(study: Study | str | Path, folder: str | Path | None = None, notify: Notify = silent, jobs: int = 1) -> Result:
    """Run a study, or the study of a file or folder, and return what it found; in a folder it can be gone on with.

    So many `jobs`, processes of one thread each, evaluate its candidates: the front does not depend on how many.

    Example:
        >>> import explorer
        >>> from dataclasses import replace
        >>> study = explorer.load_study("digits")
        >>> study = replace(study, search=replace(study.search, trials=2, seeds=1))
        >>> explorer.run(study).outcome.device
        'bitfusion'
    """
    read = study if isinstance(study, Study) else load_study(study)
    return _run(read, None if folder is None else Path(folder), notify, Effort(jobs=jobs))


def _mapping(name: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise SearchError(f"{name}: expected names with their values, received {type(given).__name__}")
    return given or {}


def _make_study(
    net: Net,
    accelerator: Accelerator,
    scores: Scores,
    *,
    space: Space,
    objectives: Sequence[str],
    budgets: Mapping[str, float],
    settings: SearchSettings,
) -> Study:
    """Return the study that a search from Python is; no file can repeat it, since its network and images were given."""
    kind, data = type(net.network.model), net.data
    return Study(
        heading=Heading(name=net.name, title=f"{net.name} from Python", seed=net.seed),
        model=ModelSettings(factory=f"{kind.__module__}:{kind.__name__}", checkpoint=GIVEN),
        data=DataSettings(
            source=GIVEN,
            train=len(data.train),
            search=len(data.search),
            held_out=len(data.held_out),
            calibration=len(data.calibration),
            relevance=len(data.relevance),
            split_seed=net.seed,
        ),
        device=DeviceSettings(profile=accelerator.name),
        score=_score_settings(net.score),
        objectives=ObjectiveSettings(
            names=tuple(net.score.name if name == SCORE.name else name for name in objectives)
        ),
        budgets=BudgetSettings.read(budgets, net.score.name),
        space=space,
        quantizer=net.context.quantizer,
        relevance=scores.settings,
        search=settings,
    )


def _search(
    net: Net, study: Study, accelerator: Accelerator, scores: Scores, folder: Path | None, notify: Notify
) -> Result:
    """Search, in `folder` where one is given, and return what was found."""

    def opened(place: Path) -> PreparedStudy:
        return prepare_study(study, net.network, accelerator, place, notify, known=(scores.sample, scores.relevance))

    outcome, prepared = _explore(study, folder, opened, notify)
    return Result(outcome=outcome, open_net=lambda: replace(net, context=prepared.context), folder=folder)


def _run(study: Study, folder: Path | None, notify: Notify, effort: Effort) -> Result:
    """Run a study of a file, in `folder` where one is given, and return what was found."""
    outcome, prepared = _explore(study, folder, lambda place: open_study(study, place, notify), notify, effort)
    return Result(outcome=outcome, open_net=lambda: net_of_study(prepared), folder=folder)


def _explore(
    study: Study, folder: Path | None, opened: Open, notify: Notify, effort: Effort = EFFORT
) -> tuple[Outcome, PreparedStudy]:
    if folder is not None:
        refuse_foreign_pages(folder, study.score.called)
    with _place(folder) as place, locked(place):
        refuse_other_study(place, study)
        prepared = opened(place)
        outcome = explore(prepared, place, notify, effort=effort)
    if folder is not None:
        write_pages(outcome, folder)
    return outcome, prepared


def _score_settings(score: Score) -> ScoreSettings:
    """Return what the study says of a score; its function is known, though no file can load one that was given."""
    if score is ACCURACY:
        return ScoreSettings()
    if score is LIKENESS:
        return ScoreSettings(name=score.name)
    module = getattr(score.function, "__module__", "")
    where = module if module.replace(".", "").isidentifier() else "python"
    return ScoreSettings(function=f"{where}:{score.name}", name=score.name)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """Give a place where a search keeps what it has done: in the folder, or where nothing stays."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _refuse_other_than_searched(net: Net, outcome: Outcome, folder: Path) -> None:
    wanted = score_named(outcome.objectives).name
    if net.score.name != wanted:
        raise SearchError(
            f"{folder}: expected a network that is scored by {wanted}, as the search was, received one by "
            f"{net.score.name}; open it with that score"
        )
    for what, received in (("weights", digest_state(net.network.model)), ("images", digest_images(net.data))):
        searched = outcome.provenance.get(f"{what} digest")
        if searched != received:
            whose = "network" if what == "weights" else "network with the images"
            raise SearchError(
                f"{folder}: expected the {whose} that was searched ({what} digest {searched}), received another "
                f"({received}); open that one"
            )
