"""Activations that are stored between layers, and how long."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.checks import check_text, check_whole_number, shown
from hwmodels.errors import LayerError
from hwmodels.workload.layer import LARGEST_EXACT, MAXIMUM_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationTensor:
    """An activation in memory, and the layers during which it must be kept.

    Attributes:
        name: For messages.
        elements: Of all images.
        bits: Width of an element.
        first_step: Index of the first layer during which it is kept ...
        last_step: ... and of the last, which is included.
        writers: Indices of the layers that write it, those that work in place among them; none fills what only moves.
        readers: Indices of the layers that read it, each as often as it does.
        second_readers: Indices of the products of two activations that read it in the place of weights.
        external: Whether it is an input or a result of the network, which passes memory on every device.

    A device keeps on chip (`hwmodels.cost.residency`) only what has `writers` or `readers`.

    Raises:
        LayerError: a field is out of range; all of them are reported at once.

    Example:
        >>> import hwmodels
        >>> image = hwmodels.ActivationTensor(name="image", elements=3072, bits=8, first_step=0, last_step=1)
        >>> hwmodels.peak_activation_bytes([image])
        3072
    """

    name: str
    elements: int
    bits: int
    first_step: int
    last_step: int
    writers: tuple[int, ...] = ()
    readers: tuple[int, ...] = ()
    second_readers: tuple[int, ...] = ()
    external: bool = False

    def __post_init__(self) -> None:
        """Refuse fields that are out of range or contradict each other."""
        problems = [
            *check_text("name", self.name),
            *check_whole_number("elements", self.elements, 0, LARGEST_EXACT),
            *check_whole_number("bits", self.bits, 1, MAXIMUM_BITS),
            *check_whole_number("first_step", self.first_step, 0),
            *check_whole_number("last_step", self.last_step, 0),
        ]
        for field in ("writers", "readers", "second_readers"):
            given = getattr(self, field)
            if not isinstance(given, tuple):
                problems.append(f"{field}: expected indices of layers, received {shown(given)}")
                continue
            problems += [line for index in given for line in check_whole_number(field, index, 0)]
        if not isinstance(self.external, bool):
            problems.append(f"external: expected true or false, received {shown(self.external)}")
        if not problems and self.last_step < self.first_step:
            problems.append(
                f"expected first_step <= last_step, received (first_step={self.first_step}, last_step={self.last_step})"
            )
        if problems:
            raise LayerError([f"activation {shown(self.name)}: {problem}" for problem in problems])
