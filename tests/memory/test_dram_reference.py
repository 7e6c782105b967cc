"""Ramulator 2.1 and DRAMsim3: the same cycles on the same traces, and the same first commands."""

from __future__ import annotations

import csv
import hashlib

import numpy as np
import pytest

from accelsim.memory.dram import Dram
from accelsim.memory.dram_layout import COMMAND_NAMES
from benchmarks.dram_validation import TRACES, compare, device, in_band, reference_rows
from tests.references import reference

# the devices of the logged commands, by their short names
NAMES = {"activate": "ACT", "precharge": "PRE", "read": "RD", "write": "WR", "PREpb": "PRE"}
LOGGED = {"ddr4": "DDR4-2400 x64", "hbm2pc": "HBM2-2000 pseudo-channel x64", "lpddr4": "LPDDR4-3200 x32"}


def test_the_traces_are_those_of_the_references() -> None:
    with reference("dram/traces_index.csv").open() as file:
        index = {row["trace"]: row for row in csv.DictReader(file)}
    for name, make in TRACES.items():
        trace = make()
        lines = zip(trace.arrivals.tolist(), trace.writes.tolist(), trace.addresses.tolist())
        text = "".join(f"{t} {'RW'[w]} {a:#x}\n" for t, w, a in lines)
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == index[name]["sha256_first16"], name


def rows(simulator: str) -> list[dict[str, str]]:
    """The rows of one simulator."""
    folder = reference("dram/dram_results.csv").parent.parent
    return [row for row in reference_rows(folder) if row["simulator"] == simulator]


def test_every_ramulator_row() -> None:
    """To the clock; every second row, so that every trace and every map is there."""
    cases = list(compare(row for i, row in enumerate(rows("ramulator2.1")) if i % 2 == 0))
    assert len(cases) == 72
    for case in cases:
        assert case.error == 0 and case.row_error == 0, case
        assert case.ours["read_latency"] == pytest.approx(case.theirs["read_latency"], abs=1e-3)


def test_every_dramsim_row() -> None:
    """To the clock, but for random reads: there, two reads of one address are served by one burst, and not here."""
    cases = list(compare(row for i, row in enumerate(rows("dramsim3")) if i % 2 == 0))
    assert len(cases) == 45
    for case in cases:
        if case.trace == "random_read":
            assert abs(case.error) < 0.002 and case.row_error < 0.0005, case
        else:
            assert case.error == 0 and case.row_error == 0, case
    assert all(in_band(case, cases) for case in cases)


@pytest.mark.parametrize("short", LOGGED)
@pytest.mark.parametrize(("simulator", "scheduler"), [
    ("ramulator2.1", "FRFCFS-RowHit"), ("dramsim3", "DRAMsim3 per-bank queues"),
])
def test_the_first_commands_are_the_same(simulator: str, scheduler: str, short: str) -> None:
    """The commands of the first 256 requests of seven traces, each at its clock, bank and row."""
    logs: dict[str, list[tuple[int, str, int, int]]] = {}
    p = device(LOGGED[short], "row|bank|bg|col", scheduler, False, simulator)
    with reference("dram/golden_commands_256req.csv").open() as file:
        for row in csv.DictReader(file):
            if row["simulator"] == simulator and row["device"] == short:
                bank = int(row["bankgroup"]) * p.banks_per_group + int(row["bank"])
                entry = (int(row["cycle"]), NAMES.get(row["command"], row["command"]), bank, int(row["row"]))
                logs.setdefault(row["trace"], []).append(entry)
    if not logs:
        pytest.skip(f"{simulator} does not model {short}")
    assert len(logs) == 7
    for name, theirs in logs.items():
        trace = TRACES[name]()
        dram = Dram(p, 10**9, record=True)
        dram.run_trace(trace.arrivals[:256], trace.addresses[:256], trace.writes[:256], 64)
        ours = [(c, COMMAND_NAMES[k], bank, row) for c, _, k, bank, row, _ in dram.commands().tolist()]
        assert [e[:3] for e in ours] == [e[:3] for e in theirs], name
        # a precharge has no row of its own
        assert [e for e in ours if e[1] != "PRE"] == [e for e in theirs if e[1] != "PRE"], name


def test_generator_is_the_published_one() -> None:
    """The first outputs of splitmix64 with seed 1234567, as its author publishes them."""
    from benchmarks.dram_validation import _splitmix64

    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert _splitmix64(1234567, 4).tolist() == published
    assert _splitmix64(1234567, 4).dtype == np.uint64
