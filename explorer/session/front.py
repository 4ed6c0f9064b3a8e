"""The members of a front, to look at, to choose from and to build."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import SupportsIndex, overload

import pandas as pd

from explorer.compress.candidate import Candidate
from explorer.errors import ExplorerError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import costs_named
from explorer.report.front.tables import build_front_frame
from explorer.session.compressed import Compressed, Origin, build, refuse_pickling
from explorer.session.display import table
from explorer.session.network import Net
from explorer.study.choose import choose
from explorer.study.record import Cost, FrontPoint, Outcome, TunedScores
from explorer.study.requirements import Requirements

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
        """Its score on the search images, which chose it; on a front after tuning that after it."""
        assert self.found.evaluation.score is not None  # a member of the front is scored
        return self.found.evaluation.score

    @property
    def held_out(self) -> MeanScore:
        """Its score on images that the search never saw; of no images where it was not scored on them."""
        return self.found.held_out

    @property
    def tuned(self) -> TunedScores | None:
        """What fine-tuning made of it: scores and cost; None where it was not tuned."""
        return self.found.tuned

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
        if self.found.untuned is not None:
            how = "predicted" if self.found.predicted else "measured"
            return f"{self.name}: {self.score!r} after tuning, {how}, {self.found.untuned.value:.2%} before; {costs}"
        held_out = f"{self.held_out.value:.2%} held out" if self.held_out.num_images else "not scored on held-out ones"
        return f"{self.name}: {self.score.value:.2%} on search images, {held_out}; {costs}"


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
        """Return a point by its place, or by name: "recommended", "knee", "accurate", "cheapest", "p07", or a digest.

        By requirements it is `Result.best`.
        """
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
            found = choose(self.outcome, Requirements(pick=choice)).point
        except ExplorerError as error:
            raise ExplorerError(str(error).replace("--pick", "front")) from None
        return next(point for point in self.points if point.found is found)

    __reduce__ = refuse_pickling

    def __repr__(self) -> str:
        """Return a line for each point."""
        return "\n".join(map(repr, self.points)) or "an empty front"

    def without_ties(self) -> Front:
        """Return those that the held-out images show to be better than every other one that costs no more."""
        front = tuple(point for point in self.outcome.front if not point.tied_with)
        points = tuple(each for each in self.points if not each.found.tied_with)
        return Front(points=points, outcome=replace(self.outcome, front=front))

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each point: scores, costs, marks, and a column for every choice of every layer and group.

        A layer's columns are called as "conv1.weight_bits", the share kept of a group's filters as
        "conv1.filter_keep_ratio"; kinds that the space leaves no choice of, and no point chooses, are left out. It is
        the table of front.csv.
        """
        return build_front_frame(self.outcome).set_index("name")

    def _repr_html_(self) -> str:
        frame = build_front_frame(self.outcome)
        columns = [name for name in frame.columns if name.startswith(("name", "accuracy", "score"))]
        columns += [axis.key for axis in costs_named(self.outcome.objectives)]
        return table(columns, frame[columns].itertuples(index=False))
