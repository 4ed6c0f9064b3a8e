"""The explanation of one number as a record, and as text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaTerm:
    """A value of a formula; `source` is a profile key with its reference or "assumed", or what the value follows from.

    A source of `explain <figure>` names a figure that has an explanation of its own.
    """

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One number of a layer's cost: `formula` is an expression over the names of the terms that gives `value`.

    `str` of an explanation is for reading.

    Attributes:
        layer: The layer's name.
        figure: One of `FIGURES`.
        value: The number.
        unit: Its unit; "" for a ratio or a count.
        formula: Names, numbers, + - * / and the functions `ceil`, `floor`, `max` and `min`, as Python writes them.
        terms: The value of each name, with its source.
        reference: Where the formula is from.

    Example:
        >>> import hwmodels
        >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
        >>> found = hwmodels.explain(hwmodels.LayerJob(shape=shape), hwmodels.load("bitfusion"), "dram_input_bits")
        >>> found.value, found.unit, found.formula
        (512, 'bit', 'inputs * memory_input_bits * input_passes')
    """

    layer: str
    figure: str
    value: float
    unit: str
    formula: str
    terms: tuple[FormulaTerm, ...]
    reference: str

    def __str__(self) -> str:
        """Return the number, its formula and its terms with their sources, a line each."""
        formula = textwrap.wrap(self.formula, 112, break_long_words=False, break_on_hyphens=False)
        lines = [f"{self.figure} of {self.layer} = {_shown(self.value, self.unit)}", "  = " + "\n    ".join(formula)]
        lines += [f"  {term.name} = {_shown(term.value, term.unit)}  [{term.source}]" for term in self.terms]
        return "\n".join([*lines, f"  formula: {self.reference}"])


def _shown(value: float, unit: str) -> str:
    """Return a value with all the digits that a calculator needs."""
    return f"{value if isinstance(value, int) else format(value, '.12g')} {unit}".rstrip()
