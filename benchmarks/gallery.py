"""The gallery of docs/gallery.md, from nothing: small sweeps, six plots and the page as a browser shows it.

    python benchmarks/gallery.py [--out docs/gallery] [--workers N]

Needs about a minute on two idle cores. The picture of the page is made only where a headless Chromium is installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 150_000
DPI = 160
SWEEP = """
name: gallery
arch: systolic_ws_32
workload: [resnet18, mobilenet_v2]
sweep:
  engine.dataflow: [ws, os, is]
  engine.rows: [16, 32, 64, 128]
  engine.cols: [16, 32, 64, 128]
  dram.bandwidth_bytes_per_s: [9600000000, 38400000000]
set:
  dram.fidelity: bandwidth
"""


ACCURACY = """
name: accuracy
arch: bit_fusion
workload: lenet_digits
recipe: [%s]
evaluate: own
sweep:
  engine.rows: [8, 16, 32]
"""
RECIPE = """
name: {name}
source: "assumed: the same widths in all layers"
steps:
  - {{step: uniform, bits: {weights}, granularity: channel}}
  - {{step: describe, bits: 8, only_missing: true}}
  - {{step: uniform, object: A, bits: {activations}}}
"""
WIDTHS = [(2, 2), (2, 4), (2, 8), (3, 4), (3, 8), (4, 2), (4, 4), (4, 8), (6, 8), (8, 2), (8, 4), (8, 8)]
"""Bits of weights and of activations."""


def accuracy_table(folder: Path) -> Any:
    """A network with trained weights under recipes of several widths, evaluated on its test split."""
    from accelsim.sweep.run import sweep

    recipes = []
    for weights, activations in WIDTHS:
        name = f"w{weights}a{activations}"
        (folder / f"{name}.yaml").write_text(RECIPE.format(name=name, weights=weights, activations=activations))
        recipes.append(str(folder / f"{name}.yaml"))
    description = folder / "accuracy.yaml"
    description.write_text(ACCURACY % ", ".join(recipes))
    return sweep(description, folder / "accuracy.db", workers=0)


def plots() -> dict[str, tuple[str, str, Any]]:
    """File name -> (kind of curve, condition on the points, choice)."""
    from accelsim.report.curve_parts import Choice

    square = "workload == 'resnet18' and engine.rows == engine.cols and dram.bandwidth_bytes_per_s > 2e10"
    return {
        "pareto": ("pareto", "workload == 'resnet18'", Choice(series="engine.dataflow")),
        "scaling": ("scaling", "dram.bandwidth_bytes_per_s > 2e10 and workload == 'resnet18'",
                    Choice(series="engine.dataflow")),
        "breakdown": ("breakdown", square, Choice()),
        "roofline": ("roofline", "engine.rows == engine.cols", Choice(series="workload")),
        "heatmap": ("heatmap", "workload == 'mobilenet_v2'",
                    Choice(x=["engine.cols"], y=["engine.rows"], value="edp")),
    }  # fmt: skip


def main() -> None:
    from accelsim.report.curve_parts import Choice
    from accelsim.report.curves import write_curve
    from accelsim.report.page import write_page
    from accelsim.sweep.run import sweep
    from accelsim.sweep.store import Store

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        description, results = Path(folder) / "gallery.yaml", Path(folder) / "gallery.db"
        description.write_text(SWEEP)
        begin = time.monotonic()
        sweep(description, results, workers=options.workers)
        print(f"swept in {time.monotonic() - begin:.1f} s")
        with Store.open(results) as store:
            table = store.table("gallery")
        for name, (kind, where, choice) in plots().items():
            path = options.out / f"{name}.png"
            write_curve(table.where(where), kind, [path], choice, DPI)
            _check(path)
        path = options.out / "accuracy.png"
        table_of_recipes = accuracy_table(Path(folder))
        for row in table_of_recipes.rows:
            row["recipe"] = Path(row["recipe"]).stem
        write_curve(table_of_recipes, "pareto", [path], Choice(x=["accuracy"], series="engine.rows"), DPI)
        _check(path)
        page = Path(folder) / "report.html"
        print(f"page: {write_page(table, page, 'gallery: systolic arrays') / 1e3:.0f} kB")
        _photograph(page, options.out / "report.png", Path(folder) / "profile")


def _check(path: Path) -> None:
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e3:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} is larger than {MOST_BYTES / 1e3:.0f} kB")


def _photograph(page: Path, out: Path, profile: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = next((path for name in names if (path := shutil.which(name))), None)
    if browser is None:
        print("no headless Chromium: no picture of the page")
        return
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
               "--window-size=1240,860", f"--screenshot={out}", page.resolve().as_uri()]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(f"{out.name}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
