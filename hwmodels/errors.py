"""The errors of the hardware models, each with a text that says what was wrong, where, and what to do."""

from collections.abc import Sequence

MOST_PROBLEMS = 20
LONGEST_PROBLEM = 600


class HardwareModelError(ValueError):
    """Base of every error that stems from the caller's input; `problems` holds one line for each finding.

    Whatever a file holds, they stay `readable`.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = readable([problems] if isinstance(problems, str) else problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["HardwareModelError"], tuple[tuple[str, ...]]]:
        """Keep `problems` when the error crosses a process boundary."""
        return type(self), (self.problems,)


def readable(problems: Sequence[str]) -> tuple[str, ...]:
    """Each problem on one line, control characters escaped, a long one without its middle; beyond 20 their count."""
    first = problems if len(problems) <= MOST_PROBLEMS + 1 else problems[:MOST_PROBLEMS]
    more = [f"and {len(problems) - len(first)} more problems"] if len(first) < len(problems) else []
    return tuple(map(_one_line, [*first, *more]))


def _one_line(text: str) -> str:
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return line if len(line) <= LONGEST_PROBLEM else f"{line[:450]} ... {line[-140:]}"


class LayerError(HardwareModelError):
    """A layer, a job or an activation tensor is malformed, or the device cannot run it."""


class DeviceError(HardwareModelError):
    """A device is unknown, or its profile is malformed."""


class NetworkError(HardwareModelError):
    """A file that describes a network cannot be read or written, or states something that no network can be."""
