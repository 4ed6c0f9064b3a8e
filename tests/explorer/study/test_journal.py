"""The journal of a search: whatever happens to the file, what is lost is found out, and made again as it was."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.compress.candidate import Candidate
from explorer.evaluate.mean_score import MeanScore
from explorer.search.axes import ACTIVATION_BITS, CODEBOOK_SIZE, WEIGHT_BITS, WEIGHT_DENSITY, Axis
from explorer.search.space import SearchSpace
from explorer.settings import BudgetSettings, SearchSettings
from explorer.study.journal import Journal, surviving
from explorer.study.record import Cost
from explorer.study.search import Search, search
from explorer.study.storage import open_store
from explorer.study.store import Store
from tests.support.costs import make_cost
from tests.support.scoring import right, scored_alone

TRIALS = 12
SPACE = SearchSpace(
    layers=("a", "b"),
    axes=tuple(
        Axis(knob=knob, of=layer, values=values)
        for layer in ("a", "b")
        for knob, values in (
            (WEIGHT_BITS, (2, 3, 4, 5, 6)),
            (ACTIVATION_BITS, (4, 8)),
            (WEIGHT_DENSITY, (1.0,)),
            (CODEBOOK_SIZE, (None,)),
        )
    ),
)
Damage = Callable[[list[bytes], int], list[bytes]]


def flipped(lines: list[bytes], index: int) -> list[bytes]:
    line = lines[index]
    place = random.Random(index).randrange(len(line) - 1)  # not the line's end
    return [*lines[:index], line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :], *lines[index + 1 :]]


DAMAGES: dict[str, Damage] = {
    "flipped": flipped,
    "lost": lambda lines, index: lines[:index] + lines[index + 1 :],
    "repeated": lambda lines, index: [*lines[: index + 1], *lines[index:]],
    "swapped": lambda lines, index: [*lines[:index], *lines[index : index + 2][::-1], *lines[index + 2 :]],
    "shortened": lambda lines, index: [*lines[:index], lines[index][:-9] + b"\n", *lines[index + 1 :]],
    "joined": lambda lines, index: [*lines[:index], lines[index][:-1], *lines[index + 1 :]],
    "zeroed": lambda lines, index: [*lines[:index], b"\0" * (len(lines[index]) - 1) + b"\n", *lines[index + 1 :]],
    "emptied": lambda lines, index: [*lines[:index], b"\n", *lines[index + 1 :]],
}


def task_of(asked: list[str]) -> Search:
    def price_candidate(candidate: Candidate) -> Cost:
        bits = sum(choice.weight_bits * choice.activation_bits for choice in candidate.layers)
        return make_cost(energy_uj=float(bits), weight_bytes=bits)

    def score_candidate(candidate: Candidate) -> MeanScore:
        asked.append(candidate.digest())
        return right(sum(choice.weight_bits + choice.activation_bits for choice in candidate.layers))

    return Search(
        space=SPACE,
        settings=SearchSettings(trials=TRIALS, population=4, seeds=0, sampler="nsga2"),
        seed=3,
        seeds=(),
        objectives=("accuracy", "energy"),
        price_candidate=price_candidate,
        score_candidate=scored_alone(score_candidate),
        list_entropies=lambda candidate: (),
        budgets=BudgetSettings(energy_uj=70.0),
    )


def run(folder: Path) -> tuple[Store, list[str]]:
    """The store after a search, and the candidates that it scored."""
    asked: list[str] = []
    store = open_store(folder, "journal", "s", ("accuracy", "energy"), {"study": "1"})
    search(task_of(asked), store, lambda done, total: None)
    return store, asked


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], object]:
    """The lines of a journal that nothing happened to, and what its search found."""
    folder = tmp_path_factory.mktemp("whole")
    store, _ = run(folder)
    return (folder / "search.journal").read_bytes().splitlines(keepends=True), store.stored()


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_every_damaged_line_is_found_out(
    step: int, damage: Damage, whole: tuple[list[bytes], object], tmp_path: Path
) -> None:
    lines, _ = whole
    file = tmp_path / "search.journal"
    for index in range(0, len(lines) - 1, step):
        text = b"".join(damage(lines, index))
        file.write_bytes(text)
        journal = Journal(file)
        repeated = damage is DAMAGES["repeated"]
        assert journal.damage is not None
        assert journal.damage.line == index + (2 if repeated else 1)
        assert journal.damage.kept + journal.damage.lost <= TRIALS + repeated
        assert file.read_bytes() == b"".join(lines[: journal.damage.line - 1])
        assert (tmp_path / "search.journal.damaged").read_bytes() == text
        assert len(surviving(file)) >= len(lines) - 3
    assert Journal(file).damage is None


def test_every_byte_counts(whole: tuple[list[bytes], object], tmp_path: Path) -> None:
    file, text, draw = tmp_path / "search.journal", b"".join(whole[0]), random.Random(0)
    for place in draw.sample(range(len(text) - 1), 100):
        file.write_bytes(text[:place] + bytes([text[place] ^ 1 << draw.randrange(8)]) + text[place + 1 :])
        damage = Journal(file).damage
        assert damage is not None
        assert damage.line == 1 + text[:place].count(b"\n")


@pytest.mark.parametrize("cut", [1, 2, 30, 300, 3000])
def test_an_end_that_is_missing_is_what_a_killed_process_leaves(
    cut: int, whole: tuple[list[bytes], object], tmp_path: Path
) -> None:
    lines, found = whole
    file = tmp_path / "search.journal"
    file.write_bytes(b"".join(lines)[:-cut])
    store, _ = run(tmp_path)
    assert (store.damage(), store.stored()) == ("", found)
    assert not (tmp_path / "search.journal.damaged").exists()


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_what_is_lost_is_made_again_as_it_was(step: int, whole: tuple[list[bytes], object], tmp_path: Path) -> None:
    """Only candidates are scored whose scores were lost: the one at the damaged line, if any."""
    lines, found = whole
    for index in range(2, len(lines) - 1, step):
        damage = list(DAMAGES.values())[index % len(DAMAGES)]
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "search.journal").write_bytes(b"".join(damage(lines, index)))
        store, asked = run(folder)
        assert store.stored() == found
        assert len(asked) <= 1
        assert f"line {index + (2 if damage is DAMAGES['repeated'] else 1)} was not what" in store.damage()
        assert run(folder)[1] == []


def test_nothing_is_taken_from_what_may_be_another_study(whole: tuple[list[bytes], object], tmp_path: Path) -> None:
    lines, found = whole
    identity = next(index for index, line in enumerate(lines) if b"identity" in line)
    (tmp_path / "search.journal").write_bytes(b"".join(DAMAGES["lost"](lines, identity)))
    store, asked = run(tmp_path)
    assert store.stored() == found
    assert len(asked) == len({item.point for item in store.stored() if item.result and item.result.score})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_operation_that_was_not_written_whole_is_taken_back(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, operations = tmp_path / "journal", [{"op_code": code} for code in range(3)]
    journal = Journal(path)
    journal.append_logs(operations[:1])

    def fail(file: int) -> None:
        assert b'"op_code":1' in path.read_bytes()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(type(error)):
            journal.append_logs(operations[1:2])
    journal.append_logs(operations[2:])
    found = Journal(path)
    assert found.damage is None
    assert [log["op_code"] for log in found.read_logs(0)] == [0, 2]
