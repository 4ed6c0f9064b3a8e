"""Every comparison of studies/ in small: its own study file, with few images, one seed and its first level.

Of ResNet-20 and ResNet-56 each stage has its first block alone: the others are alike. Needs the data and the checkpoint
that the study names; `make studies` runs them whole.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from explorer.comparison.run import compare, list_cells, list_criteria
from explorer.models.checkpoint import load_checkpoint
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.report.comparison.svg import write_charts
from explorer.report.comparison.tables import write_tables
from explorer.report.comparison.views import build_comparison_view
from explorer.settings import ComparisonSettings
from explorer.study.study_file import Study, load_study

REPOSITORY = Path(__file__).parents[2]
STUDIES = sorted(
    file.parent.relative_to(REPOSITORY / "studies").as_posix()
    for name in ("pruning", "weight_sharing", "mixed_precision", "steps")
    for file in (REPOSITORY / "studies" / name).glob("*/study.toml")
)


def shorten(study: Study, folder: Path) -> Study:
    """The study with the first block of each stage of its network, out of its checkpoint, which fits the whole one."""
    assert study.model.reference is not None
    whole = REFERENCE_NETWORKS[study.model.reference](10)
    load_checkpoint(whole, Path(os.path.expandvars(str(study.model.checkpoint))))
    kept = {name: value for name, value in whole.state_dict().items() if not re.match(r"layer\d\.[1-8]\.", name)}
    torch.save(kept, folder / "short.pt")
    arguments = (("blocks", 1), ("classes", 10))
    model = replace(
        study.model,
        reference=None,
        factory="explorer.models.resnet:CifarResNet",
        arguments=arguments,
        checkpoint=str(folder / "short.pt"),
    )
    return replace(study, model=model)


def reduced(name: str) -> Study:
    """The study with next to nothing of everything; all its criteria, scopes and states stay."""
    study = load_study(REPOSITORY / "studies" / name)
    asked, training = study.comparison, study.model.training
    tuning = None if asked.training is None else replace(asked.training, epochs=1)
    settings = replace(
        asked,
        levels=asked.at_levels[:1],
        seeds=asked.seeds[:1],
        training=tuning,
        tuned_levels=asked.at_levels[:1] if asked.tuned_levels else None,
        tuned_images=64,
    )
    return replace(
        study,
        model=replace(study.model, training=None if training is None else replace(training, epochs=1)),
        data=replace(study.data, train=256, search=40, held_out=40, calibration=16, relevance=8),
        comparison=settings,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_comparison_in_small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, folder in (("EXPLORER_DATA", "data"), ("EXPLORER_CHECKPOINTS", "checkpoints")):
        found = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / folder)
        if not found.is_dir():
            pytest.skip(f"{variable} is not set; set it to the folder with the {folder}")
        monkeypatch.setenv(variable, str(found))
    study = reduced(name)
    if study.model.reference in ("resnet20", "resnet56"):
        study = shorten(study, tmp_path)
    settings: ComparisonSettings = study.comparison
    comparison = compare(study, tmp_path / "run", lambda *_: None)
    skipped = {criterion for criterion, _ in comparison.skipped}
    assert {point.cell for point in comparison.points} == {
        place for place in list_cells(settings) if place.criterion not in skipped
    }
    assert skipped <= {"bn_gamma"}  # LeNet-5 has no batch norm
    assert {point.cell.criterion for point in comparison.points} == set(list_criteria(settings)) - skipped
    view = build_comparison_view(comparison)
    tables, charts = write_tables(view, tmp_path), write_charts(view, tmp_path)
    with tables[0].open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 1 + len(comparison.points)
    for scope in settings.scopes:
        names = {path.stem.removeprefix(f"{scope}_") for path in charts if path.stem.startswith(f"{scope}_")}
        assert {"by_level", "differences"} <= names  # and over size, where it differs
