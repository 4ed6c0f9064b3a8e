"""The errors that a user can cause, each with a text that says what was wrong, where, and what to do."""


class ExplorerError(ValueError):
    """Base of every error that stems from the user's input; the command line prints it as one line, exit 2."""


class StudyFileError(ExplorerError):
    """The study file cannot be read, or some of its keys are wrong; `problems` holds one line for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class ModelError(ExplorerError):
    """The model cannot be imported, built, traced or loaded."""


class DataError(ExplorerError):
    """The data set cannot be found, read or used."""


class RelevanceError(ExplorerError):
    """The relevance of a model cannot be computed, or is not complete."""


class CandidateError(ExplorerError):
    """A candidate is malformed, or does not fit the model."""


class NumericalError(ExplorerError):
    """A candidate cannot be computed: it gives values that are not finite. Others may do, so that a search goes on."""


class SearchError(ExplorerError):
    """The search cannot be started or resumed."""


class ExportError(ExplorerError):
    """An export cannot be written, or its predictions differ from the searched candidate's."""
