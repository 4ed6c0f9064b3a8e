"""What a search from Python found: frames, choices, networks, figures; and found again in its folder."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import Tensor, nn

import explorer
from explorer.errors import ExplorerError, SearchError


def test_a_frame_has_a_column_for_every_choice(net: explorer.Net, result: explorer.Result) -> None:
    frame = result.front.to_frame()
    assert list(frame.index) == [point.name for point in result.front]
    for layer in net.graph.weight_owners:
        assert {f"{layer}.weight_bits", f"{layer}.activation_bits"} <= set(frame)
    assert {name.rpartition(".")[2] for name in map(str, frame) if "." in name} == {
        "weight_bits",
        "activation_bits",
        "filter_keep_ratio",  # the space leaves nothing else open
    }
    for point in result.front:
        row = frame.loc[point.name]
        assert row["energy_uj"] == point.cost.energy_uj
        for choice in point.candidate.layers:
            assert row[f"{choice.layer}.weight_bits"] == choice.weight_bits
        for group, ratio in point.candidate.filter_keep_ratio:
            assert row[f"{group}.filter_keep_ratio"] == ratio


def test_the_best_point_is_the_one_that_keeps_what_is_required(result: explorer.Result) -> None:
    """By brute force over the front, in the order of its costs."""
    whole = next(entry for entry in result.outcome.baselines if entry.name == "float").search.value
    for points in (0.0, 5.0, 50.0):
        errors = {each.name: each.found.loss_error or each.score.standard_error for each in result.front}
        losses = {each.name: whole - each.score.value for each in result.front}
        allowed = [
            each
            for each in result.front
            if losses[each.name] <= 0 or losses[each.name] + errors[each.name] <= points / 100
        ]
        if allowed:
            assert result.best(max_loss=points).cost.energy_uj == min(each.cost.energy_uj or 0.0 for each in allowed)
            least = min(each.cost.latency_ms or 0.0 for each in allowed)
            assert result.best(max_loss=points, least="latency").cost.latency_ms == least
    most = sorted(each.cost.weight_bytes for each in result.front)[len(result.front) // 2]
    best = max(each.score.value for each in result.front if each.cost.weight_bytes <= most)
    assert result.best(max_weights=most).score.value == result.best(max_weights=f"{most}B").score.value == best
    assert result.recommended is not None
    assert result.front["recommended"].found is result.recommended.point
    assert result.best().name == result.recommended.point.name  # none of it is fine-tuned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_accuracy_loss": 0.1}, 'expected a requirement, received "max_accuracy_loss"'),
        ({"max_loss": -100}, "the nearest is p[0-9]+, which loses"),
        ({"max_loss": 1.0, "least": "enrgy"}, "did you mean 'energy'"),
        ({"max_loss": 500}, "max_loss: expected points below the float network, such as 1.0, received 500"),
        ({"max_energy": "3"}, "max_energy '3': expected one of pJ"),
    ],
)
def test_a_wrong_question_is_one_clear_line(arguments: dict[str, float], message: str, result: explorer.Result) -> None:
    with pytest.raises(ExplorerError, match=message) as caught:
        result.best(**arguments)
    assert "\n" not in str(caught.value)


def test_an_unknown_point_is_refused_with_those_that_there_are(result: explorer.Result) -> None:
    with pytest.raises(ExplorerError, match=r"front: received 'p99'; choose one of recommended, .* or a point: p01"):
        result.model("p99")


def test_a_front_is_a_sequence_that_shows_its_points(result: explorer.Result) -> None:
    names = [point.name for point in result.front]
    assert repr(result.front).splitlines() == [repr(point) for point in result.front]
    assert [point.name for point in result.front[:2]] == names[:2]
    assert result.front[np.int64(0)].name == names[0]
    with pytest.raises(ExplorerError, match=r"expected the place or the name of a point, received 1\.5"):
        result.front[1.5]  # type: ignore[call-overload]
    last = len(names) - 1
    for place in (len(names), -len(names) - 1):
        with pytest.raises(ExplorerError, match=rf"^front: expected a place from 0 to {last}, received {place}$"):
            result.front[place]
    for kept in (result, result.front, result.knee):
        named = type(kept).__name__.lower()
        with pytest.raises(ExplorerError, match=rf"^{named}: it is not pickled, .* explorer.load\(folder, net\)$"):
            pickle.dumps(kept)


def test_a_point_is_not_built_for_another_network(
    result: explorer.Result, model: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    other = copy.deepcopy(model)
    next(other.parameters()).data.mul_(1.5)
    with pytest.raises(ExplorerError, match=f"{result.knee.name} is of a search of another network"):
        explorer.compress(explorer.open(other, *samples), result.knee)


def test_scores_are_not_taken_for_another_network(
    net: explorer.Net, model: nn.Module, samples: tuple[Tensor, Tensor]
) -> None:
    scores, same = explorer.relevance(net, "l2"), explorer.open(model, *samples)
    other = copy.deepcopy(model)
    next(other.parameters()).data.mul_(1.5)
    point = explorer.uniform(same)
    assert explorer.compress(same, point, scores).candidate == point
    with pytest.raises(ExplorerError, match="scores: they are of another network, or of other weights"):
        explorer.compress(explorer.open(other, *samples), point, scores)


def test_a_front_that_is_empty_says_why(net: explorer.Net) -> None:
    empty = explorer.search(net, trials=2, scores="l2", budgets={"energy_uj": 1e-6})
    assert len(empty.front) == len(empty.front.to_frame()) == 0
    assert "points on the front: 0; trials: 2, of which 2 were over budget" in repr(empty)
    assert "repeats" not in repr(empty)  # none was scored, and so none again
    assert empty.plot("energy").data is not None
    with pytest.raises(ExplorerError, match="front: it is empty, since no candidate kept the budgets"):
        empty.model("knee")
    with pytest.raises(ExplorerError, match="the front is empty"):
        empty.best(max_loss=0.1)


def test_the_network_of_a_point_is_the_one_that_was_scored(net: explorer.Net, result: explorer.Result) -> None:
    for point in result.front:
        assert explorer.accuracy(result.model(point.name)) == point.held_out
        rebuilt = explorer.compress(net, point)  # in the order of the search, not of `net`
        assert explorer.accuracy(rebuilt) == point.held_out


def test_a_state_dict_can_be_loaded_again(
    result: explorer.Result, samples: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    model = result.model("knee")
    assert isinstance(model, nn.Module)
    torch.save(model.state_dict(), tmp_path / "knee.pt")
    fresh = result.model("knee")
    for parameter in fresh.parameters():
        parameter.data.zero_()
    assert not torch.equal(fresh(samples[0]), model(samples[0]))
    fresh.load_state_dict(torch.load(tmp_path / "knee.pt", weights_only=True))
    assert torch.equal(fresh(samples[0]), model(samples[0]))


def test_a_copy_remembers_what_it_was_made_of_and_shares_nothing_that_is_trained(
    result: explorer.Result, samples: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    model = result.model("knee")
    copied = copy.deepcopy(model)
    assert (copied.candidate, copied.origin) == (model.candidate, model.origin)
    assert copied.net is model.net
    expected = model(samples[0])
    for parameter in copied.parameters():
        parameter.data.zero_()
    assert torch.equal(model(samples[0]), expected)
    with pytest.raises(ExplorerError, match=r"saved by its state_dict\(\)"):
        torch.save(model, tmp_path / "whole.pt")


def test_a_figure_shows_the_front(result: explorer.Result) -> None:
    figure = result.plot("energy")
    assert isinstance(figure, go.Figure)
    drawn = {x for trace in figure.data for x in (trace.x or ())}
    assert {point.cost.energy_uj for point in result.front} <= drawn
    assert "Latency" in result.plot("latency", images="held_out").layout.xaxis.title.text


def test_what_notebooks_show_is_escaped(net: explorer.Net, result: explorer.Result) -> None:
    class Odd(nn.Sequential):
        pass

    Odd.__name__ = "<b>Odd</b>"
    odd = explorer.open(Odd(nn.Flatten(), nn.Linear(4, 2)), torch.rand(20, 1, 2, 2), torch.arange(20) % 2)
    assert "<b>" not in odd._repr_html_()
    assert "&lt;b&gt;Odd" in odd._repr_html_()
    scores = explorer.relevance(net, "l2")
    for shown in (net, result, result.front, scores):
        text = shown._repr_html_()
        assert text.count("<table>") == text.count("</table>") == 1
    for point in result.front:
        assert f">{point.name}<" in result.front._repr_html_()
    assert all(name in scores._repr_html_() for name in net.graph.layer_names)


def test_without_a_folder_nothing_stays(net: explorer.Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    explorer.search(net, trials=2, scores="l2")
    assert list(tmp_path.iterdir()) == []


def test_in_a_folder_a_search_goes_on_and_is_found_again(
    model: nn.Module, samples: tuple[Tensor, Tensor], net: explorer.Net, tmp_path: Path
) -> None:
    seen: list[tuple[str, int]] = []
    space = explorer.Space(weight_bits=(2, 8), filter_keep_ratio=(0.5, 1.0))
    whole = explorer.search(net, space, trials=8, scores="l2", folder=tmp_path / "whole")
    explorer.search(net, space, trials=3, scores="l2", folder=tmp_path / "parts")
    again = explorer.open(model, *samples)
    result = explorer.search(
        again,
        space,
        trials=8,
        scores="l2",
        folder=tmp_path / "parts",
        notify=lambda what, done, _: seen.append((what, done)),
    )
    assert ("search", 3) in seen
    assert ("search", 2) not in seen
    assert result.outcome.evaluations == whole.outcome.evaluations
    assert (tmp_path / "parts" / "front.csv").read_bytes() == (tmp_path / "whole" / "front.csv").read_bytes()
    assert (tmp_path / "parts" / "report.html").is_file()
    found = explorer.load(tmp_path / "parts", again)
    assert [point.candidate for point in found.front] == [point.candidate for point in result.front]
    images = samples[0]
    assert torch.equal(found.model("knee")(images), result.model("knee")(images))


def test_a_run_from_python_needs_its_network_to_build_points(net: explorer.Net, tmp_path: Path) -> None:
    explorer.search(net, trials=2, scores="l2", folder=tmp_path)
    found = explorer.load(tmp_path)
    assert len(found.front.to_frame()) == len(found.front)
    with pytest.raises(SearchError, match=r"Sequential and its images were given in Python"):
        found.model("knee")
    other = explorer.open(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), torch.rand(20, 1, 8, 8), np.arange(20) % 4)
    with pytest.raises(SearchError, match="expected the network that was searched"):
        explorer.load(tmp_path, other).model("knee")
    model = net.network.model
    images = explorer.open(model, torch.rand(100, 1, 8, 8), np.arange(100) % 4)
    with pytest.raises(SearchError, match="expected the network with the images that was searched"):
        explorer.load(tmp_path, images).model("knee")


def test_the_images_are_part_of_what_a_folder_holds(
    model: nn.Module, samples: tuple[Tensor, Tensor], net: explorer.Net, tmp_path: Path
) -> None:
    explorer.search(net, trials=2, scores="l2", folder=tmp_path)
    other = explorer.open(model, samples[0] + 0.1, samples[1])
    with pytest.raises(SearchError, match="holds the results of another study"):
        explorer.search(other, trials=3, scores="l2", folder=tmp_path)


def test_fine_tuning_and_exports_remember_the_point(result: explorer.Result, net: explorer.Net, tmp_path: Path) -> None:
    tuned = explorer.finetune(net, result.knee, epochs=1)
    report = explorer.export(tuned, tmp_path)
    assert (tmp_path / "configuration.json").is_file()
    assert report.point == result.knee.name
    assert report.score == explorer.accuracy(tuned)
    for model in (tuned, result.knee):
        explorer.export(model, tmp_path / "other", device="gemmini_default")
        written = json.loads((tmp_path / "other" / "configuration.json").read_text())
        expected = explorer.price(net, result.knee, "gemmini_default")
        assert (written["device"], written["cost"]["latency_cycles"]) == ("gemmini_default", expected.latency_cycles)
    explorer.export(result.knee, tmp_path / "integer", "integer")
    assert (tmp_path / "integer" / "program.json").is_file()


def test_a_result_is_taken_to_another_device(net: explorer.Net, result: explorer.Result, tmp_path: Path) -> None:
    kept = explorer.search(net, trials=6, scores="l2", folder=tmp_path / "run", budgets={"accuracy": 0.01})
    there = kept.retarget("gemmini_default", {"energy_uj": 1e6})
    assert there.outcome.device == "gemmini_default"
    assert there.outcome.study["budgets"]["energy_uj"] == 1e6
    assert there.outcome.study["budgets"]["accuracy"] == 0.01
    point = there.front[0]
    assert point.cost == explorer.price(net, point, "gemmini_default")
    assert {item.candidate for item in there.outcome.evaluations} == {
        item.candidate for item in kept.outcome.evaluations
    }
    unknown = [each for each in there.front if not each.held_out.num_images]
    assert there.front.to_frame()["accuracy_held_out"].isna().sum() == len(unknown)
    assert kept.retarget().front.to_frame().equals(kept.front.to_frame())
    with pytest.raises(ExplorerError, match="retarget: the search kept nothing; give it a folder"):
        result.retarget("mpic")
