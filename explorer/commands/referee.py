"""The command that lets the device's own compiler judge a front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from explorer.commands.options import EthosProfile, RunFolder
from explorer.commands.progress import resumable
from explorer.commands.terminal import console, say, show_beside

if TYPE_CHECKING:
    from explorer.referee.front import RefereedFront

FIGURES = {"cycles": "cycles", "weight_bytes": "bytes", "sram_bytes": "SRAM"}


def referee(folder: RunFolder, device: EthosProfile = None) -> None:
    """Compile every member of the front with Vela, and say how far our order can be trusted; Ctrl-C loses one."""
    import hwmodels  # noqa: PLC0415
    from explorer.referee.vela import find_accelerator  # noqa: PLC0415
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    outcome = read_outcome(folder)
    accelerator = find_accelerator(outcome.device, None if device is None else hwmodels.load(device))
    with resumable(f"all compiled members are kept in {folder}") as notify:
        from explorer.referee.front import referee_run  # noqa: PLC0415  (imports torch)

        found = referee_run(outcome, folder, accelerator, notify)
    console.print(_member_table(found))
    say(f"our profile {found.device} beside {found.compiler}; ratios are ours / Vela's, SRAM is in bytes")
    if outcome.provenance.get("device digest") != accelerator.digest()[:16]:
        say(
            f"note: the run's own figures are of another profile, {outcome.device} ({outcome.device_title}); "
            "a file of yours is named by --device"
        )
    for member in found.members:
        if member.refused:
            say(f"refused: {member.name}: {member.refused}")
    for figure, name in FIGURES.items():
        say(_tell_order(found, figure, name))
    say(found.verdict())


def _member_table(found: RefereedFront) -> Table:
    table = Table("point", box=None, pad_edge=False)
    for name in ("bytes", "SRAM", "cycles"):
        for heading in (name, "Vela's", "ratio"):
            table.add_column(heading, justify="right", no_wrap=True)
    for member in found.members:
        ours, vela = member.ours, member.vela
        cells = [
            cell
            for figure in ("weight_bytes", "sram_bytes", "cycles")
            for cell in show_beside(getattr(ours, figure), getattr(vela, figure, None))
        ]
        table.add_row(member.name, *cells)
    return table


def _tell_order(found: RefereedFront, figure: str, name: str) -> str:
    agreement = found.agreement(figure)
    if agreement.tau is None:
        return f"{name}: no order, as {'our model' if agreement.pairs else 'Vela'} has all members as equal"
    pairs = f"{agreement.agreeing} of {agreement.pairs} pairs as Vela orders them"
    return f"{name}: Kendall's tau {agreement.tau:.2f}; {pairs}"
