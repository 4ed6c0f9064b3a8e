"""The [score] section: what says how well a network does on each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from explorer.errors import StudyFileError
from explorer.objectives import LIKENESS_NAME, SCORE, every_cost
from explorer.settings.records import validate
from explorer.settings.rules import text
from explorer.settings.values import FUNCTION

RESERVED = {
    *("name", "images", "standard_error", "undominated", "origin", "digest", "study", "device", "finetuning", "point"),
    *("candidate", "candidate_digest", "cost", "network", "layers", "activation_quantizers", "software", "file"),
    *("sha256", "agreement", "ties", "float32_bytes", "onnx_bytes", "program_bytes", "schema_version", "artefact"),
    *("format", "bytes", "files", "inputs", "output", "costed", "coded_bytes", "weight_bits"),
}
"""Columns of front.csv, and keys of what exports write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """What scores outputs: being right by the largest logit, the user's function, or likeness to the float network.

    "likeness" is the mean over images of 1 less the Hellinger distance of the classes' probabilities from the float
    network's, outputs being logits. It tells networks apart that are right on as many images, and looks at no labels.

    Attributes:
        function: "module:callable" of (outputs, targets), which gives a number in [0, 1] for each image.
        name: Of the function in objectives, budgets, tables and reports, its own where it is None; without a function
            "likeness" or nothing.
    """

    SECTION: ClassVar[str] = "score"
    AFFECTS_RESULTS: ClassVar[bool] = True
    function: Annotated[str | None, FUNCTION] = None
    name: Annotated[str | None, text("a name of letters, digits and _", r"[A-Za-z]\w{0,39}")] = None

    def __post_init__(self) -> None:
        validate(self, self.SECTION)
        taken = {word for cost in every_cost() for word in (cost.name, cost.key)} | RESERVED
        if self.function is None and self.name not in {None, LIKENESS_NAME}:
            hint = "remove it, or name score.function"
            raise StudyFileError(
                (f'score.name: without score.function expected "{LIKENESS_NAME}", received {self.name!r}; {hint}',)
            )
        if self.function is not None:
            taken.add(LIKENESS_NAME)
        if self.called in taken or (self.function is not None and not self.called[0].isalpha()):
            expected = "a name of letters, digits and _ that no cost, other score, column or key of an export has"
            raise StudyFileError((f"score.name: expected {expected}, received {self.called!r}; set score.name",))

    @property
    def called(self) -> str:
        """What the score is called by."""
        return self.name or (SCORE.name if self.function is None else self.function.rpartition(":")[2])
