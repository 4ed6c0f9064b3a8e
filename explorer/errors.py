"""The errors that a user can cause, each with a text that says what was wrong, where, and what to do."""

from collections.abc import Sequence

MOST_PROBLEMS = 20
LONGEST_PROBLEM = 600


class ExplorerError(ValueError):
    """Base of every error that stems from the user's input; the command line prints it as one line, exit 2.

    Whatever a file holds, the text stays `readable`.

    Example:
        >>> import explorer
        >>> try:
        ...     explorer.Space(weight_bits=(9,))
        ... except explorer.ExplorerError as error:
        ...     print(error)
        space.weight_bits[0]: expected an integer in 1..8, received 9
    """

    def __init__(self, *problems: str) -> None:
        self.problems = readable(problems)
        super().__init__("\n".join(self.problems))


class StudyFileError(ExplorerError):
    """The study file cannot be read, or some of its keys are wrong; `problems` holds one line for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(*problems)


class ModelError(ExplorerError):
    """The model cannot be imported, built, traced or loaded."""


class DataError(ExplorerError):
    """The data set cannot be found, read or used."""


class RelevanceError(ExplorerError):
    """The relevance of a model cannot be computed, or is not complete."""


class CandidateError(ExplorerError):
    """A candidate is malformed, or does not fit the model."""


class ScoreError(ExplorerError):
    """A score function fails, or does not give one number in [0, 1] for each image."""


class NumericalError(ExplorerError):
    """A candidate cannot be computed: it gives values that are not finite. Others may do, so that a search goes on."""


class DivergedError(ModelError, NumericalError):
    """The loss of a training is not finite. Of a candidate that a search tunes, that is found about it."""


class SearchError(ExplorerError):
    """The search cannot be started or resumed."""


class ChoiceError(ExplorerError):
    """No member of a front is what was asked for, or what was asked for is not clear."""


class ExportError(ExplorerError):
    """An export cannot be written, or its predictions differ from the searched candidate's."""


def readable(problems: Sequence[str]) -> tuple[str, ...]:
    """Return each problem on one line, control characters escaped, long ones without their middle, 20 at most.

    As in hwmodels, which a study file is read without.
    """
    first = problems if len(problems) <= MOST_PROBLEMS + 1 else problems[:MOST_PROBLEMS]
    more = [f"and {len(problems) - len(first)} more problems"] if len(first) < len(problems) else []
    return tuple(map(_printable, [*first, *more]))


def _printable(text: str) -> str:
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return line if len(line) <= LONGEST_PROBLEM else f"{line[:450]} ... {line[-140:]}"


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


def describe_error(error: BaseException) -> str:
    """Return the type and the text of an error of another's, in one line."""
    return f"{type(error).__name__}: {one_line(str(error))}"
