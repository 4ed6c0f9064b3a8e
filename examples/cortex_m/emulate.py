"""Run an exported network (`--format c`) on an emulated Cortex-M4, and say what it takes of it.

    python -m examples.cortex_m.emulate FOLDER CODES

FOLDER holds net.c and net.h; CODES is a file of uint8 with the codes of one image after the other, as `main.c` reads
them. Takes arm-none-eabi-gcc, newlib and qemu-system-arm: in Debian the packages gcc-arm-none-eabi,
libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
CORE = ("-mcpu=cortex-m4", "-mthumb")
OPTIMISED = "-O2"
SECTIONS = ("-ffunction-sections", "-fdata-sections")
FLAGS = ("-std=gnu99", "-Wall", "-Wextra", *SECTIONS)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", *SECTIONS)
SHIFT, CLOCK_MHZ = 6, 25
"""An instruction takes 2^SHIFT ns of emulated time; the board's timer counts at CLOCK_MHZ."""
TICKS = 2**SHIFT * CLOCK_MHZ / 1000
"""Of the timer, for each instruction: an exact count as long as they are more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    """What came of a run.

    Attributes:
        outputs: Images x integers, int32, as the network stores them.
        instructions: Of each image.
        code_bytes: Of flash, the network's functions.
        constant_bytes: Of flash, its constants: weights, tables and structures.
        memory_bytes: Of RAM, its static memory.
        stack_bytes: Of RAM, what a run takes of the stack.
    """

    outputs: NDArray[np.int32]
    instructions: NDArray[np.int64]
    code_bytes: int
    constant_bytes: int
    memory_bytes: int
    stack_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.code_bytes + self.constant_bytes

    @property
    def ram_bytes(self) -> int:
        """Static memory and stack."""
        return self.memory_bytes + self.stack_bytes


def find_missing() -> list[str]:
    """Return which of the programs are not installed."""
    return [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]


def emulate(folder: Path, codes: NDArray[np.uint8]) -> Emulated:
    """Compile the network in a folder for a Cortex-M4, and run it on codes (images x bytes) in QEMU.

    Raises:
        SystemExit: Without compiler or emulator, and where one of them fails.
    """
    if missing := find_missing():
        raise SystemExit(f"not installed: {' and '.join(missing)}; see the head of {Path(__file__).name}")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        _write_images(home / "images.h", (folder / "net.h").read_text(), codes)
        _call(home, COMPILER, *CORE, OPTIMISED, *STRICT, "-c", folder.resolve() / "net.c", "-o", "net.o")
        includes = ("-I", folder.resolve(), "-I", ".")
        _call(home, COMPILER, *CORE, OPTIMISED, *FLAGS, *includes, "-c", HERE / "firmware.c", "-o", "firmware.o")
        linked = ("net.o", "firmware.o", "-nostartfiles", "-Wl,--gc-sections,-Map=map", "-T", HERE / "board.ld")
        _call(home, COMPILER, *CORE, *linked, "-o", "firmware.elf")
        icount = f"shift={SHIFT},align=off,sleep=off"
        host = ("-chardev", "stdio,id=host", "-semihosting-config", "enable=on,target=native,chardev=host")
        board = ("-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none", *host)
        told = _call(home, EMULATOR, *board, "-icount", icount, "-kernel", "firmware.elf")
        rows = np.array([[int(word, 16) for word in line.split()] for line in told.splitlines()], dtype=np.int64)
        return Emulated(
            outputs=rows[:, 2:-1].astype(np.uint32).view(np.int32),
            instructions=np.rint(rows[:, 0] / TICKS).astype(np.int64),
            stack_bytes=int(rows[:, 1].max()),
            **_read_map((home / "map").read_text()),
        )


def _write_images(path: Path, header: str, codes: NDArray[np.uint8]) -> None:
    """Write the images, and the call with each input where it begins in an image."""
    sizes = [int(size) for size in re.findall(r"#define NET_(?!OUTPUT|ARENA)\w+_SIZE (\d+)", header)]
    starts = np.cumsum([0, *sizes])[:-1]
    inputs = ", ".join(f"&(image)[{start}]" for start in starts)
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in codes.reshape(-1, sum(sizes)).tolist())
    path.write_text(
        f"#define IMAGES {len(codes)}\n#define NET_RUN(image, output) net_run({inputs}, output)\n"
        f"static const uint8_t images[IMAGES][{sum(sizes)}] = {{\n{rows}\n}};\n"
    )


def _call(home: Path, *command: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{words[0]} fails: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _read_map(text: str) -> dict[str, int]:
    """Return the bytes of net.o in the linker's map file that are kept."""
    kept = text[text.index("Linker script and memory map") :]
    pieces = re.findall(r"^ (\.\w+)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) net\.o$", kept, re.MULTILINE)
    sums = {kind: sum(int(size, 16) for name, size in pieces if name == kind) for kind, _ in pieces}
    return {
        "code_bytes": sums.get(".text", 0),
        "constant_bytes": sums.get(".rodata", 0),
        "memory_bytes": sums.get(".bss", 0) + sums.get(".data", 0),
    }


def main() -> None:
    """Print what the network takes, and the outputs of each image."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    folder, header = Path(sys.argv[1]), (Path(sys.argv[1]) / "net.h").read_text()
    size = sum(int(size) for size in re.findall(r"#define NET_(?!OUTPUT|ARENA)\w+_SIZE (\d+)", header))
    found = emulate(folder, np.fromfile(sys.argv[2], dtype=np.uint8).reshape(-1, size))
    print(f"flash: {found.flash_bytes:,} bytes, {found.code_bytes:,} of them code")
    print(f"RAM: {found.ram_bytes:,} bytes, {found.stack_bytes:,} of them stack")
    for count, output in zip(found.instructions, found.outputs, strict=True):
        print(f"{count:,} instructions: {' '.join(map(str, output))}")


if __name__ == "__main__":
    main()
