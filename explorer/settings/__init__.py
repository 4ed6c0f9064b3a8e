"""The settings of a study as records: one field for each key of the study file, with its rule and default."""

from explorer.settings.comparison import CASE_RULES, ComparisonSettings
from explorer.settings.compute import ComputeSettings
from explorer.settings.data import DEFAULT_NORMALISATION, DEFAULT_SPLITS, SOURCES, DataSettings
from explorer.settings.deep_compression import DeepCompressionSettings
from explorer.settings.finetuning import FineTuningSettings
from explorer.settings.model import REFERENCES, ModelSettings, TrainingSettings
from explorer.settings.quantizer import QuantizerSettings
from explorer.settings.relevance import (
    RELEVANCE_AGGREGATIONS,
    RELEVANCE_METHODS,
    RELEVANCE_REFERENCES,
    RELEVANCE_TARGETS,
    RelevanceSettings,
)
from explorer.settings.search import (
    SAMPLERS,
    BudgetSettings,
    DeviceSettings,
    LayerSpace,
    ObjectiveSettings,
    OutputSettings,
    SearchSettings,
    SpaceSettings,
)
from explorer.settings.sharing import SharingSettings

__all__ = [
    "CASE_RULES",
    "DEFAULT_NORMALISATION",
    "DEFAULT_SPLITS",
    "REFERENCES",
    "RELEVANCE_AGGREGATIONS",
    "RELEVANCE_METHODS",
    "RELEVANCE_REFERENCES",
    "RELEVANCE_TARGETS",
    "SAMPLERS",
    "SOURCES",
    "BudgetSettings",
    "ComparisonSettings",
    "ComputeSettings",
    "DataSettings",
    "DeepCompressionSettings",
    "DeviceSettings",
    "FineTuningSettings",
    "LayerSpace",
    "ModelSettings",
    "ObjectiveSettings",
    "OutputSettings",
    "QuantizerSettings",
    "RelevanceSettings",
    "SearchSettings",
    "SharingSettings",
    "SpaceSettings",
    "TrainingSettings",
]
