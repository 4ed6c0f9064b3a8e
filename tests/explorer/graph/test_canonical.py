"""Canonicalise: bit-identical logits on networks of many styles, the user's model untouched, clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.errors import ModelError
from explorer.graph.canonical import canonicalise

Forward = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """Convolution, convolution, linear; what happens between them is the case."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 4 * 4, 5)
        self.relu = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)
        dropouts = nn.Dropout(0.5), nn.FeatureAlphaDropout(0.5)
        self.block = nn.Sequential(nn.Identity(), nn.ReLU6(), nn.Sequential(), *dropouts)
        self.body = forward

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def functional(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv1(x))
    x = F.max_pool2d(F.leaky_relu(m.conv2(x), 0.2), 2)
    return m.fc(torch.flatten(x, 1))


def methods(m: Any, x: Tensor) -> Any:
    x = m.conv1(x).relu()
    x = F.avg_pool2d(torch.relu(m.conv2(x)).sigmoid().tanh(), 2)
    return m.fc(x.view(x.size(0), -1))


def in_place(m: Any, x: Tensor) -> Any:
    x = m.conv1(x).relu_()
    x = F.relu(m.conv2(x), inplace=True)
    x = F.elu(x, 1.5, True)
    return m.fc(F.max_pool2d(x, 2).flatten(1))


def in_place_statements(m: Any, x: Tensor) -> Any:
    """The results of the calls are dropped: only their effect on the operand counts."""
    y = m.conv1(x)
    y.relu_()
    m.inplace(y)
    z = m.conv2(y)
    F.relu_(z)
    z += y
    z.mul_(0.5).add_(y)
    return m.fc(F.max_pool2d(z, 2).reshape(-1, 64))


def in_place_shared(m: Any, x: Tensor) -> Any:
    """The module changes what the addition reads as well."""
    y = m.conv1(x)
    z = m.conv2(m.inplace(y))
    return m.fc(F.max_pool2d(z + y, 2).reshape(x.shape[0], -1))


def reused(m: Any, x: Tensor) -> Any:
    x = m.relu(m.conv2(m.relu(m.conv1(x))))
    return m.fc(torch.reshape(F.adaptive_avg_pool2d(m.relu(x), 4), (x.size(0), 64)))


