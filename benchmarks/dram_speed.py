"""Speed of the DRAM model: transactions (bursts) per CPU second.

    python benchmarks/dram_speed.py [--runs N]

`stream` hands over one long transfer, as a DMA would; the traces hand over every burst as a transfer of
its own. `stride_128k` closes and opens a row for every burst, `random_read` for almost every one. Where
$ACCELSIM_REFERENCES names the folder of the reference data, the figures of the two DRAM simulators on
the same traces stand beside ours. The aim: 5 million on streams, 1 million on conflicts.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

from dram_validation import TRACES
from timing import table

from accelsim.memory.dram import Dram
from accelsim.memory.dram_spec import DramConfig, resolve
from accelsim.memory.dram_state import DramParameters

STREAM_BYTES = 16 << 20


def stream(p: DramParameters, is_write: bool) -> Callable[[], float]:
    """A run of one long transfer; gives millions of bursts per CPU second."""
    def work() -> float:
        dram = Dram(p, 10**9)
        begin = process_time()
        dram.submit(0, 0, 0, STREAM_BYTES, is_write)
        dram.finish()
        return STREAM_BYTES / p.burst_bytes / (process_time() - begin) / 1e6

    return work


def trace(p: DramParameters, name: str) -> Callable[[], float]:
    """A run of a reference trace."""
    made = TRACES[name]()

    def work() -> float:
        dram = Dram(p, 10**9)
        begin = process_time()
        dram.run_trace(made.arrivals, made.addresses, made.writes, 64)
        spent = process_time() - begin
        stats = dram.stats()
        return (stats.reads + stats.writes) / spent / 1e6

    return work


def peers(name: str) -> str:
    """Ramulator's and DRAMsim3's median on a trace with DDR4, in millions, or a dash."""
    path = Path(os.environ.get("ACCELSIM_REFERENCES", "")) / "dram" / "dram_results.csv"
    if not path.is_file():
        return "-"
    figures = []
    for simulator in ("ramulator2.1", "dramsim3"):
        with path.open() as file:
            rates = [
                float(row["tx_per_user_s"]) for row in csv.DictReader(file)
                if row["simulator"] == simulator and row["trace"] == name and row["device"].startswith("DDR4")
            ]
        figures.append(f"{median(rates) / 1e6:.3f}")
    return " / ".join(figures)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    ddr4 = resolve(DramConfig(standard="ddr4_2400"))
    grouped = resolve(DramConfig(standard="ddr4_2400", mapping="row|bank|bankgroup|col"))
    hbm2 = resolve(DramConfig(standard="hbm2"))
    banks = resolve(DramConfig(standard="ddr4_2400", mapping="row|bank|bankgroup|col", scheduler="bank_queues"))
    cases: list[tuple[str, str, Callable[[], float]]] = [
        ("stream, read, DDR4-2400", "seq_read", stream(ddr4, False)),
        ("stream, write, DDR4-2400", "seq_write", stream(ddr4, True)),
        ("stream, read, HBM2, 16 pseudo-channels", "", stream(hbm2, False)),
        *((f"{name}, DDR4-2400", name, trace(grouped, name)) for name in TRACES),
        ("stride_128k, DDR4-2400, bank_queues", "stride_128k", trace(banks, "stride_128k")),
    ]
    rows = []
    for label, name, work in cases:
        work()
        rates = [work() for _ in range(runs)]
        rows.append((label, f"{median(rates):.2f}", f"{max(rates):.2f}", peers(name) if name else "-"))
    print(table(("case", "M bursts / CPU s", "best", "Ramulator / DRAMsim3"), rows))


if __name__ == "__main__":
    main()
