"""What a compiler said of the members of a front, kept in the folder of their run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.referee.comparison import Figures
from explorer.study.folder import write_json
from hwmodels import Accelerator, evaluate, read_jobs

KEPT = "referee.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledMember:
    """The layers of a network as they are costed (text of `hwmodels.write_jobs`), and what the compiler makes of it.

    `refused` says why it has no figures.
    """

    layers: str
    vela: Figures | None
    refused: str = ""

    def by_model(self, accelerator: Accelerator) -> Figures:
        """Return our figures of it on a device."""
        jobs, tensors = read_jobs(self.layers)
        return Figures.by_model(evaluate(jobs, accelerator, tensors), accelerator)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `from_json`."""
        vela = self.vela
        figures = None if vela is None else [vela.weight_bytes, vela.sram_bytes, vela.cycles]
        return {"layers": json.loads(self.layers), "vela": figures, "refused": self.refused}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CompiledMember:
        """Return the member of `to_json` data; raises what reading such data raises."""
        vela = None
        if data["vela"] is not None:
            weight_bytes, sram_bytes, cycles = map(int, data["vela"])
            vela = Figures(weight_bytes=weight_bytes, sram_bytes=sram_bytes, cycles=cycles)
        layers = json.dumps(data["layers"])
        read_jobs(layers)  # raises where they are none
        return cls(layers=layers, vela=vela, refused=str(data["refused"]))


class KeptMembers:
    """Members by the digest of their candidates, in a file where a folder is given.

    What was found under other `conditions` is forgotten, and so is a file that cannot be read: it is made again.
    """

    def __init__(self, folder: Path | None, device: str, conditions: Mapping[str, str]) -> None:
        self._path = None if folder is None else folder / KEPT
        self._device, self._conditions = device, dict(conditions)
        self._others: dict[str, Any] = {}
        self.members: dict[str, CompiledMember] = {}
        self._read()

    def _read(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        try:
            devices = json.loads(self._path.read_text(encoding="utf-8"))["devices"]
            own = devices.pop(self._device, None)
            if own is not None and own["conditions"] == self._conditions:
                self.members = {key: CompiledMember.from_json(entry) for key, entry in own["members"].items()}
            self._others = {name: entry for name, entry in devices.items() if isinstance(entry, dict)}
        except (OSError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
            self.members = {}

    def keep(self, digest: str, member: CompiledMember) -> None:
        """Remember a member, on the disk as well."""
        self.members[digest] = member
        if self._path is not None:
            entries = {key: entry.to_json() for key, entry in self.members.items()}
            own = {"conditions": self._conditions, "members": entries}
            write_json(self._path, {"devices": {**self._others, self._device: own}})


def read_compiled(folder: Path, weights: str) -> dict[str, dict[str, CompiledMember]]:
    """Return the members that were compiled for each device, by the digests of their candidates.

    Those of a network with other weights are left out; a file that cannot be read holds none.
    """
    try:
        devices = json.loads((folder / KEPT).read_text(encoding="utf-8"))["devices"]
        return {
            device: {digest: CompiledMember.from_json(entry) for digest, entry in own["members"].items()}
            for device, own in devices.items()
            if own["conditions"].get("weights") == weights
        }
    except (OSError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
