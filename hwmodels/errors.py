"""The errors of the hardware models, each with a text that says what was wrong, where, and what to do."""

from collections.abc import Sequence

MOST_PROBLEMS = 20
LONGEST_PROBLEM = 600


class HardwareModelError(ValueError):
    """Base of every error that stems from the caller's input; `problems` holds one line for each finding.

    Whatever a file holds, they stay readable.

    Example:
        >>> import hwmodels
        >>> try:
        ...     hwmodels.LayerShape(name="fc", kind="dense", in_channels=0, out_channels=10)
        ... except hwmodels.HardwareModelError as error:
        ...     print(error)
        layer 'fc': kind: expected one of conv, linear, matmul, pool, add, activation, received 'dense'
        layer 'fc': in_channels: expected a whole number from 1 to 2147483647, received 0
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        """Keep what was found wrong, one text or several."""
        self.problems = make_readable([problems] if isinstance(problems, str) else problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["HardwareModelError"], tuple[tuple[str, ...]]]:
        """Keep `problems` when the error crosses a process boundary."""
        return type(self), (self.problems,)


def make_readable(problems: Sequence[str]) -> tuple[str, ...]:
    """Return each problem on one line of printable characters, long ones without their middle, at most 20 of them."""
    first = problems if len(problems) <= MOST_PROBLEMS + 1 else problems[:MOST_PROBLEMS]
    more = [f"and {len(problems) - len(first)} more problems"] if len(first) < len(problems) else []
    return tuple(map(_one_line, [*first, *more]))


def _one_line(text: str) -> str:
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return line if len(line) <= LONGEST_PROBLEM else f"{line[:450]} ... {line[-140:]}"


class LayerError(HardwareModelError):
    """A layer, a job or an activation tensor is malformed, or the device cannot run it.

    Example:
        >>> import hwmodels
        >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
        >>> try:
        ...     hwmodels.LayerJob(shape=shape, weight_bits=64)
        ... except hwmodels.LayerError as error:
        ...     print(error)
        layer 'fc': weight_bits: expected a whole number from 1 to 32, received 64
    """


class DeviceError(HardwareModelError):
    """A device is unknown, or its profile is malformed.

    Example:
        >>> import hwmodels
        >>> try:
        ...     hwmodels.energy_ratio(45, 28)
        ... except hwmodels.DeviceError as error:
        ...     print(error)
        expected a node of 130, 90, 65, 45, 32, 20, 16, 14, 10, 7 nm, received 28 nm: choose the nearest of these
    """


class NetworkError(HardwareModelError):
    """A file that describes a network cannot be read or written, or states something that no network can be.

    Example:
        >>> import hwmodels
        >>> try:
        ...     hwmodels.read_topology("none.csv")
        ... except hwmodels.NetworkError as error:
        ...     print(error)
        none.csv: the topology cannot be read as text ([Errno 2] No such file or directory: 'none.csv'); check the path
    """
