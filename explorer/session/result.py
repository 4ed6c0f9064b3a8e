"""What a search found, to look at, to choose from and to build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.errors import ExplorerError
from explorer.objectives import OBJECTIVES, score_named
from explorer.progress import Notify, silent
from explorer.session.compressed import Compressed, refuse_pickling
from explorer.session.devices import Device, find_device
from explorer.session.display import paragraph
from explorer.session.front import Front, OpenNet, Point
from explorer.settings import BudgetSettings
from explorer.settings.rules import similar
from explorer.study.after_tuning import find_front_after_tuning
from explorer.study.choose import RECOMMENDED, ChosenNetwork, choose, recommend
from explorer.study.record import Outcome, Split
from explorer.study.requirements import Requirements
from explorer.study.retarget import make_study, retarget
from explorer.study.stored_run import read_run
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
        >>> result.best(max_loss=100.0).name
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

    def best(self, **wanted: float | str) -> Point:
        """Return the point that keeps all requirements and costs the least, or has the best score, of those that do.

        Requirements are `max_loss`, in points below the float network on the search images, a standard error
        included; `min_score`, a share; and of each cost the most, `max_energy`, `max_latency`, `max_weights`,
        `max_activations` and `max_coded_file`, as a number in the cost's unit (uJ, ms, bytes) or as a text such as
        "64KiB". `least` names the cost that is least then, by default the first of the search; where costs alone are
        limited the score decides. Of networks as they were searched; `recommended` knows fine-tuned ones, too.

        Raises:
            ExplorerError: What is asked for is not clear, or no point keeps it: then the nearest is named.

        Example:
            >>> import explorer, torch
            >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
            >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
            >>> result = explorer.search(net, trials=3, scores="l2")
            >>> result.best(max_loss=100.0, max_weights="64KiB").name
            'p01'
        """
        return self._point(choose(self.outcome, Requirements.read(wanted), tuned=False))

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
    def recommended(self) -> ChosenNetwork | None:
        """The cheapest network, tuned ones among them, within one point of the float network, and why.

        The point includes a standard error of the loss, unless nothing is lost. Where none is within, it is the one of
        the best score; None for an empty front.
        """
        return recommend(self.outcome)

    def model(self, choice: str = RECOMMENDED, *, tuned: bool | None = None) -> Compressed:
        """Return the network of a point, a `torch.nn.Module`; `choice` as in `front[choice]`.

        With `tuned` it is what `finetune` made of it; ExplorerError where it was not tuned. By default that is so where
        the recommended network is a tuned one.
        """
        point = self.front[choice]
        if tuned is None:
            recommended = self.recommended if choice == RECOMMENDED else None
            tuned = recommended is not None and recommended.tuned
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
        `explorer export --tuned`, too, and found there again; an interrupted call goes on after its last full epoch. Of
        an earlier tuning there and a new one that of less loss on images held aside is kept.

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

    def plot(self, cost: str = "energy", *, images: Split = "search", selected: str = RECOMMENDED) -> go.Figure:
        """Return a Plotly figure of the score against a cost, on "search" or "held_out" images."""
        from explorer.report.front.figures import draw_front  # noqa: PLC0415  (imports plotly)
        from explorer.report.front.pairs import build_pair_view  # noqa: PLC0415
        from explorer.report.front.views import build_front_view  # noqa: PLC0415

        if images not in ("search", "held_out"):
            raise ExplorerError(f'plot: images: expected "search" or "held_out", received {images!r}')
        chosen = self.front[selected].name if self.outcome.front else None
        pair = build_pair_view(build_front_view(self.outcome), self._objective(cost), images)
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

    def _point(self, chosen: ChosenNetwork) -> Point:
        return next(point for point in self.front if point.found is chosen.point)

    def _objective(self, name: str) -> str:
        known = [objective.name for objective in OBJECTIVES.values() if objective.is_cost]
        if name not in known:
            hint = similar(name, known)
            raise ExplorerError(
                f"cost: expected one of {', '.join(known)}, received {name!r}{f'; {hint}' if hint else ''}"
            )
        return name
