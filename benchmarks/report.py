"""How large the report of many candidates is, and how quickly it answers, in headless Chromium without a network.

The outcome is made up: so many candidates of a network of so many layers, each with weight and input bits, a density
and a codebook drawn at random, and costs and a score that follow from these. Its front is what `explorer.study.front`
takes; layers are stored for its members alone, as in a run. Printed are the CPU-seconds of writing the page,
the size of the file, the time from opening it until it can be used, and those from a click on a row until the first 40
rows of the table of its layers are painted, and until all are: of members of the front, and of other evaluations, the
median and the largest of 20. Needs playwright, and Chromium as EXPLORER_CHROMIUM or /usr/bin/chromium.

python -m benchmarks.report
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.evaluate.mean_score import MeanScore
from explorer.report.front.page import write_report
from explorer.study.front import front
from explorer.study.record import FLOAT, UNIFORM, Baseline, Cost, Evaluation, FrontPoint, LayerSummary, Outcome

OBJECTIVES = ("accuracy", "energy", "weight_memory")
IMAGES = 5000
CLICKS = 20
WEIGHTS = 20_000
"""Of a layer; its costs are in proportion to the bits that are kept of it."""
CLICK = """async ([number, layers]) => {
  const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  const nodes = [...document.querySelectorAll("#front tbody tr")].slice(2);
  const row = nodes[number % nodes.length];
  const start = performance.now();
  row.querySelector("td").click();
  const shown = document.getElementById("layers-heading").textContent;
  if (shown !== `Layers of ${row.dataset.name}`) throw new Error("not shown");
  await painted();
  const first = performance.now() - start;
  while (document.querySelectorAll("#layers tbody tr").length < layers) await painted();
  await painted();
  return [first, performance.now() - start];
}"""
"""Milliseconds from a click on a row until its first layers, and all of so many, are painted."""


def make_outcome(count: int, layers: int) -> Outcome:
    """Return an outcome of `count` candidates of a network of so many layers."""
    draw = random.Random(0)
    names = [f"stage{index // 6}.block{index % 6}.conv" for index in range(layers)]
    found = tuple(_evaluate(number, names, draw) for number in range(count))
    members = front(found, OBJECTIVES)
    plain = Candidate(layers=tuple(LayerChoice(layer=name) for name in names), filter_keep_ratio=())
    right = MeanScore(value=0.93, num_images=IMAGES)
    unknown = replace(_price(plain, True), energy_uj=None, latency_ms=None, latency_cycles=None, layers=())
    return Outcome(
        study={"study": {"name": "made_up", "title": f"{count:,} candidates of {layers} layers"}},
        device="bitfusion",
        device_title="Bit Fusion",
        objectives=OBJECTIVES,
        baselines=(
            Baseline(name=FLOAT, cost=unknown, search=right, held_out=right),
            Baseline(name=UNIFORM, cost=_price(plain, True), search=right, held_out=right),
        ),
        front=tuple(
            FrontPoint(
                name=f"p{place:02d}",
                evaluation=replace(item, cost=_price(item.candidate, True)),
                held_out=item.score or right,
            )
            for place, item in enumerate(members, start=1)
        ),
        evaluations=found,
        skipped=(),
        provenance={},
    )


def _evaluate(number: int, names: list[str], draw: random.Random) -> Evaluation:
    wanted = draw.uniform(2, 8)
    choices = []
    for name in names:
        width = max(2, min(8, round(draw.gauss(wanted, 1.2))))
        book = draw.choice((None, 4, 8)) if width > 3 else None
        density = draw.choice((0.25, 0.5, 0.75, 1.0))
        inputs = draw.choice((4, 6, 8))
        choices.append(
            LayerChoice(
                layer=name, weight_bits=width, activation_bits=inputs, weight_density=density, codebook_size=book
            )
        )
    candidate = Candidate(layers=tuple(choices), filter_keep_ratio=())
    lost = sum(2.0**-choice.weight_bits + 0.3 * (1 - choice.weight_density) for choice in choices) / len(names)
    score = min(1.0, max(0.0, 0.93 - 0.8 * lost + draw.gauss(0.0, 0.004)))
    return Evaluation(
        number=number,
        origin="bayes" if number > 20 else "seed",
        candidate=candidate,
        cost=_price(candidate, False),
        score=MeanScore(value=round(score * IMAGES) / IMAGES, num_images=IMAGES),
        violations=(("energy_uj", 0.1),) if number % 11 == 0 else (),
    )


def _price(candidate: Candidate, with_layers: bool) -> Cost:
    rows = [
        LayerSummary(
            layer=choice.layer,
            kind="conv",
            weight_bits=choice.weight_bits,
            activation_bits=choice.activation_bits,
            filters=64,
            filters_of=64,
            weight_density=choice.weight_density,
            codebook_size=choice.codebook_size,
            macs=100 * WEIGHTS,
            energy_uj=1e-4 * WEIGHTS * choice.weight_bits * choice.activation_bits * (0.3 + choice.weight_density) / 64,
            latency_cycles=WEIGHTS * choice.weight_bits // 8,
            weight_bytes=int(WEIGHTS * choice.weight_density * choice.weight_bits / 8),
            weight_format="dense",
            bound="compute",
            memory_bits=WEIGHTS * choice.weight_bits,
        )
        for choice in candidate.layers
    ]
    energy = sum(row.energy_uj for row in rows)
    return Cost(
        energy_uj=energy,
        latency_ms=sum(row.latency_cycles for row in rows) / 1e6,
        latency_cycles=sum(row.latency_cycles for row in rows),
        weight_bytes=sum(row.weight_bytes for row in rows),
        activation_bytes=65_536,
        macs=sum(row.macs for row in rows),
        energy_uj_by_component={"mac": 0.4 * energy, "dram": 0.6 * energy},
        layers=tuple(rows) if with_layers else (),
        notes=(),
    )


def open_page(path: Path, layers: int, clicks: int) -> tuple[float, list[list[float]], list[list[float]]]:
    """Return the milliseconds until a page can be used, and those of clicks on the front and on other evaluations.

    Of each click these are two, as CLICK says.

    Raises:
        RuntimeError: It said something on the console.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (the rest works without it)

    said: list[str] = []
    with sync_playwright() as playwright:
        chromium = os.environ.get("EXPLORER_CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_offline(True)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("#plot svg")
        loaded = float(page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
        members = [page.evaluate(CLICK, [number, layers]) for number in range(clicks)]
        page.get_by_role("radio", name="all evaluations").check()
        others = [page.evaluate(CLICK, [number, layers]) for number in range(clicks)]
        browser.close()
    if said:
        raise RuntimeError("; ".join(said))
    return loaded, members, others


def main() -> None:
    """Write the page, open it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--layers", type=int, default=20)
    given = parser.parse_args()
    outcome = make_outcome(given.candidates, given.layers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        start = time.process_time()
        write_report(outcome, path)
        written = time.process_time() - start
        size = path.stat().st_size
        loaded, members, others = open_page(path, given.layers, CLICKS)
    print(f"{given.candidates:,} candidates of {given.layers} layers, {len(outcome.front)} on the front")
    print(f"written in {written:.2f} CPU-s, {size / 1e6:.2f} MB; ready after {loaded / 1000:.2f} s")
    for title, times in (("the front", members), ("all evaluations", others)):
        told = [
            f"median {statistics.median(some):.0f} ms, largest {max(some):.0f} ms" for some in zip(*times, strict=True)
        ]
        print(f"click to table, {title}: {told[0]}; to all its rows: {told[1]}")


if __name__ == "__main__":
    main()
