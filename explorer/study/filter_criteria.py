"""The criteria by whose order the candidates of a study may remove filters."""

from __future__ import annotations

from explorer.errors import StudyFileError
from explorer.relevance.criteria import CRITERIA
from explorer.study.study_file import Study


def other_criteria(study: Study) -> tuple[str, ...]:
    """Those beside the study's own, `relevance.method`; StudyFileError for one that says nothing of filters."""
    names = tuple(name for name in study.space.filter_criteria or () if name != study.relevance.method)
    silent = [name for name in names if "filters" not in CRITERIA[name].subjects]
    if silent:
        known = ", ".join(name for name, criterion in CRITERIA.items() if "filters" in criterion.subjects)
        raise StudyFileError(
            (f"space.filter_criteria: {silent[0]!r} says nothing of filters; those that do are {known}",)
        )
    return names
