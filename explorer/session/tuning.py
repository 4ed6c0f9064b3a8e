"""Training a point of the design space further, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from explorer.compress.candidate import Candidate
from explorer.errors import ExplorerError
from explorer.progress import Notify, silent
from explorer.report.front.files import write_pages
from explorer.session.compressed import Compressed, Origin, remember
from explorer.session.front import Point
from explorer.session.network import Net
from explorer.session.points import Chosen, find_candidate, find_net, find_origin
from explorer.session.result import Result
from explorer.session.scores import Scores
from explorer.settings import FineTuningSettings
from explorer.settings.records import read_record, write_record
from explorer.study.better_tuned import list_other_conditions
from explorer.study.finetune import TuningPlace, read_tuned
from explorer.study.folder import locked
from explorer.study.front import spread
from explorer.study.network import threads_for
from explorer.study.record import FrontPoint
from explorer.study.study_file import Study, load_accelerator
from explorer.study.weights import digest_state
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune as train_further
from explorer.training.loss import CROSS_ENTROPY, Loss, LossFunction, find_loss
from explorer.training.tuned import Tuned, rebuild
from explorer.user_code import digest_code
from hwmodels import Accelerator


def finetune(
    net: Net,
    point: Chosen,
    epochs: int | None = None,
    scores: Scores | str | None = None,
    *,
    loss: LossFunction | None = None,
    start: Compressed | None = None,
    file: str | Path | None = None,
    notify: Notify = silent,
    **settings: Any,
) -> Compressed:
    """Return the network of a point, trained further on the training images with the float network as teacher.

    `settings` are keys of [finetuning] in a study file, such as `learning_rate`. It begins at the float network, or
    at what an earlier `start` of the same filters was tuned to. With a `file` the result is kept there, and found
    there again; an interrupted training goes on after its last full epoch, and a file of another tuning is refused.
    `loss` is a function of (outputs, targets) that gives one number; cross entropy where there is none.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> tuned = explorer.finetune(net, explorer.uniform(net, weight_bits=2), epochs=1)
        >>> tuned.finetuning["epochs"]
        1
    """
    given = settings if epochs is None else {"epochs": epochs, **settings}
    wanted = read_record(FineTuningSettings, given, "finetuning")
    kept = None if file is None else Path(file)
    if kept is not None and kept.is_dir():
        raise ExplorerError(f"file: expected the name of a file, received the folder {kept}")
    trained = find_net(net, point, scores)
    recipe = _make_recipe(trained, wanted, loss, kept)
    return _tune(trained, find_candidate(point), find_origin(point), recipe, start, kept, notify)


def finetune_front(
    result: Result,
    points: int | str | Sequence[str] | None,
    epochs: int | None,
    loss: LossFunction | None,
    notify: Notify,
    given: Mapping[str, Any],
) -> Result:
    """Return a result with members of its front tuned, as `Result.finetune` says."""
    outcome, chosen = result.outcome, _choose_points(result, points)
    study = Study.from_json(outcome.study)
    values = {**write_record(study.finetuning), **given} | ({} if epochs is None else {"epochs": epochs})
    settings = read_record(FineTuningSettings, values, "finetuning")
    net = result.open_net()
    with nullcontext() if result.folder is None else locked(result.folder):
        place = TuningPlace(
            context=net.context,
            data=net.data,
            torch_device=net.network.torch_device,
            score=net.score,
            seed=net.seed,
            weights_digest=outcome.provenance["weights digest"],
            settings=settings,
            loss=_find_loss(net, settings, loss),
            accelerator=_find_accelerator(outcome.device, study),
            batch_size=study.compute.batch_size,
            folder=result.folder,
        )
        reports = place.tune(chosen, notify)
    made = {report.point.name: report for report in reports}
    front = tuple(
        replace(point, tuned=made[point.name].scores) if point.name in made else point for point in outcome.front
    )
    found = {report.point.evaluation.candidate.digest(): report.tuned for report in reports}
    outcome = replace(outcome, front=front)
    if result.folder is not None:
        write_pages(outcome, result.folder)
    return replace(result, outcome=outcome, networks={**result.networks, **found})


def build_tuned(result: Result, point: Point) -> Compressed:
    """Return what fine-tuning made of a member of the front."""
    net, candidate = result.open_net(), point.candidate
    tuned = result.networks.get(candidate.digest())
    if tuned is None:
        if result.folder is None:
            raise ExplorerError(f"{point.name}: it is not fine-tuned; result.finetune({[point.name]}) tunes it")
        tuned = read_tuned(result.folder, point.found, result.outcome.provenance["weights digest"])
    with threads_for(net.graph):
        return remember(rebuild(net.context, candidate, tuned), net, candidate, point.origin, tuned)


def _choose_points(result: Result, points: int | str | Sequence[str] | None) -> tuple[FrontPoint, ...]:
    """Return members of a front in its order: all, so many spread over it, or those that are named."""
    if points is None or not len(result.front):
        return result.outcome.front
    if isinstance(points, int) and not isinstance(points, bool):
        if points < 1:
            raise ExplorerError(f"points: expected how many from 1, or names of points, received {points}")
        return spread(result.outcome.front, result.outcome.objectives, points)
    if not isinstance(points, str | Sequence):
        raise ExplorerError(f"points: expected how many from 1, or names of points, received {points!r}")
    named = {result.front[name].name for name in ((points,) if isinstance(points, str) else points)}
    return tuple(point for point in result.outcome.front if point.name in named)


def _find_accelerator(device: str, study: Study) -> Accelerator | None:
    """Return the device of a search; None where it was given in Python and is known by no name."""
    try:
        found = load_accelerator(study)
    except ExplorerError:
        return None
    return found if found.name == device else None


def _tune(
    net: Net,
    candidate: Candidate,
    origin: Origin | None,
    recipe: Recipe[FineTuningSettings],
    start: Compressed | None,
    file: Path | None,
    notify: Notify,
) -> Compressed:
    """Return the network of a candidate, trained further on the network's training images."""
    train = net.data.train
    conditions = {
        **write_record(recipe.settings),
        "seed": net.seed,
        "loss code": recipe.loss.code,
        "weights": digest_state(net.network.model),
        "train": train.digest(),
        "start": None if start is None else digest_state(start),
    }
    with threads_for(net.graph):
        tuned = _find_tuned(file, candidate, conditions)
        if tuned is None:
            tuned = train_further(
                net.context,
                candidate,
                *net.tensors(train),
                recipe,
                start=None if start is None else start.tuned,
                progress=lambda done, count, _: notify("fine-tune, batches", done, count),
            )
            tuned = replace(tuned, description={**tuned.description, **conditions})
            if file is not None:
                tuned.save(file)
                recipe.forget()
        return remember(rebuild(net.context, candidate, tuned), net, candidate, origin, tuned)


