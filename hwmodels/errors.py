"""The errors of the hardware models, each with a text that says what was wrong, where, and what to do."""

from collections.abc import Sequence


class HardwareModelError(ValueError):
    """Base of every error that stems from the caller's input; `problems` holds one line for each finding."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["HardwareModelError"], tuple[tuple[str, ...]]]:
        """Keep `problems` when the error crosses a process boundary."""
        return type(self), (self.problems,)


class LayerError(HardwareModelError):
    """A layer, a job or an activation tensor is malformed, or the device cannot run it."""


class DeviceError(HardwareModelError):
    """A device is unknown, or its profile is malformed."""


class NetworkError(HardwareModelError):
    """A file that describes a network cannot be read or written, or states something that no network can be."""
