"""What a search found, to look at, to choose from and to build."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, overload

import pandas as pd

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.errors import ExplorerError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import OBJECTIVES, costs_named, score_named
from explorer.progress import Notify, silent
from explorer.report.front.tables import build_front_frame
from explorer.session.compressed import Compressed, Origin, build, refuse_pickling
from explorer.session.devices import Device, find_device
from explorer.session.display import paragraph, table
from explorer.session.network import Net
from explorer.settings.rules import is_number, similar
from explorer.study.front import pick
from explorer.study.record import FLOAT, Cost, FrontPoint, Outcome, Split

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from explorer.referee.front import RefereedFront

OpenNet = Callable[[], Net]
"""Returns the network that was searched, its filters in the order that the search had them in."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """A member of a front: what was chosen, what it costs, and how it scores.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> result = explorer.search(net, trials=3, scores="l2")
        >>> point = result.front[0]
        >>> point.name, point.build()(torch.rand(1, 1, 8, 8)).shape
        ('p01', torch.Size([1, 10]))
    """

    found: FrontPoint
    outcome: Outcome
    open_net: OpenNet

    @property
    def name(self) -> str:
        """Its name on the front: "p01", "p02", ..."""
        return self.found.name

    @property
    def candidate(self) -> Candidate:
        """What is chosen for each layer and group."""
        return self.found.evaluation.candidate

    @property
    def cost(self) -> Cost:
        """What it costs on the device, layer by layer."""
        return self.found.evaluation.cost

    @property
    def score(self) -> MeanScore:
        """Its score on the search images, which chose it."""
        assert self.found.evaluation.score is not None  # a member of the front is scored
        return self.found.evaluation.score

    @property
    def held_out(self) -> MeanScore:
        """Its score on images that the search never saw."""
        return self.found.held_out

    @property
    def origin(self) -> Origin:
        """What a network that is built of it remembers."""
        study = str(self.outcome.study["study"]["name"])
        return Origin(point=self.found, study=study, device=self.outcome.device)

    def build(self) -> Compressed:
        """Return its network."""
        return build(self.open_net(), self.candidate, self.origin)

    __reduce__ = refuse_pickling

    def __repr__(self) -> str:
        """Return its name, its scores and its costs."""
        costs = ", ".join(
            f"{axis.key} {axis.value(self.cost, 0.0):.4g}" for axis in costs_named(self.outcome.objectives)
        )
        return f"{self.name}: {self.score.value:.2%} on search images, {self.held_out.value:.2%} held out; {costs}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Front:
    """The members of a front, the cheapest first.

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> result = explorer.search(net, trials=3, scores="l2")
        >>> result.front["cheapest"].name, "0.weight_bits" in result.front.to_frame()
        ('p01', True)
    """

    points: tuple[Point, ...]
    outcome: Outcome

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    @overload
    def __getitem__(self, choice: slice) -> tuple[Point, ...]: ...

    @overload
    def __getitem__(self, choice: SupportsIndex | str) -> Point: ...

    def __getitem__(self, choice: SupportsIndex | slice | str) -> Point | tuple[Point, ...]:
        """Return a point by its place, or by name: "knee", "accurate", "cheapest", "p07", or a digest's start."""
        if isinstance(choice, slice):
            return self.points[choice]
        if not isinstance(choice, str | SupportsIndex):
            raise ExplorerError(f"front: expected the place or the name of a point, received {choice!r}")
        if not self.points:
            raise ExplorerError("front: it is empty, since no candidate kept the budgets; relax them, and search again")
        if not isinstance(choice, str):
            if not -len(self) <= operator.index(choice) < len(self):
                raise ExplorerError(f"front: expected a place from 0 to {len(self) - 1}, received {choice!r}")
            return self.points[choice]
        try:
            found = pick(self.outcome.front, self.outcome.objectives, choice)
        except ExplorerError as error:
            raise ExplorerError(str(error).replace("--pick", "front")) from None
        return next(point for point in self.points if point.found is found)

    __reduce__ = refuse_pickling

    def __repr__(self) -> str:
        """Return a line for each point."""
        return "\n".join(map(repr, self.points)) or "an empty front"

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each point: scores, costs, and a column for every choice of every layer and group.

        A layer's columns are called as "conv1.weight_bits", the share kept of a group's filters as
        "conv1.filter_keep_ratio".
        """
        choices = pd.DataFrame([_choices(point.candidate) for point in self.points])
        return build_front_frame(self.outcome).join(choices).set_index("name")

    def _repr_html_(self) -> str:
        frame = build_front_frame(self.outcome)
        columns = [name for name in frame.columns if name.startswith(("name", "accuracy", "score"))]
        columns += [axis.key for axis in costs_named(self.outcome.objectives)]
        return table(columns, frame[columns].itertuples(index=False))


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

    __reduce__ = refuse_pickling

    @property
    def front(self) -> Front:
        """The points that no other one beats in everything."""
        points = (Point(found=point, outcome=self.outcome, open_net=self.open_net) for point in self.outcome.front)
        return Front(points=tuple(points), outcome=self.outcome)

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

    def model(self, choice: str = "knee") -> Compressed:
        """Return the network of a point, a `torch.nn.Module`; `choice` as in `front[choice]`."""
        return self.front[choice].build()

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
        return (
            f"points on the front: {len(self.front)}; trials: {self.outcome.provenance['trials']}\n"
            f"for {self.outcome.device_title}; images: {self.outcome.provenance['images']}"
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


def _choices(candidate: Candidate) -> dict[str, object]:
    keys = [field.name for field in fields(LayerChoice) if field.name not in {"layer", "codebook_granularity"}]
    chosen: dict[str, object] = {
        f"{choice.layer}.{key}": getattr(choice, key) for choice in candidate.layers for key in keys
    }
    chosen |= {f"{group}.filter_keep_ratio": ratio for group, ratio in candidate.filter_keep_ratio}
    return chosen if candidate.filters_by is None else {**chosen, "filters_by": candidate.filters_by}
