"""A study file: TOML in, one Study record out, or every problem in it at once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from explorer.digests import digest
from explorer.errors import StudyFileError
from explorer.objectives import SCORE
from explorer.settings import (
    BudgetSettings,
    ComparisonSettings,
    ComputeSettings,
    DataSettings,
    DeepCompressionSettings,
    DeviceSettings,
    FineTuningSettings,
    ModelSettings,
    ObjectiveSettings,
    OutputSettings,
    QuantizerSettings,
    RelevanceSettings,
    ScoreSettings,
    SearchSettings,
    SharingSettings,
    SpaceSettings,
)
from explorer.settings.paths import expand_variables, resolve_path
from explorer.settings.records import get_rules, table, validate, write_record
from explorer.settings.rules import collect, integer, refused, suggestion, text, without_effect
from explorer.settings.search import rename_key
from explorer.study.names import check_names

if TYPE_CHECKING:
    from hwmodels import Accelerator

FILE_NAME = "study.toml"
COME_ALONG = Path(__file__).parent
"""Holds the study files that come with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The [study] section: a name (for files and storage), a title to show, the seed of all draws."""

    SECTION: ClassVar[str] = "study"
    AFFECTS_RESULTS: ClassVar[bool] = True
    name: Annotated[str, text("a name of letters, digits, _ and -", r"[A-Za-z0-9_-]{1,80}")]
    title: Annotated[str, without_effect(text("one line of text", r"[^\x00-\x1f]*"))] = ""
    seed: Annotated[int, integer(0, 2**32 - 1)] = 0

    def __post_init__(self) -> None:
        validate(self, self.SECTION)


SECTIONS: Mapping[str, type] = {
    "model": ModelSettings,
    "data": DataSettings,
    "device": DeviceSettings,
    "score": ScoreSettings,
    "objectives": ObjectiveSettings,
    "budgets": BudgetSettings,
    "space": SpaceSettings,
    "quantizer": QuantizerSettings,
    "sharing": SharingSettings,
    "relevance": RelevanceSettings,
    "search": SearchSettings,
    "compute": ComputeSettings,
    "finetuning": FineTuningSettings,
    "deep_compression": DeepCompressionSettings,
    "comparison": ComparisonSettings,
    "output": OutputSettings,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything that a study file says, defaults filled in; paths are kept as they are written there.

    `folder` is where relative paths start, and no part of what is compared or stored.

    Example:
        >>> import explorer
        >>> study = explorer.load_study("digits")
        >>> explorer.Study.from_json(study.to_json()) == study
        True
    """

    heading: Heading
    model: ModelSettings
    data: DataSettings
    device: DeviceSettings
    objectives: ObjectiveSettings
    score: ScoreSettings = field(default_factory=ScoreSettings)
    budgets: BudgetSettings = field(default_factory=BudgetSettings)
    space: SpaceSettings = field(default_factory=SpaceSettings)
    quantizer: QuantizerSettings = field(default_factory=QuantizerSettings)
    sharing: SharingSettings = field(default_factory=SharingSettings)
    relevance: RelevanceSettings = field(default_factory=RelevanceSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    finetuning: FineTuningSettings = field(default_factory=FineTuningSettings)
    deep_compression: DeepCompressionSettings = field(default_factory=DeepCompressionSettings)
    comparison: ComparisonSettings = field(default_factory=ComparisonSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    folder: str | Path = field(default=".", compare=False)

    def __post_init__(self) -> None:
        checks = [partial(check_names, getattr(self, section)) for section in SECTIONS]
        scales = {"space.steps": self.space.steps != (None,), "search.beacons": self.search.beacons > 0}
        collect(
            [*checks, partial(self.objectives.check, self.score.called), partial(self.quantizer.check_scales, scales)]
        )

    @property
    def name(self) -> str:
        """Its name, for files and storage."""
        return self.heading.name

    @property
    def title(self) -> str:
        """Its title, to show; may be empty."""
        return self.heading.title

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.heading.seed

    def resolve(self, path: str, key: str) -> Path:
        """Return the full path of what `key` holds.

        Raises:
            StudyFileError: Names variables in it that are not set.
        """
        return resolve_path(path, self.folder, key)

    def results_folder(self) -> Path:
        """Return where the results go, unless the command line says where."""
        return self.resolve(self.output.folder, "output.folder")

    def to_json(self) -> dict[str, Any]:
        """Return plain data in the layout of the study file, from which `from_json` rebuilds an equal study."""
        sections = {name: write_record(getattr(self, name)) for name in SECTIONS}
        sections["budgets"] = rename_key(sections["budgets"], SCORE.key, self.score.called)
        return {"study": write_record(self.heading), **sections}

    @classmethod
    def from_json(cls, data: object, folder: str | Path = ".") -> Study:
        """Rebuild a study from `to_json` data or parsed TOML.

        Files and environment variables are not looked at.

        Args:
            folder: Where its relative paths start.

        Raises:
            StudyFileError: Holds every problem.
        """
        if not isinstance(data, Mapping):
            raise refused("study", "an object with one entry for each section", data)
        known, score = ("study", *SECTIONS), _find_score(data.get("score", {}))
        readers: list[Callable[[], Any]] = [
            partial(_read_section, section, kind, data.get(section, {}), score)
            for section, kind in {"study": Heading, **SECTIONS}.items()
        ]
        readers += [partial(_refuse_section, name, data[name]) for name in data if name not in known]
        heading, *records = collect(readers)
        return cls(heading=heading, **dict(zip(SECTIONS, records, strict=True)), folder=folder)

    def digest(self) -> str:
        """Return SHA-256 over the canonical JSON text, first 16 hexadecimal digits.

        What only says where the search runs, how long and how it is called, or what comes after it or instead of it,
        does not change it.
        """
        return digest(json.dumps(self.essentials(), sort_keys=True))

    def essentials(self) -> dict[str, str]:
        """Return the settings that a result depends on: dotted key to its value as JSON text.

        Those of sections whose AFFECTS_RESULTS is true, but for keys whose rule says that they have no effect.
        """
        return {
            f"{record.SECTION}.{key}": json.dumps(rule.write(getattr(record, key)))
            for record in (self.heading, *(getattr(self, section) for section in SECTIONS))
            if record.AFFECTS_RESULTS
            for key, rule in get_rules(type(record)).items()
            if rule.affects_results
        }


def load_study(path: str | Path) -> Study:
    """Return the study in a file, in the study.toml of a folder, or of the name of one that comes along: digits.

    Variables in paths must be set; whether the files exist is found out where they are read. Relative paths start in
    the file's folder, of a study that comes along in the working folder.

    Raises:
        StudyFileError: Holds one line for each problem: "file: key: what is expected, what was received".

    Example:
        >>> import explorer
        >>> explorer.load_study("digits").search.trials
        800
    """
    file = _find(Path(path))
    try:
        study = Study.from_json(_parse(file), folder="." if file.parent == COME_ALONG else file.parent)
        collect(
            [
                lambda: study.resolve(study.model.checkpoint or "", "model.checkpoint"),
                lambda: study.data.find_file(study.folder),
                lambda: study.resolve(study.device.profile, "device.profile"),
                lambda: expand_variables(study.search.storage, "search.storage"),
                study.results_folder,
            ]
        )
    except StudyFileError as error:
        raise StudyFileError(tuple(f"{file}: {problem}" for problem in error.problems)) from None
    return study


def load_accelerator(study: Study) -> Accelerator:
    """Return the study's device, of its own file or by its name.

    Raises:
        StudyFileError: Where it cannot be loaded.
    """
    from hwmodels import load  # noqa: PLC0415  (a study file can be read without the device models)

    profile = study.device.profile
    try:
        return load(str(study.resolve(profile, "device.profile")) if profile.endswith(".toml") else profile)
    except (ValueError, OSError) as error:
        where = f"device.profile: {profile!r} cannot be used"
        reasons = getattr(error, "problems", None) or (str(error),)
        raise StudyFileError(tuple(f"{where}: {' '.join(reason.split())}" for reason in reasons)) from None


def _find(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if file.is_file():
        return file
    along = COME_ALONG / f"{path.name}.toml"
    if path == Path(path.name) and along.is_file():
        return along
    if path.is_dir():
        raise StudyFileError((f"{path}: the folder has no {FILE_NAME}; name a folder with one, or the file itself",))
    known = " or ".join(sorted(each.stem for each in COME_ALONG.glob("*.toml")))
    raise StudyFileError(
        (f"{path}: no such file or folder; name a {FILE_NAME}, a folder that holds one, or {known}, which comes along",)
    )


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyFileError((f"cannot be read: {error.strerror}",)) from None
    except UnicodeDecodeError as error:
        raise StudyFileError((f"byte {error.start} is not UTF-8; save the file as UTF-8 text",)) from None
    except (ValueError, RecursionError) as error:  # beyond bad TOML: an integer of 4,301 digits, tables nested deep
        raise StudyFileError((f"not valid TOML: {error}; correct the file there",)) from None


def _read_section(section: str, kind: type, entries: object, score: str | None) -> object:
    """Read a section of a study whose score is called `score`, which is also the key of its budget; None if unknown."""
    if kind is BudgetSettings and isinstance(entries, Mapping) and score is not None:
        return BudgetSettings.read(entries, score)
    record = table(kind).read(entries, section)
    check_names(record)
    if isinstance(record, ObjectiveSettings) and score is not None:
        record.check(score)
    return record


def _find_score(entries: object) -> str | None:
    """Return what the score of a study is called, None where its [score] section is wrong."""
    try:
        settings: ScoreSettings = table(ScoreSettings).read(entries, "score")
    except StudyFileError:
        return None
    return settings.called


def _refuse_section(name: str, value: object) -> None:
    owners = [section for section, kind in SECTIONS.items() if name in get_rules(kind)]
    if name in get_rules(Heading):
        owners.append("study")
    hint = f"it belongs into [{owners[0]}]" if owners else suggestion(name, ("study", *SECTIONS))
    kind = "section" if isinstance(value, Mapping) else "key"
    raise StudyFileError((f"{name}: unknown {kind}; {hint}",))
