"""The settings of a study as records: one field for each key of the study file, with its rule and default."""

from explorer.settings.comparison import ComparisonSettings
from explorer.settings.compute import ComputeSettings
from explorer.settings.data import DataSettings
from explorer.settings.deep_compression import DeepCompressionSettings
from explorer.settings.finetuning import FineTuningSettings
from explorer.settings.model import ModelSettings, TrainingSettings
from explorer.settings.quantizer import QuantizerSettings
from explorer.settings.relevance import RelevanceSettings
from explorer.settings.score import ScoreSettings
from explorer.settings.search import (
    BudgetSettings,
    DeviceSettings,
    LayerSpace,
    ObjectiveSettings,
    OutputSettings,
    SearchSettings,
    SpaceSettings,
)
from explorer.settings.sharing import SharingSettings
from explorer.settings.sources import SOURCES

__all__ = [
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
    "ScoreSettings",
    "SearchSettings",
    "SharingSettings",
    "SpaceSettings",
    "TrainingSettings",
]
