"""SCALE-Sim topology files: what is read from them, what is written, and every way in which one can be wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwmodels.errors import NetworkError
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.network import Network
from hwmodels.workload.topology import read_topology, write_topology

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


def read(folder: Path, text: str) -> Network:
    (folder / "net.csv").write_text(text, encoding="utf-8")
    return read_topology(folder / "net.csv")


def products(layer: LayerShape) -> tuple[int, int, int]:
    return layer.m, layer.k, layer.n


def test_a_convolution(tmp_path: Path) -> None:
    network = read(tmp_path, HEADER + "Conv1, 224, 224, 7, 7, 3, 64, 2,\n")
    (layer,) = network.layers
    # Outputs are rounded up, as the simulator does: ceil((224 - 7 + 2) / 2) = 110.
    assert layer == LayerShape(
        name="Conv1",
        kind="conv",
        in_channels=3,
        out_channels=64,
        kernel_h=7,
        kernel_w=7,
        in_h=224,
        in_w=224,
        out_h=110,
        out_w=110,
        stride_h=2,
        stride_w=2,
        bias=False,
    )
    assert (network.name, network.tensors, network.skipped) == ("net", (), ())


def test_a_filter_as_large_as_its_input_is_a_convolution(tmp_path: Path) -> None:
    (layer,) = read(tmp_path, HEADER + "fc, 5, 5, 5, 5, 16, 120, 1,\n").layers
    assert layer.kind == "conv"
    assert products(layer) == (1, 400, 120)


def test_one_position_is_a_linear_layer(tmp_path: Path) -> None:
    (layer,) = read(tmp_path, HEADER + "fc, 1, 1, 1, 1, 64, 10, 1,\n").layers
    assert layer.kind == "linear"
    assert products(layer) == (1, 64, 10)


def test_a_depthwise_convolution_is_known_by_its_name(tmp_path: Path) -> None:
    layers = read(tmp_path, HEADER + "DP1, 10, 10, 3, 3, 32, 1, 1,\nDP2, 1, 1, 1, 1, 4, 2, 1,\n").layers
    assert [products(layer) for layer in layers] == [(64, 9, 1), (1, 1, 2)]
    assert [(layer.groups, layer.out_channels) for layer in layers] == [(32, 32), (4, 8)]


def test_matrix_products(tmp_path: Path) -> None:
    network = read(tmp_path, "Layer,M,N,K,\nqkv,128,1536,512,\n\nout,128,512,512")
    assert [products(layer) for layer in network.layers] == [(128, 512, 1536), (128, 512, 512)]
    assert {layer.kind for layer in network.layers} == {"linear"}


@pytest.mark.parametrize(
    "text",
    [
        HEADER.lower().replace(",\n", "\n") + "a,8,8,3,3,1,2,1",
        "\ufeff\n" + HEADER + "\n ,,\n  a , 8,8 ,3,\t3,1,2,1, 7, #a remark\n\n",
        HEADER.replace("Strides", "Stride Height, Stride Width, Sparsity") + "a,8,8,3,3,1,2,1,1,2:2,\n",
        HEADER.replace("Strides", "Stride_Height, Stride_Width") + "a,8,8,3,3,1,2,1,,\n",
        "Strides,Layer,IFMAP_Height,IFMAP  Width,Filter Height,Filter Width,Channels,Num Filters\n1,a,8,8,3,3,1,2\r\n",
    ],
    ids=["no trailing comma", "blanks, remarks, mark", "all columns", "no stride width", "another order"],
)
def test_spellings(text: str, tmp_path: Path) -> None:
    (layer,) = read(tmp_path, text).layers
    assert (layer.name, products(layer)) == ("a", (36, 9, 2))


def test_two_strides(tmp_path: Path) -> None:
    header = HEADER.replace("Strides", "Stride Height, Stride Width")
    (layer,) = read(tmp_path, header + "a, 9, 9, 3, 3, 1, 2, 1, 2,\n").layers
    assert (layer.out_h, layer.out_w) == (7, 4)


def test_a_sparsity_is_reported(tmp_path: Path) -> None:
    header = HEADER.replace("Strides", "Strides, Sparsity")
    network = read(tmp_path, header + "a,8,8,3,3,4,2,1,1:4,\nb,8,8,3,3,4,2,1,1:1,\nc,8,8,3,3,4,2,1,\n")
    assert network.skipped == (("a", "its sparsity 1:4 is not carried over: the layer counts as dense"),)


def test_layers_without_a_name_of_their_own_get_the_row_number(tmp_path: Path) -> None:
    row = ", 8, 8, 3, 3, 1, 2, 1,\n"
    network = read(tmp_path, HEADER + "Conv" + row + "Conv" + row + row)
    assert [layer.name for layer in network.layers] == ["Conv", "Conv (row 3)", "layer (row 4)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"net.csv: the topology is empty; expected Layer name, IFMAP Height"),
        ("\n , ,\n", r"the topology is empty"),
        (HEADER, r"the topology has a header and no layers: add a row for each"),
        (
            HEADER.replace("Channels, ", ""),
            r"net.csv: row 1: column 'Channels' is missing: expected the header Layer name, .*received 'Layer name",
        ),
        ("Layer, M, N,\na, 1, 2,\n", r"row 1: column 'K' is missing: expected the header Layer name, M, N, K"),
        ("[study]\nname = 1\n", r"row 1: column 'Layer name', 'IFMAP Height', .* is missing.*received '\[study\]'"),
        (HEADER.replace("Strides", "Strides, Batch"), r"row 1: column 'Batch' is not known"),
        (HEADER.replace("Strides", "Strides, Stride"), r"row 1: column 'Strides' is there twice"),
        (
            HEADER + "a, 8, 8, 3, 3, x, 2, 1,\n",
            r"row 2: column 'Channels': expected a whole number from 1 to 2147483647, received 'x'",
        ),
        (HEADER + "\na, 8, 8, 3, 3, 0, 2, 1,\n", r"row 3: column 'Channels': expected .* received '0'"),
        (HEADER + "a, 8, 8, 3, 3, -1, 2, 1,\n", r"received '-1'"),
        (HEADER + "a, 8, 8, 3, 3, 1.5, 2, 1,\n", r"received '1.5'"),
        (HEADER + "a, 8, 8, 3, 3, nan, 2, 1,\n", r"received 'nan'"),
        (HEADER + "a, 8, 8, 3, 3, 99999999999, 2, 1,\n", r"received '99999999999'"),
        (HEADER + "a, 8, 8, 3, 3, 1, 2\n", r"row 2: column 'Strides': expected .* received ''"),
        (
            HEADER + "a, 8, 2, 3, 3, 1, 2, 1,\n",
            r"row 2: expected a filter no larger than the IFMAP, .*received one of 3 x 3 on 8 x 2",
        ),
        ("Layer,M,N,K,\na,1,2,,\n", r"row 2: column 'K': expected a whole number"),
        (
            HEADER.replace("Strides", "Strides, Sparsity") + "a,8,8,3,3,4,2,1,half,\n",
            r"row 2: column 'Sparsity': expected a ratio such as 2:4, received 'half'",
        ),
        (HEADER.replace("Strides", "Strides, Sparsity") + "a,8,8,3,3,4,2,1,5:4,\n", r"received '5:4'"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=message):
        read(tmp_path, text)


def test_all_wrong_rows_are_reported_up_to_a_limit(tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as caught:
        read(tmp_path, HEADER + "a, 8, 8, 3, 3, x, y, 1,\nb, 2, 2, 3, 3, 1, 1, 1,\n")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["row 2", "row 2", "row 3"]
    with pytest.raises(NetworkError) as caught:
        read(tmp_path, HEADER + "a, 8, 8, 3, 3, x, 1, 1,\n" * 50)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 30 more problems"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_bytes(b"\x89PNG\xff\x00")
    for path, message in (
        (tmp_path / "net.csv", "cannot be read as text"),
        (tmp_path, "cannot be read"),
        ("no", "no:"),
    ):
        with pytest.raises(NetworkError, match=message):
            read_topology(path)


@st.composite
def product_layers(draw: st.DrawFn) -> LayerShape:
    """Convolutions of any size, groups, stride and padding, linear layers and products of activations."""
    sizes = st.integers(1, 40)
    kind = draw(st.sampled_from(("conv", "linear", "matmul")))
    groups = draw(st.integers(1, 4)) if kind != "linear" else 1
    channels, filters = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 6))
    name = draw(st.text(min_size=1).filter(lambda text: bool(text.strip())))
    fields: dict[str, Any] = {"out_h": draw(sizes), "out_w": draw(sizes)}
    strides = draw(st.tuples(*(st.integers(1, 4),) * 2)) if kind == "conv" else (1, 1)
    if kind == "conv":
        fields |= {key: draw(st.integers(1, 7)) for key in ("kernel_h", "kernel_w")}
        fields |= {"stride_h": strides[0], "stride_w": strides[1]}
    fields |= {"in_h": fields["out_h"] * strides[0], "in_w": fields["out_w"] * strides[1]}
    return LayerShape(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        in_channels=channels,
        out_channels=filters,
        groups=groups,
        batch=draw(st.integers(1, 4)),
        **fields,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(product_layers(), min_size=1, max_size=6, unique_by=lambda layer: layer.name))
def test_what_is_written_is_read_back(layers: list[LayerShape], tmp_path: Path) -> None:
    network = Network(name="net", layers=tuple(layers))
    assert write_topology(network, tmp_path / "net.csv") == ()
    back = read_topology(tmp_path / "net.csv")
    one_by_one = Counter(products(layer) for layer in layers for _ in range(layer.groups))
    assert Counter(products(layer) for layer in back.layers for _ in range(layer.groups)) == one_by_one
    assert back.macs == network.macs
    if all(layer.groups == 1 for layer in layers):
        assert [products(layer) for layer in back.layers] == [products(layer) for layer in layers]


def test_what_is_written(tmp_path: Path) -> None:
    conv: dict[str, Any] = {"kind": "conv", "kernel_h": 3, "kernel_w": 3, "in_h": 32, "in_w": 32}
    same = conv | {"out_h": 32, "out_w": 32}
    network = Network(
        name="net",
        layers=(
            LayerShape(name="stem", in_channels=3, out_channels=16, **same),
            LayerShape(name="relu", kind="activation", in_channels=16, out_channels=16),
            LayerShape(
                name="down, DP",
                in_channels=16,
                out_channels=32,
                **(conv | {"out_h": 16, "out_w": 16, "stride_h": 2, "stride_w": 2}),
            ),
            LayerShape(name="depth", in_channels=32, out_channels=64, groups=32, **same),
            LayerShape(name="grouped", in_channels=4, out_channels=6, groups=2, **same),
            LayerShape(name="two images", in_channels=3, out_channels=16, batch=2, **same),
            LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10, in_h=7, out_h=7),
        ),
    )
    skipped = write_topology(network, tmp_path / "net.csv")
    assert skipped == (("relu", "it has no products, and a topology states nothing else"),)
    assert (tmp_path / "net.csv").read_text().splitlines() == [
        HEADER.strip(),
        "stem, 34, 34, 3, 3, 3, 16, 1,",
        "down_dp, 33, 33, 3, 3, 16, 32, 2,",
        "depth_DP, 34, 34, 3, 3, 32, 2, 1,",
        "grouped_group0, 34, 34, 3, 3, 2, 3, 1,",
        "grouped_group1, 34, 34, 3, 3, 2, 3, 1,",
        "two_images, 66, 34, 3, 3, 3, 16, 1,",
        "fc, 7, 1, 1, 1, 64, 10, 1,",
    ]


def test_a_row_has_the_stride_of_the_height(tmp_path: Path) -> None:
    conv: dict[str, Any] = {
        "kind": "conv",
        "in_channels": 1,
        "out_channels": 1,
        "kernel_h": 11,
        "in_h": 227,
        "out_h": 55,
    }
    layer = LayerShape(name="a", **conv, stride_h=4, in_w=9, out_w=5, stride_w=2)
    write_topology(Network(name="net", layers=(layer,)), tmp_path / "net.csv")
    assert (tmp_path / "net.csv").read_text().splitlines()[1] == "a, 227, 17, 11, 1, 1, 1, 4,"


def test_a_network_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    pool = LayerShape(name="pool", kind="pool", in_channels=4, out_channels=4)
    with pytest.raises(NetworkError, match=r"net.csv: no layer of network 'net' has products"):
        write_topology(Network(name="net", layers=(pool,)), tmp_path / "net.csv")
    linear = LayerShape(name="fc", kind="linear", in_channels=4, out_channels=4)
    with pytest.raises(NetworkError, match=r"cannot be written .* choose another folder"):
        write_topology(Network(name="net", layers=(linear,)), tmp_path / "none" / "net.csv")
