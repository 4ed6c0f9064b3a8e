"""How long `import explorer` takes, and its first function: fresh processes, the least of five."""

from __future__ import annotations

import subprocess
import sys

TRIES = 5
STATEMENTS = {"import explorer": "import explorer", "explorer.open": "import explorer; explorer.open"}


def seconds(statement: str) -> float:
    """Return wall-clock seconds of a statement in a process of its own, the start of Python aside."""
    program = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the times."""
    for name, statement in STATEMENTS.items():
        print(f"{name:16} {min(seconds(statement) for _ in range(TRIES)):7.3f} s")


if __name__ == "__main__":
    main()
