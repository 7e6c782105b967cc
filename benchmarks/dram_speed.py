"""Speed of the DRAM model: transactions (bursts) per CPU second.

    python benchmarks/dram_speed.py [--runs N]

A `long transfer` is handed over as one, as a DMA would; the traces hand over every burst as a transfer of
its own. `stride_128k` closes and opens a row for every burst, `stride_8k`, `random_read` and
`paced_rand_100` for almost every one: these are bound by conflicts, the others are streams. The aims are
5 million on streams and 1 million on conflicts, with the schedulers that take requests from one queue
and, on conflicts, with a queue at every bank too. Where $ACCELSIM_REFERENCES names the folder of the
reference data, the figures of the two DRAM simulators on the same traces stand beside ours. Exit status
1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Literal

from dram_validation import TRACES
from timing import table

from accelsim.memory.dram import Dram
from accelsim.memory.dram_spec import DramConfig, resolve
from accelsim.memory.dram_state import DramParameters

STREAM_BYTES = 16 << 20
CONFLICTS = ("stride_8k", "stride_128k", "random_read", "paced_rand_100")
STREAMS = ("seq_read", "seq_write", "alt_rw_1", "two_stream_read", "paced_seq_16")
STREAM_AIM, CONFLICT_AIM = 5.0, 1.0  # millions


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


def peers(name: str) -> tuple[str, str]:
    """The medians of Ramulator and DRAMsim3 on a trace with DDR4, in millions, or dashes."""
    path = Path(os.environ.get("ACCELSIM_REFERENCES", "")) / "dram" / "dram_results.csv"
    figures = []
    for simulator in ("ramulator2.1", "dramsim3"):
        rates = []
        if path.is_file():
            with path.open() as file:
                rates = [
                    float(row["tx_per_user_s"]) for row in csv.DictReader(file)
                    if row["simulator"] == simulator and row["trace"] == name and row["device"].startswith("DDR4")
                ]
        figures.append(f"{median(rates) / 1e6:.3f}" if rates else "-")
    return figures[0], figures[1]


def cases() -> list[tuple[str, str, str, float | None, Callable[[], float]]]:
    """Kind, what is run, the trace that the references have run, the aim, and the work."""
    by_group = "row|bank|bankgroup|col"  # the map of the reference rows
    ddr4 = resolve(DramConfig(standard="ddr4_2400"))
    hbm2 = resolve(DramConfig(standard="hbm2"))
    found: list[tuple[str, str, str, float | None, Callable[[], float]]] = [
        ("stream", "long transfer, read, DDR4-2400", "seq_read", STREAM_AIM, stream(ddr4, False)),
        ("stream", "long transfer, write, DDR4-2400", "seq_write", STREAM_AIM, stream(ddr4, True)),
        ("stream", "long transfer, read, HBM2, 16 pseudo-channels", "", STREAM_AIM, stream(hbm2, False)),
    ]
    schedulers: tuple[Literal["frfcfs_row_hit", "frfcfs", "bank_queues"], ...]
    schedulers = ("frfcfs_row_hit", "frfcfs", "bank_queues")
    for scheduler in schedulers:
        p = resolve(DramConfig(standard="ddr4_2400", mapping=by_group, scheduler=scheduler))
        for name in (*STREAMS, *CONFLICTS):
            kind, aim = ("conflicts", CONFLICT_AIM) if name in CONFLICTS else ("stream", STREAM_AIM)
            has_aim = kind == "conflicts" or scheduler != "bank_queues"
            found.append((kind, f"{name}, {scheduler}", name, aim if has_aim else None, trace(p, name)))
    return found


def main() -> int:
    """Print the table; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each case, of which the median counts")
    runs = parser.parse_args().runs
    rows, missed = [], 0
    for kind, label, name, aim, work in sorted(cases(), key=lambda case: case[0], reverse=True):
        work()
        rates = [work() for _ in range(runs)]
        kept = aim is None or median(rates) >= aim
        missed += not kept
        verdict = "-" if aim is None else "kept" if kept else "MISSED"
        aim_text = "-" if aim is None else f"{aim:.0f}"
        rows.append((kind, label, f"{median(rates):.2f}", f"{max(rates):.2f}", aim_text, verdict, *peers(name)))
    print("millions of bursts per CPU second")
    print(table(("kind", "case", "accelsim", "best", "aim", "", "Ramulator 2.1", "DRAMsim3"), rows))
    print(f"{missed} aims missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
