"""A network as it was handed over: a file, or the folder of an export, opened by the loader of its format."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from explorer.arrays import Float32Array
from explorer.errors import ExportError
from explorer.export.formats import FORMATS
from explorer.export.interface import InputCodes, OutputCodes
from explorer.export.stored_bytes import StoredBytes
from explorer.graph.inputs import Inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or an output of one image: its shape, channels first, and its type, both where the file says them."""

    name: str
    shape: tuple[int, ...] | None = None
    type: str = "float32"

    @classmethod
    def of(cls, codes: InputCodes | OutputCodes) -> Port:
        """Return what a file of integers reads or gives."""
        return cls(name=codes.name, shape=codes.shape, type=codes.tell())

    def __str__(self) -> str:
        shape = "" if self.shape is None else f"{' x '.join(map(str, self.shape))}, "
        return f"{self.name}: {shape}{self.type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A network that can be run, and what its files are.

    `run` takes inputs (N x ..., float32, normalised, channels first) and returns the outputs (N x ..., channels first)
    as the real numbers that they stand for; None where the format stores weights and no network. `layers` is a text
    of `hwmodels.read_jobs` where the file itself holds one.
    """

    form: str
    network: Path
    inputs: tuple[Port, ...]
    output: Port
    stored: StoredBytes
    run: Callable[[Inputs], Float32Array] | None
    layers: str = ""
    notes: tuple[str, ...] = ()


def open_artefact(path: Path) -> Artefact:
    """Open a file that an export wrote, whatever it is called, or the only network of a folder.

    Raises:
        ExportError: There is none, several are there, or it is damaged.
    """
    network = _find_network(path)
    form = next(name for name, entry in FORMATS.items() if entry.loader and _fits(entry.network, network))
    loader = importlib.import_module(FORMATS[form].loader)
    artefact: Artefact = loader.load(network)
    return artefact


def _find_network(path: Path) -> Path:
    names = [entry.network for entry in FORMATS.values() if entry.loader]
    if path.is_dir():
        found = [path / name for name in dict.fromkeys(names) if (path / name).is_file()]
        if len(found) == 1:
            return found[0]
        if found:
            told = ", ".join(file.name for file in found)
            raise ExportError(f"{path}: expected one network, received {told}; name the file")
        raise ExportError(f"{path}: holds no network of an export; expected one of {', '.join(dict.fromkeys(names))}")
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file or folder; give what explorer export wrote")
    if not any(_fits(name, path) for name in names):
        suffixes = ", ".join(dict.fromkeys(Path(name).suffix for name in names))
        raise ExportError(f"{path}: expected a file that ends in one of {suffixes}; give what explorer export wrote")
    return path


def _fits(network: str, file: Path) -> bool:
    return file.suffix.lower() == Path(network).suffix
