"""The roofline's data, its drawing, and the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import hwmodels
from explorer.errors import ExportError
from explorer.files import CONTENT_POLICY
from explorer.report.roofline.figures import draw_roofline
from explorer.report.roofline.page import write_roofline
from explorer.report.roofline.views import RooflineView, build_roofline_view
from hwmodels import NETWORKS, LayerJob, LayerShape

CONV = LayerShape(
    name="conv <1>", kind="conv", in_channels=16, out_channels=32, kernel_h=3, kernel_w=3,
    in_h=16, in_w=16, out_h=16, out_w=16,
)  # fmt: skip
FC = LayerShape(name="fc", kind="linear", in_channels=512, out_channels=512)
POOL = LayerShape(name="add", kind="add", in_channels=16, out_channels=16, in_h=9, out_h=9, operands=2)


def _view(device: str, jobs: list[LayerJob]) -> RooflineView:
    accelerator = hwmodels.load(device)
    return build_roofline_view("net", jobs, hwmodels.evaluate(jobs, accelerator).layers, accelerator)


def test_roofline_by_hand() -> None:
    jobs = [LayerJob(shape=CONV, weight_bits=3), LayerJob(shape=FC), LayerJob(shape=POOL)]
    view = _view("bitfusion", jobs)
    # 512 units at 500 MHz, twice as many MACs for 3-bit weights, which run as 4 bits; 192 bits in a cycle.
    assert view.peaks == (((4, 8), 512e9), ((8, 8), 256e9))
    assert view.bandwidth == 12e9
    conv, fc = view.points
    layers = hwmodels.evaluate(jobs, hwmodels.load("bitfusion")).layers
    moved = [layer.dram_weight_bits + layer.dram_input_bits + layer.dram_output_bits for layer in layers]
    assert conv.intensity == pytest.approx(CONV.macs / (moved[0] / 8))
    assert conv.rate == pytest.approx(CONV.macs / (layers[0].latency_cycles / 500e6))
    assert fc.attainable == pytest.approx(fc.intensity * 12e9)
    assert view.apart == pytest.approx(layers[2].latency_cycles / sum(layer.latency_cycles for layer in layers))


@pytest.mark.parametrize("device", hwmodels.names())
def test_no_layer_is_above_its_roof(device: str) -> None:
    network = NETWORKS["mlperf_tiny_mobilenet"]()
    for point in _view(device, list(network.jobs())).points:
        assert point.rate <= point.attainable * (1 + 1e-9), point.name


def test_what_is_drawn_is_the_view() -> None:
    view = _view("gemmini_default", [LayerJob(shape=CONV), LayerJob(shape=FC)])
    traces = draw_roofline(view).data
    assert [trace.mode for trace in traces] == ["lines", "markers", "markers"]
    drawn = {(x, y) for trace in traces[1:] for x, y in zip(trace.x, trace.y, strict=True)}
    assert drawn == {(point.intensity, point.rate) for point in view.points}
    assert max(traces[0].y) == view.peaks[0][1]
    assert "conv &lt;1&gt;" in "".join(text for trace in traces[1:] for text in trace.hovertext)


def test_a_network_without_products_has_an_empty_roofline() -> None:
    view = _view("gemmini_default", [LayerJob(shape=POOL)])
    assert (view.points, view.peaks, view.apart) == ((), (), 1.0)
    assert len(draw_roofline(view).data) == 0


def test_the_file_stands_alone_and_is_equal_for_equal_views(tmp_path: Path) -> None:
    view = _view("bitfusion", [LayerJob(shape=CONV)])
    for name in ("a.html", "b.html"):
        write_roofline(view, tmp_path / name)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert 'id="roofline"' in text
    assert "<script src=" not in text
    assert text.index(CONTENT_POLICY) < text.index("<script")
    (tmp_path / "b.html").write_text("my page")
    with pytest.raises(ExportError, match=r"b\.html: is there and was not written by this version of explorer"):
        write_roofline(view, tmp_path / "b.html")
    with pytest.raises(OSError, match="No such file"):
        write_roofline(view, tmp_path / "absent" / "c.html")