def _make_recipe(
    net: Net, settings: FineTuningSettings, loss: LossFunction | None, file: Path | None
) -> Recipe[FineTuningSettings]:
    """Return how a network is trained further; ModelError where its targets need a loss, and there is none."""
    unfinished = None if file is None else file.with_suffix(".unfinished")
    return Recipe(settings=settings, seed=net.seed, loss=_find_loss(net, settings, loss), unfinished=unfinished)


def _find_loss(net: Net, settings: FineTuningSettings, loss: LossFunction | None) -> Loss:
    if loss is not None:
        return Loss(name=f"loss: {getattr(loss, '__name__', 'loss')!r}", function=loss, code=digest_code(loss))
    if settings.loss is None and settings.teacher and settings.teacher_weight == 1.0:
        return CROSS_ENTROPY  # counts nothing
    return find_loss(settings.loss, ".", "loss", net.data.num_classes, "set teacher_weight=1.0")


def _find_tuned(file: Path | None, candidate: Candidate, conditions: Mapping[str, Any]) -> Tuned | None:
    """Return what a file holds; ExplorerError where that is another point, or was tuned under other conditions."""
    if file is None or not file.is_file():
        return None
    found = Tuned.load(file)
    others = list_other_conditions(found.description, conditions)
    if found.candidate != candidate.digest():
        others = ["point", *others]
    if others:
        raise ExplorerError(
            f"file: {file} holds a network that was tuned with another {', '.join(others)}; name another file, or "
            "delete it to tune anew"
        )
    return found
