"""Run the SCALE-Sim simulator on the study's layers: a few minutes; needs `pip install scalesim==3.0.0 "numpy<2"`.

Run it in an environment of its own, from this folder: python simulate.py
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

from scalesim.scale_sim import scalesim

HERE = Path(__file__).parent
LAYOUT_COLUMNS = 21
"""Of the layout file that the simulator wants to read even where the layout of its buffers is not modelled."""


def main() -> None:
    """Write scalesim/reports.csv: one row for each layer, the simulator's compute and access reports side by side."""
    topology = HERE / "scalesim" / "topology.csv"
    names = [line.split(",")[0] for line in topology.read_text(encoding="utf-8").splitlines()[1:]]
    with tempfile.TemporaryDirectory() as folder:
        layout = Path(folder) / "layout.csv"
        rows = [
            ",".join(["column"] * LAYOUT_COLUMNS),
            *(",".join([name, *["1"] * (LAYOUT_COLUMNS - 1)]) for name in names),
        ]
        layout.write_text("".join(f"{row},\n" for row in rows), encoding="utf-8")
        simulator = scalesim(
            save_disk_space=True,
            verbose=True,
            config=str(HERE / "scalesim" / "config.cfg"),
            topology=str(topology),
            layout=str(layout),
            input_type_gemm=False,
        )
        simulator.run_scale(top_path=folder)
        reports = [next(Path(folder).rglob(name)) for name in ("COMPUTE_REPORT.csv", "DETAILED_ACCESS_REPORT.csv")]
        tables = [list(csv.reader(report.open(encoding="utf-8"), skipinitialspace=True)) for report in reports]
    with (HERE / "scalesim" / "reports.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", *(cell for table in tables for cell in table[0][1:] if cell)])
        for index, name in enumerate(names, start=1):
            writer.writerow([name, *(cell for table in tables for cell in table[index][1:] if cell)])


if __name__ == "__main__":
    main()
