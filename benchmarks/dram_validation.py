"""The DRAM model beside two DRAM simulators: total cycles, row hits, misses, conflicts and read latency.

    python benchmarks/dram_validation.py [--all]

The reference rows (Ramulator 2.1 and DRAMsim3, one timing set for each device) are read from
`dram/dram_results.csv` in the folder $ACCELSIM_REFERENCES. Every row is compared with our scheduler of
the same policy, and judged by the aims: cycles within 3 %, or, where the two references themselves
differ, inside their interval widened by 5 %; rows hit, missed and in conflict within 1 % of all bursts.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import numpy as np

from accelsim.memory.dram import Dram
from accelsim.memory.dram_spec import DramConfig, resolve
from accelsim.memory.dram_state import DramParameters

if TYPE_CHECKING:
    from validation_rows import Row

KIB, MIB, LINE = 1 << 10, 1 << 20, 64
SPAN = 256 * MIB


@dataclass(frozen=True)
class Trace:
    """Requests of 64 bytes: the clock before which each is not offered, its address, and whether it is a write."""

    arrivals: np.ndarray
    addresses: np.ndarray
    writes: np.ndarray


def _trace(addresses: np.ndarray, writes: np.ndarray | int = 0, arrivals: np.ndarray | int = 0) -> Trace:
    n = len(addresses)
    return Trace(*(np.broadcast_to(np.asarray(x, np.int64), n).copy() for x in (arrivals, addresses, writes)))


def _splitmix64(seed: int, count: int) -> np.ndarray:
    """The counter-based generator of the reference traces (Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _random_lines(seed: int, count: int, shift: int) -> np.ndarray:
    return (_splitmix64(seed, count) >> np.uint64(shift)).astype(np.int64)


def _stride(step: int, n: int = 20_000) -> Trace:
    at = np.arange(n, dtype=np.int64) * step
    return _trace(at % SPAN + LINE * (at // SPAN))


def _pairs(n: int, distance: int, writes: bool) -> Trace:
    i = np.arange(n, dtype=np.int64)
    return _trace(LINE * (i >> 1) + (i & 1) * distance, (i & 1) * int(writes))


def _mixed(seed: int, count: int) -> Trace:
    """Random lines, a third of them written."""
    z = _splitmix64(seed, count)
    return _trace(LINE * (z >> np.uint64(42)).astype(np.int64), ((z & np.uint64(0xFFFF)) % np.uint64(3) == 0))


def _blocks(n: int) -> Trace:
    """64 lines of one stream are read, then 64 of another written."""
    block, j = np.divmod(np.arange(n, dtype=np.int64), 64)
    return _trace(LINE * (64 * (block >> 1) + j) + (block & 1) * 64 * MIB, block & 1)


def _three_streams(n: int) -> Trace:
    """In turn 8 reads of one stream, 4 of a second, 2 writes of a third."""
    turn, j = np.divmod(np.arange(n, dtype=np.int64), 14)
    base = np.repeat([0, 48 * MIB + 8 * KIB, 96 * MIB + 24 * KIB], [8, 4, 2])[j]
    first, each = np.repeat([0, 8, 12], [8, 4, 2])[j], np.repeat([8, 4, 2], [8, 4, 2])[j]
    return _trace(base + LINE * (each * turn + j - first), j >= 12)


def _tiles(rows: int, lines: int, n: int = 65_536, pitch: int = 4096) -> Trace:
    """Tiles of rows x lines of a matrix whose rows are `pitch` bytes."""
    across = pitch // LINE // lines
    i = np.arange(n, dtype=np.int64)
    tile, inside = np.divmod(i, rows * lines)
    y, x = tile // across * rows + inside // lines, tile % across * lines + inside % lines
    return _trace(y * pitch + LINE * x)


def _halos(side: int = 56, channels: int = 256, tile: int = 8) -> Trace:
    """A 3 x 3 convolution, tile by tile: the pixels of each with their neighbours are read, then written elsewhere."""
    addresses, writes = [], []
    lines = LINE * np.arange(channels // LINE)
    for top in range(0, side, tile):
        for left in range(0, side, tile):
            for halo in (1, 0):
                y = np.arange(max(0, top - halo), min(side, top + tile + halo))
                x = np.arange(max(0, left - halo), min(side, left + tile + halo))
                pixels = np.add.outer(y * side, x).ravel() * channels + (0 if halo else 128 * MIB)
                addresses.append(np.add.outer(pixels, lines).ravel())
                writes.append(np.full(addresses[-1].size, 1 - halo))
    return _trace(np.concatenate(addresses), np.concatenate(writes))


def _gather(seed: int, n: int) -> Trace:
    """Rows of 128 bytes out of a table."""
    rows = 2 * LINE * _random_lines(seed, n // 2, 45)
    return _trace((rows[:, None] + [0, LINE]).ravel())


TRACES: dict[str, Callable[[], Trace]] = {
    "seq_read": lambda: _trace(LINE * np.arange(100_000)),
    "seq_write": lambda: _trace(LINE * np.arange(100_000), 1),
    "alt_rw_1": lambda: _pairs(100_000, 64 * MIB + 2 * KIB, True),
    "alt_rw_blk64": lambda: _blocks(102_400),
    "two_stream_read": lambda: _pairs(100_000, 32 * MIB, False),
    "three_stream": lambda: _three_streams(98_000),
    "stride_1k": lambda: _stride(KIB),
    "stride_8k": lambda: _stride(8 * KIB),
    "stride_128k": lambda: _stride(128 * KIB),
    "random_read": lambda: _trace(LINE * _random_lines(1, 50_000, 42)),
    "random_rw": lambda: _mixed(2, 50_000),
    "tile2d_64x1": lambda: _tiles(64, 1),
    "tile2d_32x8": lambda: _tiles(32, 8),
    "conv_halo": _halos,
    "gather_128": lambda: _gather(3, 40_000),
    "paced_seq_16": lambda: _trace(LINE * np.arange(10_000), 0, 16 * np.arange(10_000)),
    "paced_rand_100": lambda: _trace(LINE * _random_lines(4, 10_000, 42), 0, 100 * np.arange(10_000)),
}
"""The traces of the references' generator; rows of others are left out."""

MAPS = {
    "row|bank|bg|col": "row|bank|bankgroup|col",
    "row|bank|col|bg": "row|bank|col|bankgroup",
    # the row is xored as well: with the column bits above those that the bank groups and banks take
    "MOP4CLXOR": "row^col+4|col|bank^col+2|bankgroup^col+0|col:2",
}
SCHEDULERS = {
    "FRFCFS": "frfcfs", "FRFCFS-RowHit": "frfcfs_row_hit", "DRAMsim3 per-bank queues": "bank_queues",
}
# our tables, and where the reference devices differ from them
DEVICES = {
    "DDR4-2400 x64": {"standard": "ddr4_2400"},
    "HBM2-2000 pseudo-channel x64": {
        "standard": "hbm2", "channels": 1, "rows": 65536, "timing": {"tRFC": 350},
    },
    "LPDDR4-3200 x32": {"standard": "lpddr4_3200", "timing": {"tRTW": 23}},
}


@dataclass(frozen=True)
class Case:
    """One reference row and our run of it."""

    simulator: str
    device: str
    scheduler: str
    refresh: bool
    mapping: str
    trace: str
    theirs: dict[str, float]
    ours: dict[str, float]
    cpu_s: float

    @property
    def error(self) -> float:
        """Relative error of the cycles."""
        return self.ours["cycles"] / self.theirs["cycles"] - 1

    @property
    def row_error(self) -> float:
        """Largest difference in row hits, misses, conflicts and activates, over all bursts."""
        keys = ["row_hits", "activates"]
        if not (self.simulator == "dramsim3" and self.device.startswith("HBM2")):
            # there DRAMsim3 counts precharges that lose the second slot of a clock: its misses go negative
            keys += ["row_misses", "row_conflicts"]
        return max(abs(self.ours[k] - self.theirs[k]) for k in keys) / self.ours["bursts"]


def device(name: str, mapping: str, scheduler: str, refresh: bool, simulator: str) -> DramParameters:
    """The reference device `name` as `simulator` was told to model it."""
    config = dict(DEVICES[name])
    timing = dict(config.pop("timing", {}))  # type: ignore[call-overload]
    if simulator == "dramsim3" and name.startswith("DDR4"):
        timing["tRTW"] = 10  # RL + BL/2 - WL + tRTRS; Ramulator: CL + BL + 2 - CWL = 11
    if simulator == "dramsim3" and name.startswith("HBM2"):
        timing["tPPD"] = 0  # two precharges may be legal in one clock; it matters for whose turn is next
    p = resolve(DramConfig(
        **config, mapping=MAPS[mapping], scheduler=SCHEDULERS[scheduler], refresh=refresh, timing=timing,
    ))
    # DRAMsim3's HBM activates in one clock
    return dataclasses.replace(p, activate_clocks=1) if simulator == "dramsim3" else p


def run_case(row: dict[str, str], trace: Trace) -> Case:
    """Run what a row of the reference table has run."""
    simulator = row["simulator"]
    p = device(row["device"], row["mapping"], row["scheduler"], row["refresh"] == "ref", simulator)
    dram = Dram(p, 10**9)
    begin = process_time()
    dram.run_trace(trace.arrivals, trace.addresses, trace.writes, LINE)
    cpu_s = process_time() - begin
    stats = dram.stats()
    reads = max(1, stats.reads + stats.forwarded_reads)
    ours = {
        "cycles": dram.last_command_clock(), "row_hits": stats.row_hits, "row_misses": stats.row_misses,
        "row_conflicts": stats.row_conflicts, "activates": stats.activates, "bursts": stats.reads + stats.writes,
        "read_latency": stats.read_latency_clocks / reads,
    }
    theirs = {
        "cycles": float(row["cycles"]), "row_hits": float(row["row_hits"]), "row_misses": float(row["row_misses"]),
        "row_conflicts": float(row["row_conflicts"]), "activates": float(row["ACT"]),
        "read_latency": float(row["rd_lat_avg"]),
    }
    return Case(
        simulator, row["device"], row["scheduler"], row["refresh"] == "ref", row["mapping"], row["trace"], theirs,
        ours, cpu_s,
    )


def reference_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the reference table whose trace and device we know."""
    with (folder / "dram" / "dram_results.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["trace"] in TRACES and row["device"] in DEVICES]


def compare(rows: Iterable[dict[str, str]]) -> Iterator[Case]:
    """Run every row (of `reference_rows`), one by one."""
    made: dict[str, Trace] = {}
    for row in rows:
        if row["trace"] not in made:
            made[row["trace"]] = TRACES[row["trace"]]()
        yield run_case(row, made[row["trace"]])


def in_band(case: Case, cases: Iterable[Case]) -> bool:
    """Whether the cycles keep the aim: 3 %, or inside what the references give for this trace, widened by 5 %."""
    same = [
        c.theirs["cycles"] for c in cases
        if (c.device, c.refresh, c.mapping, c.trace) == (case.device, case.refresh, case.mapping, case.trace)
    ]
    ours = case.ours["cycles"]
    return abs(case.error) <= 0.03 or min(same) * 0.95 <= ours <= max(same) * 1.05


def summary(cases: list[Case]) -> list[str]:
    """Lines that say how it went, for each simulator and device."""
    lines = []
    groups = sorted({(c.simulator, c.device) for c in cases})
    for simulator, name in groups:
        own = [c for c in cases if (c.simulator, c.device) == (simulator, name)]
        exact = sum(c.ours["cycles"] == c.theirs["cycles"] for c in own)
        worst = max(own, key=lambda c: abs(c.error))
        rows = max(own, key=lambda c: c.row_error)
        lines.append(
            f"{simulator:13s} {name:29s} {len(own):4d} rows, {exact:4d} exact to the clock, worst cycles "
            f"{100 * worst.error:+.3f} % ({worst.trace}), row counts {100 * rows.row_error:.3f} % ({rows.trace}), "
            f"{sum(in_band(c, cases) and c.row_error <= 0.01 for c in own)} within the aims"
        )
    return lines


def table(cases: list[Case]) -> list[str]:
    """One line for each case."""
    head = (
        f"{'simulator':13s} {'device':10s} {'scheduler':15s} {'refresh':7s} {'mapping':16s} {'trace':16s} "
        f"{'theirs':>9s} {'ours':>9s} {'error %':>8s} {'rows %':>7s} {'latency':>8s} {'ours':>8s}"
    )
    lines = [head]
    for c in cases:
        lines.append(
            f"{c.simulator:13s} {c.device[:10]:10s} {SCHEDULERS[c.scheduler]:15s} {'on' if c.refresh else 'off':7s} "
            f"{c.mapping:16s} {c.trace:16s} {c.theirs['cycles']:9.0f} {c.ours['cycles']:9d} {100 * c.error:+8.3f} "
            f"{100 * c.row_error:7.3f} {c.theirs['read_latency']:8.2f} {c.ours['read_latency']:8.2f}"
        )
    return lines


def rows(quick: bool = False) -> list[Row]:
    """Rows of the validation page: cycles, row hits, misses and conflicts (as shares of all bursts), read latency.

    `quick` takes every eighth row.
    """
    from validation_rows import Row, references

    if not (references() / "dram" / "dram_results.csv").is_file():
        return []
    found = []
    for case in compare(reference_rows(references())[:: 8 if quick else 1]):
        design = f"{case.device}, {case.simulator}, {SCHEDULERS[case.scheduler]}"
        workload = f"{case.trace}, {MAPS[case.mapping]}, refresh {'on' if case.refresh else 'off'}"
        source = f"{case.simulator}, run with the same timings"
        for quantity, unit, aim, scale in (
            ("cycles", "", 3.0, None),
            ("row_hits", "", 1.0, case.ours["bursts"]),
            ("row_misses", "", 1.0, case.ours["bursts"]),
            ("row_conflicts", "", 1.0, case.ours["bursts"]),
            ("read_latency", "clocks", None, None),
        ):
            ours, theirs = case.ours[quantity], case.theirs[quantity]
            if case.theirs["row_misses"] < 0 and quantity in ("row_misses", "row_conflicts"):
                continue  # precharges that DRAMsim3 counts twice make its misses negative
            if theirs != theirs or quantity == "read_latency" and not theirs:
                continue  # a trace of writes has no read latency
            name = quantity.replace("_", " ")
            found.append(Row(design, workload, name, unit, ours, theirs, source, aim, scale=scale))
    return found


def main() -> int:
    """Print the table (or, without --all, only what is not exact) and the summary; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="print every row, not only those that are not exact")
    arguments = parser.parse_args()
    from validation_rows import references

    if not (references() / "dram" / "dram_results.csv").is_file():
        print(f"no dram/dram_results.csv in {references()}; ACCELSIM_REFERENCES names the folder of reference data")
        return 2
    cases = list(compare(reference_rows(references())))
    shown = cases if arguments.all else [c for c in cases if c.error or c.row_error]
    print("\n".join([*table(shown), "", *summary(cases)]))
    missed = [c for c in cases if not in_band(c, cases) or c.row_error > 0.01]
    print(f"{len(cases)} rows, {len(missed)} outside the aims")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