def computed_sizes(m: Any, x: Tensor) -> Any:
    x = m.relu(m.conv2(m.conv1(x)))
    x = F.max_pool2d(x, kernel_size=x.size()[3] // 4, stride=x.shape[2] // 4)
    return m.fc(x.view(-1, x.shape[1] * x.shape[2] * x.shape[3]))


def pool_arguments_by_position(m: Any, x: Tensor) -> Any:
    """The sixth argument is ceil_mode for the function, but return_indices for the module."""
    x = F.max_pool2d(m.conv2(m.conv1(x)), 3, 2, 0, 1, True)
    return m.fc(x.flatten(1))


def dropout(m: Any, x: Tensor) -> Any:
    x = F.dropout(m.conv1(x), 0.5, training=m.training)
    x = m.block(F.dropout2d(m.conv2(x), 0.5, m.training))
    return m.fc(F.max_pool2d(x, 2).contiguous().flatten(start_dim=1))


def shared_layer(m: Any, x: Tensor) -> Any:
    return m.fc(F.max_pool2d(m.conv2(m.conv2(m.conv1(x))), 2).flatten(1))


STYLES = [
    functional,
    methods,
    in_place,
    in_place_statements,
    in_place_shared,
    reused,
    computed_sizes,
    pool_arguments_by_position,
    dropout,
    shared_layer,
]
EXAMPLE = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def modules_of(model: fx.GraphModule) -> list[str]:
    calls = [node for node in model.graph.nodes if node.op not in {"placeholder", "output"}]
    return [type(model.get_submodule(str(n.target))).__name__ if n.op == "call_module" else str(n.op) for n in calls]


@pytest.mark.parametrize("style", STYLES)
def test_logits_are_bit_identical_and_the_model_is_untouched(style: Forward) -> None:
    torch.manual_seed(0)
    model = Net(style).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    example = EXAMPLE.clone()
    canonical = canonicalise(model, example)
    fresh = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(canonical(fresh), model.eval()(fresh.clone()))
    assert model.inplace.inplace
    assert torch.equal(example, EXAMPLE)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert not canonical.training


def test_train_mode_of_the_users_model_stays() -> None:
    model = Net(functional).train()
    canonicalise(model, EXAMPLE)
    assert model.training
    assert isinstance(model, Net)


@pytest.mark.parametrize("style", [style for style in STYLES if style not in {in_place_statements, in_place_shared}])
def test_only_modules_are_left(style: Forward) -> None:
    names = modules_of(canonicalise(Net(style), EXAMPLE))
    assert not {"call_function", "call_method", "Dropout", "FeatureAlphaDropout", "Identity", "Sequential"} & set(names)
    assert names.count("Conv2d") == (3 if style is shared_layer else 2)
    assert names[-2:] == ["Flatten", "Linear"]


def test_nothing_works_in_place() -> None:
    for style in STYLES:
        canonical = canonicalise(Net(style), EXAMPLE)
        calls = [node.target for node in canonical.graph.nodes if node.op != "call_module"]
        assert not {str(getattr(target, "__name__", target)) for target in calls} & {"iadd", "add_", "mul_", "relu_"}
        assert not any(getattr(module, "inplace", False) is True for module in canonical.modules())


def test_every_call_of_an_activation_has_a_module_of_its_own() -> None:
    canonical = canonicalise(Net(reused), EXAMPLE)
    targets = [
        str(n.target)
        for n in canonical.graph.nodes
        if n.op == "call_module" and isinstance(canonical.get_submodule(str(n.target)), nn.ReLU)
    ]
    assert len(targets) == len(set(targets)) == 3
    assert len({id(canonical.get_submodule(target)) for target in targets}) == 3


def test_computed_kernel_sizes_become_numbers() -> None:
    canonical = canonicalise(Net(computed_sizes), EXAMPLE)
    (pool,) = [module for module in canonical.modules() if isinstance(module, nn.MaxPool2d)]
    assert (pool.kernel_size, pool.stride) == (2, 2)


def test_negative_gains_move_into_the_filters() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    conv, norm = model[0], model[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    norm.weight.data = torch.tensor([1.0, -2.0, 0.0, -0.5])
    norm.running_mean.normal_()
    canonical = canonicalise(model, EXAMPLE)
    turned, gains = canonical.get_submodule("0"), canonical.get_submodule("1").get_parameter("weight")
    assert gains.tolist() == [1.0, 2.0, 0.0, 0.5]
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert torch.equal(turned.get_parameter("weight"), conv.weight * signs[:, None, None, None])
    assert norm.weight.tolist() == [1.0, -2.0, 0.0, -0.5]
    with torch.no_grad():
        assert torch.equal(canonical(EXAMPLE), model(EXAMPLE))


def branches(m: Any, x: Tensor) -> Any:
    x = m.conv1(x)
    if x.mean() > 0:
        x = m.conv2(x)
    return m.fc(F.max_pool2d(x, 2).flatten(1))


def active_dropout(m: Any, x: Tensor) -> Any:
    return m.fc(F.dropout(F.max_pool2d(m.conv1(x), 2).flatten(1), 0.5))


def not_logits(m: Any, x: Tensor) -> Any:
    return m.conv1(x)[0].flatten(1)


def a_number(m: Any, x: Tensor) -> Any:
    return functional(m, x), 1


def not_a_number(m: Any, x: Tensor) -> Any:
    return functional(m, x) * float("nan")


def baked_constant(m: Any, x: Tensor) -> Any:
    return functional(m, x) + torch.rand(5)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (branches, r"cannot trace Net at .*test_canonical\.py:\d+ \(if x\.mean\(\) > 0:\).*control flow"),
        (active_dropout, r"calls dropout with training=True.*pass training=self\.training"),
        (not_logits, r"must return a tensor of shape \(N, outputs, ...\) or several of them, received \(4, 64\)"),
        (a_number, r"or several of them, received int"),
        (not_a_number, r"NaN or infinite outputs"),
        (baked_constant, r"gives other logits than the model \(largest difference .*random operation"),
    ],
)
def test_what_cannot_be_explored_is_refused(style: Forward, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        canonicalise(Net(style), EXAMPLE)


def test_the_wrong_image_shape_is_refused_with_the_line_of_the_model() -> None:
    with pytest.raises(ModelError, match=r"images of shape \(2, 1, 8, 8\) at .*test_canonical\.py:\d+ .*data set's"):
        canonicalise(Net(functional), torch.zeros(2, 1, 8, 8))


def test_a_batch_norm_without_statistics_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    with pytest.raises(ModelError, match=r"batch norm '1' keeps no running statistics.*track_running_stats=True"):
        canonicalise(model, EXAMPLE)


def test_whatever_a_rewriting_meets_is_one_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(graph_module: fx.GraphModule) -> None:
        raise IndexError("of a rule")

    monkeypatch.setattr("explorer.graph.canonical.functions_to_modules", stumble)
    with pytest.raises(ModelError, match=r"model: cannot be made canonical \(IndexError: of a rule\); write the line"):
        canonicalise(nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), torch.zeros(2, 1, 4, 4))
