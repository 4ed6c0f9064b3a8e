"""Compile a TensorFlow Lite file with Vela, Arm's compiler for the Ethos-U, and read what it says of the result."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from explorer.errors import ExportError
from hwmodels import Accelerator, load, names

SYSTEM = "Ethos_U55_High_End_Embedded"
"""Of Vela's own vela.ini: 500 MHz, SRAM at 4 GB/s, flash at 0.5 GB/s, as in the profiles of hwmodels."""
SHARED_SRAM, SRAM_ONLY = "Shared_Sram", "Sram_Only"
"""Memory modes of vela.ini: weights in flash, or beside the activations."""
DEFAULT_DEVICE = "ethos_u55_128"
KIB = 1024
_PROFILE = re.compile(r"ethos_u55_(32|64|128|256)(_\w+)?")
"""What a device profile is called that Vela compiles for; the number is that of its MACs."""
_ENDED = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
"""Signals that come from outside, as where memory is short; of its own a process crashes by others."""
_NAME = "network"
_CONSTANTS = "Tensor Allocation for read-only NPU tensors"
_ALLOCATED = re.compile(r"\s*\d+ +- +\d+: +0x[0-9a-f]+ - +0x[0-9a-f]+: +(\d+): +\d+: .*? *: (.+)")
"""A line of an allocation: times, addresses, bytes, bytes in use, format, and the name of the tensor."""


class CompilerEndedError(ExportError):
    """Vela was ended from outside, which says nothing of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of the compiled network, named after the tensor that it writes; what it is fused with takes none."""

    name: str
    kind: str
    cycles: int
    on_npu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What Vela made of a network: bytes of coded constants and of SRAM, and its estimate of clock cycles.

    `constants` are (tensor, bytes) of what is stored: weights with their biases and scales, and tables.
    """

    weight_bytes: int
    sram_bytes: int
    cycles: int
    operators: tuple[Operator, ...]
    constants: tuple[tuple[str, int], ...]


def find_version() -> str:
    """Return Vela's version.

    Raises:
        ExportError: Where it is not installed.
    """
    try:
        if importlib.util.find_spec("ethosu") is not None:
            return version("ethos-u-vela")
    except PackageNotFoundError:
        pass
    raise ExportError("vela: ethos-u-vela is not installed; install it with: pip install 'ethos-u-vela>=5.2'")


def find_configuration(accelerator: Accelerator) -> tuple[str, str]:
    """Return Vela's accelerator configuration, and the memory mode that keeps weights where a profile does.

    Raises:
        ExportError: Where it compiles for no such device.
    """
    match = _PROFILE.fullmatch(accelerator.name)
    if match is None:
        raise ExportError(f"device: Vela compiles for {', '.join(list_profiles())}, received {accelerator.name!r}")
    return f"ethos-u55-{match[1]}", SRAM_ONLY if has_weights_in_sram(accelerator) else SHARED_SRAM


def list_profiles() -> list[str]:
    """Return the names of the devices that come along and that Vela compiles for."""
    return [name for name in names() if _PROFILE.fullmatch(name)]


def has_weights_in_sram(accelerator: Accelerator) -> bool:
    """Return whether weights are kept where activations are."""
    return accelerator.find_memory("weights") == accelerator.find_memory("inputs")


def find_accelerator(device: str, given: Accelerator | None) -> Accelerator:
    """Return the given profile, or that of a device where Vela compiles for it, or else DEFAULT_DEVICE."""
    return given or load(device if device in list_profiles() else DEFAULT_DEVICE)


def describe_configuration(accelerator: Accelerator) -> str:
    """Return version and settings of the compiler for an Ethos-U."""
    return f"Vela {find_version()} ({', '.join((*find_configuration(accelerator), SYSTEM))})"


def compile_network(path: Path, accelerator: Accelerator) -> Compiled:
    """Compile a file for an Ethos-U, in a temporary folder and a process of its own.

    Raises:
        CompilerEndedError: Where it is ended from outside.
        ExportError: Where Vela is missing, has no such device, refuses the file, or runs none of it on the NPU.
    """
    find_version()
    configuration, memory_mode = find_configuration(accelerator)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / f"{_NAME}.tflite")
        done = subprocess.run(
            _command(configuration, memory_mode),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if -done.returncode in _ENDED:
            ended = signal.Signals(-done.returncode).name
            raise CompilerEndedError(
                f"vela: was ended from outside ({ended}) while it compiled {path.name}; "
                "give the same command again, where memory was short with more of it"
            )
        if done.returncode:
            raise ExportError(f"vela: {path.name} cannot be compiled: {_reason(done)}")
        return _read(Path(folder), done.stdout, path, memory_mode == SRAM_ONLY)


def _command(configuration: str, memory_mode: str) -> list[str]:
    # -P: nothing in the folder is taken for a module.
    options = {"--accelerator-config": configuration, "--config": "Arm/vela.ini", "--system-config": SYSTEM}
    options |= {"--memory-mode": memory_mode, "--output-dir": "."}
    words = [word for pair in options.items() for word in pair]
    told = ["--verbose-performance", "--verbose-allocation"]
    return [sys.executable, "-P", "-m", "ethosu.vela", *words, *told, f"{_NAME}.tflite"]


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed process said last, or by what it was ended."""
    lines = [line.strip() for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
    said = lines[-1] if lines else "it said nothing"
    if done.returncode > 0:
        return said
    name = signal.Signals(-done.returncode).name
    return f"Vela {find_version()} crashed ({name}){f', having said: {said}' if lines else ''}"


def _read(folder: Path, said: str, path: Path, has_weights_in_sram: bool) -> Compiled:
    try:
        (row,) = csv.DictReader((folder / f"{_NAME}_summary_{SYSTEM}.csv").read_text("utf-8").splitlines())
        operators = tuple(_read_operators((folder / f"{_NAME}_per-layer.csv").read_text("utf-8")))
        constants = tuple(_read_constants(said))
        weight_bytes = sum(size for _, size in constants)
        found = Compiled(
            weight_bytes=weight_bytes,
            sram_bytes=round(float(row["sram_memory_used"]) * KIB) + (weight_bytes if has_weights_in_sram else 0),
            cycles=int(float(row["cycles_total"])),
            operators=operators,
            constants=constants,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(
            f"vela: what Vela {find_version()} says of {path.name} cannot be read ({type(error).__name__}: {error}); "
            "this version of explorer reads that of Vela 5.2"
        ) from error
    if not any(operator.on_npu for operator in operators):
        raise ExportError(f"vela: nothing of {path.name} runs on the NPU: it takes int8 networks")
    return found


def _read_operators(text: str) -> Iterator[Operator]:
    """Yield the rows of the table of operators, whose last column is not quoted and may hold commas."""
    header, *lines = text.splitlines()
    columns = header.split(",")
    for line in lines:
        row = dict(zip(columns, line.split(",", len(columns) - 1), strict=True))
        yield Operator(
            name=row["Name"], kind=row["NNG Operator"], cycles=int(row["Op Cycles"]), on_npu=row["Target"] == "NPU"
        )


def _read_constants(said: str) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each constant; a network may be compiled in parts with a list each."""
    for part in said.split(_CONSTANTS)[1:]:
        for line in part.partition("Allocation Peak")[0].splitlines():
            match = _ALLOCATED.fullmatch(line)
            if match:
                yield match[2], int(match[1])
