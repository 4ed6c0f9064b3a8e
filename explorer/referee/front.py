"""Compile every member of a front, and say how far our model can be trusted to order them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import explorer
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.digests import digest
from explorer.errors import ExportError
from explorer.export.deploy import find_format
from explorer.export.record import describe_layers
from explorer.progress import Notify
from explorer.referee.comparison import Figures
from explorer.referee.kept import CompiledMember, KeptMembers
from explorer.referee.order import OrderAgreement, compare_orders
from explorer.referee.vela import CompilerEndedError, compile_network, describe_configuration
from explorer.study.finetune import reopen
from explorer.study.folder import locked
from explorer.study.network import threads_for
from explorer.study.record import Outcome
from explorer.study.study_file import Study
from hwmodels import Accelerator

FORM, STAGE = "tflite", "compile"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereedMember:
    """A member's figures by our model and by the compiler, or why the latter has none."""

    name: str
    ours: Figures
    vela: Figures | None
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RefereedFront:
    """The members of a front, the cheapest first, by our profile `device` and by the compiler.

    Example:
        >>> from explorer.referee.comparison import Figures
        >>> def judge(name, ours, vela):
        ...     figures = [Figures(weight_bytes=size, sram_bytes=512, cycles=2000) for size in (ours, vela)]
        ...     return RefereedMember(name=name, ours=figures[0], vela=figures[1])
        >>> members = (judge("p01", 900, 1000), judge("p02", 909, 990), judge("p03", 1200, 1500))
        >>> front = RefereedFront(device="ethos_u55_128", compiler="Vela 5.2.0", members=members)
        >>> front.agreement("weight_bytes").agreeing
        2
        >>> front.verdict().partition("by bytes ")[2]
        'where two members differ by more than 1.0 %.'
    """

    device: str
    compiler: str
    members: tuple[RefereedMember, ...]

    @property
    def compiled(self) -> tuple[RefereedMember, ...]:
        """Those that the compiler took."""
        return tuple(member for member in self.members if member.vela is not None)

    def agreement(self, figure: str) -> OrderAgreement:
        """Return how the orders by "weight_bytes", "sram_bytes" or "cycles" agree."""
        pairs = [(getattr(member.ours, figure), getattr(member.vela, figure)) for member in self.compiled]
        return compare_orders([ours for ours, _ in pairs], [vela for _, vela in pairs])

    def verdict(self) -> str:
        """Return one sentence that says how far our model can be trusted to order this front."""
        if len(self.compiled) < 2:
            return "How far to trust our order of this front: one member was compiled, and has no order."
        cycles, size = (_tell_trust(self.agreement(figure)) for figure in ("cycles", "weight_bytes"))
        return f"How far to trust our order of this front: by cycles {cycles}, by bytes {size}."

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each member: both figures, and ours / Vela's."""
        rows = []
        for member in self.members:
            row: dict[str, object] = {"name": member.name}
            for figure in Figures.__dataclass_fields__:
                ours, vela = getattr(member.ours, figure), getattr(member.vela, figure, None)
                row |= {figure: ours, f"{figure}_vela": vela, f"{figure}_ratio": ours / vela if vela else None}
            rows.append({**row, "refused": member.refused})
        return pd.DataFrame(rows).set_index("name")

    def _repr_html_(self) -> str:
        return f"<p>{self.verdict()}</p>{self.to_frame().to_html()}"


def referee_run(outcome: Outcome, run: Path, accelerator: Accelerator, notify: Notify) -> RefereedFront:
    """Referee the front of the run in folder `run`, where what is compiled is kept.

    Raises:
        ExplorerError: As `referee_front`, and where model or data are no longer what was searched.
    """

    def opened() -> CompressionContext:
        with locked(run):
            return reopen(outcome, run, notify).context

    return referee_front(outcome, accelerator, opened, run, notify)


def referee_front(
    outcome: Outcome,
    accelerator: Accelerator,
    open_context: Callable[[], CompressionContext],
    folder: Path | None,
    notify: Notify,
) -> RefereedFront:
    """Price and compile the members of a front for an Ethos-U; those that were compiled before are not again.

    Args:
        open_context: Gives what the candidates are built from; called where one is to be compiled.
        folder: Where results are kept one by one, None for nowhere.

    Raises:
        ExportError: Where a package is missing, the device is none that Vela knows, the front is empty, or no member
            can be compiled.
    """
    compiler = describe_configuration(accelerator)
    if not outcome.front:
        raise ExportError(
            "referee: the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder"
        )
    essentials = digest(json.dumps(Study.from_json(outcome.study).essentials()))
    weights = outcome.provenance.get("weights digest", "")
    conditions = {"study": essentials, "weights": weights, "compiler": compiler, "explorer": explorer.__version__}
    kept = KeptMembers(folder, accelerator.name, conditions)
    candidates = [point.evaluation.candidate for point in outcome.front]
    if any(candidate.digest() not in kept.members for candidate in candidates):
        find_format(FORM, Path(tempfile.gettempdir()) / "none")  # is the package there?
        context = open_context()
        with nullcontext() if folder is None else locked(folder), threads_for(context.graph):
            _compile_all(context, candidates, accelerator, kept, notify)
    members = tuple(
        _judge(point.name, kept.members[candidate.digest()], accelerator)
        for point, candidate in zip(outcome.front, candidates, strict=True)
    )
    found = RefereedFront(device=accelerator.name, compiler=compiler, members=members)
    if not found.compiled:
        raise ExportError(f"referee: none of {len(members)} members can be compiled: {members[0].refused}")
    return found


def _compile_all(
    context: CompressionContext,
    candidates: Sequence[Candidate],
    accelerator: Accelerator,
    kept: KeptMembers,
    notify: Notify,
) -> None:
    missing = {each.digest(): each for each in candidates if each.digest() not in kept.members}
    for done, (key, candidate) in enumerate(missing.items()):
        notify(STAGE, done, len(missing))
        kept.keep(key, _compile(context, candidate, accelerator))
    notify(STAGE, len(missing), len(missing))


def _compile(context: CompressionContext, candidate: Candidate, accelerator: Accelerator) -> CompiledMember:
    context = context.shortened(candidate.removed_blocks)
    model = apply(context, candidate)
    layers = describe_layers(model, context.graph, candidate)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = find_format(FORM, Path(folder)).try_out(model, context, Path(folder))
            compiled = compile_network(path, accelerator)
        except CompilerEndedError:
            raise  # not kept: it is no refusal
        except ExportError as error:
            return CompiledMember(layers=layers, vela=None, refused=str(error))
    return CompiledMember(layers=layers, vela=Figures.by_vela(compiled))


def _judge(name: str, member: CompiledMember, accelerator: Accelerator) -> RefereedMember:
    return RefereedMember(name=name, ours=member.by_model(accelerator), vela=member.vela, refused=member.refused)


def _tell_trust(agreement: OrderAgreement) -> str:
    if agreement.tau is None:
        return "nowhere (it has all members as equal)" if agreement.pairs else "anyhow (Vela has all members as equal)"
    if agreement.agreeing == agreement.pairs:
        return "everywhere"
    if agreement.tau <= 0:
        return f"nowhere (Kendall's tau is {agreement.tau:.2f})"
    return f"where two members differ by more than {100 * agreement.widest:.1f} %"
