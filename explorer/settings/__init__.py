"""The settings of a study as records: one field for each key of the study file, with its rule and default."""

from explorer.settings.data import DEFAULT_NORMALISATION, DEFAULT_SPLITS, SOURCES, DataSettings
from explorer.settings.model import REFERENCES, ModelSettings, TrainingSettings
from explorer.settings.search import (
    OBJECTIVES,
    RELEVANCE_METHODS,
    SAMPLERS,
    BudgetSettings,
    DeviceSettings,
    LayerSpace,
    ObjectiveSettings,
    OutputSettings,
    RelevanceSettings,
    SearchSettings,
    SpaceSettings,
)

__all__ = [
    "DEFAULT_NORMALISATION",
    "DEFAULT_SPLITS",
    "OBJECTIVES",
    "REFERENCES",
    "RELEVANCE_METHODS",
    "SAMPLERS",
    "SOURCES",
    "BudgetSettings",
    "DataSettings",
    "DeviceSettings",
    "LayerSpace",
    "ModelSettings",
    "ObjectiveSettings",
    "OutputSettings",
    "RelevanceSettings",
    "SearchSettings",
    "SpaceSettings",
    "TrainingSettings",
]
