"""What a search found, to look at, to choose from and to build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.errors import ExplorerError
from explorer.objectives import OBJECTIVES, costs_named, score_named
from explorer.progress import Notify, silent
from explorer.session.compressed import Compressed, refuse_pickling
from explorer.session.devices import Device, find_device
from explorer.session.display import paragraph
from explorer.session.front import Front, OpenNet, Point
from explorer.settings import BudgetSettings
from explorer.settings.rules import is_number, similar
from explorer.study.after_tuning import find_front_after_tuning
from explorer.study.recommend import Recommendation, recommend
from explorer.study.record import FLOAT, Outcome, Split
from explorer.study.retarget import make_study, read_run, retarget
from explorer.training.loss import LossFunction
from explorer.training.tuned import Tuned

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from explorer.referee.front import RefereedFront


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What a search found: its front, next to the float and the uniform 8-bit network.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> result = explorer.search(net, trials=3, scores="l2")
        >>> result.model("knee").size_bytes == result.knee.build().size_bytes
        True
        >>> result.best(max_loss=1.0).name
        'p01'
        >>> result.plot("energy").layout.xaxis.title.text.startswith("Energy per image")
        True
    """

    outcome: Outcome
    open_net: OpenNet
    folder: Path | None = None
    """Where it is kept, None where it is not."""
    networks: Mapping[str, Tuned] = field(default_factory=dict)
    """What members of the front were tuned to, by the digest of the candidate, where that is not in the folder."""

    __reduce__ = refuse_pickling

    @property
    def front(self) -> Front:
        """The points that no other one beats in everything."""
        points = (Point(found=point, outcome=self.outcome, open_net=self.open_net) for point in self.outcome.front)
        return Front(points=tuple(points), outcome=self.outcome)

    def front_after_tuning(self) -> Front:
        """Return the points that no other one would beat in everything after an epoch of tuning, the cheapest first.

        Their scores are those on search images after it: measured of the beacons, and predicted from these of all
        others. Costs are those before tuning. The search has to be one with `beacons`.

        Raises:
            ExplorerError: No candidate of the search was tuned.

        Example:
            >>> import explorer, torch
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
            >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
            >>> result = explorer.search(net, trials=3, scores="l2", beacons=2)
            >>> result.front_after_tuning()[0].name
            't01'
        """
        outcome = replace(self.outcome, front=find_front_after_tuning(self.outcome))
        points = (Point(found=point, outcome=outcome, open_net=self.open_net) for point in outcome.front)
        return Front(points=tuple(points), outcome=outcome)

    @property
    def knee(self) -> Point:
        """The point nearest to the best of all objectives at once."""
        return self.front["knee"]

    def best(self, max_loss: float | None = None, *, cost: str | None = None, **named: float) -> Point:
        """Return the cheapest point whose score is at most so far below the float network's, on the search images.

        `max_loss` is absolute, in [0, 1], and may also be given by the score's name, as `max_accuracy_loss`. `cost`
        names the objective that is least; the first of the search by default.

        Raises:
            ExplorerError: an unknown name, or no point of the front loses so little.
        """
        key = f"max_{self.score_name}_loss"
        unknown = [name for name in named if name != key]
        if unknown or (max_loss is None) == (key not in named):
            received = ", ".join(unknown) or ("both" if named else "none of them")
            raise ExplorerError(f"best: expected max_loss or {key}, received {received}")
        limit = named[key] if max_loss is None else max_loss
        if not is_number(limit) or limit > 1:
            raise ExplorerError(f"best: expected a loss of at most 1, such as 0.01 for 1 %, received {limit!r}")
        objective = self._objective(cost or costs_named(self.outcome.objectives)[0].name)
        baseline = self.outcome.baseline(FLOAT).search.value
        losses = [(baseline - point.score.value, point) for point in self.front]
        good = [point for loss, point in losses if loss <= limit]
        if not good:
            least = min(losses, key=lambda entry: entry[0], default=None)
            nearest = "the front is empty" if least is None else f"the least loss is {least[0]:.4f}, of {least[1].name}"
            raise ExplorerError(f"best: no point of the front loses at most {limit} of {self.score_name}; {nearest}")
        return min(good, key=lambda point: OBJECTIVES[objective].value(point.cost, 0.0))

    @property
    def score_name(self) -> str:
        """What the score is called, such as "accuracy"."""
        return score_named(self.outcome.objectives).name

    def retarget(self, device: Device | None = None, budgets: Mapping[str, float] | None = None) -> Result:
        """Return the front on another device, or within other budgets, from the scores that there are.

        Nothing is evaluated: members that were on no front have a held-out score of no images. `budgets` are keyed as
        for `explorer.search`; those that are not stated stay, on another device only that of the score.

        Raises:
            ExplorerError: The search has no folder, from whose files that is done.
        """
        if self.folder is None:
            raise ExplorerError("retarget: the search kept nothing; give it a folder: explorer.search(..., folder=...)")
        run, accelerator = read_run(self.folder), None if device is None else find_device(device)
        limits = BudgetSettings.read(budgets or {}, self.score_name).limits
        study = make_study(run.study, None if accelerator is None else accelerator.name, dict(limits))
        outcome = retarget(run, study, accelerator).outcome
        return Result(outcome=outcome, open_net=self.open_net, networks=self.networks)

    @property
    def recommended(self) -> Recommendation | None:
        """The cheapest network, tuned ones among them, within one point or a standard error of the float network."""
        return recommend(self.outcome)

    def model(self, choice: str = "knee", *, tuned: bool = False) -> Compressed:
        """Return the network of a point, a `torch.nn.Module`; `choice` as in `front[choice]`.

        With `tuned` it is what `finetune` made of it; ExplorerError where it was not tuned.
        """
        point = self.front[choice]
        if not tuned:
            return point.build()
        from explorer.session.tuning import build_tuned  # noqa: PLC0415  (needs the points of this module)

        return build_tuned(self, point)

    def finetune(
        self,
        points: int | str | Sequence[str] | None = None,
        epochs: int | None = None,
        *,
        loss: LossFunction | None = None,
        notify: Notify = silent,
        **settings: Any,
    ) -> Result:
        """Return the result with members of the front trained further: so many spread over it, those named, or all.

        `settings` are keys of [finetuning], by default those of the study. In a folder the networks are kept, for
        `explorer export --tuned`, too, and found there again; an interrupted call goes on after its last full epoch.

        Example:
            >>> import explorer, torch
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
            >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
            >>> result = explorer.search(net, trials=3, scores="l2").finetune(points=1, epochs=1)
            >>> tuned = [point for point in result.front if point.tuned is not None]
            >>> len(tuned), result.model(tuned[0].name, tuned=True).finetuning["epochs"]
            (1, 1)
        """
        from explorer.session.tuning import finetune_front  # noqa: PLC0415  (needs the points of this module)

        return finetune_front(self, points, epochs, loss, notify, settings)

    def plot(self, cost: str = "energy", *, images: Split = "search", selected: str = "knee") -> go.Figure:
        """Return a Plotly figure of the score against a cost, on "search" or "held_out" images."""
        from explorer.report.front.figures import draw_front  # noqa: PLC0415  (imports plotly)
        from explorer.report.front.pairs import build_pair_view  # noqa: PLC0415
        from explorer.report.front.views import build_front_view  # noqa: PLC0415

        if images not in ("search", "held_out"):
            raise ExplorerError(f'plot: images: expected "search" or "held_out", received {images!r}')
        chosen = self.front[selected].name if self.outcome.front else None
        pair = build_pair_view(build_front_view(self.outcome, chosen), self._objective(cost), images)
        return draw_front(pair, chosen)

    def summary(self) -> str:
        """Return lines that say what was searched, and what came out."""
        compensation = self.outcome.provenance.get("compensation")
        return (
            f"points on the front: {len(self.front)}; trials: {self.outcome.provenance['trials']}\n"
            f"for {self.outcome.device_title}; images: {self.outcome.provenance['images']}"
            + (f"\ncompensation: {compensation}" if compensation else "")
        )

    def __repr__(self) -> str:
        """Return the summary."""
        return self.summary()

    def _repr_html_(self) -> str:
        return paragraph(self.summary()) + self.front._repr_html_()

    def referee(self, device: Device | None = None, *, notify: Notify = silent) -> RefereedFront:
        """Return the front as Vela, Arm's compiler for the Ethos-U, judges it, and how far our order can be trusted.

        Every member is compiled for an Ethos-U profile: the given one, or the device of the search, or else
        "ethos_u55_128"; results are kept in the folder. Takes the packages of the extras `[tflite]` and `[ethos]`.

        Raises:
            ExplorerError: Another device, a missing package, or no member that can be compiled.
        """
        from explorer.referee.front import referee_front  # noqa: PLC0415
        from explorer.referee.vela import find_accelerator  # noqa: PLC0415

        accelerator = find_accelerator(self.outcome.device, None if device is None else find_device(device))
        return referee_front(self.outcome, accelerator, lambda: self.open_net().context, self.folder, notify)

    def _objective(self, name: str) -> str:
        known = [objective.name for objective in OBJECTIVES.values() if objective.is_cost]
        if name not in known:
            hint = similar(name, known)
            raise ExplorerError(
                f"cost: expected one of {', '.join(known)}, received {name!r}{f'; {hint}' if hint else ''}"
            )
        return name
