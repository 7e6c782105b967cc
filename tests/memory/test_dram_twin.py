"""The event-driven kernels issue, clock by clock, the very commands of the naive controller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accelsim.memory.dram import Dram
from accelsim.memory.dram_layout import COMMAND_NAMES
from accelsim.memory.dram_spec import DramConfig, resolve
from accelsim.memory.dram_state import DramTimings
from tests.memory.dram_parts import MAPS, options, parameters, timings, traces, watermarks
from tests.memory.naive_dram import NaiveController


# what no shipped device has: a write latency above the read latency, seen by two ranks
EXAMPLE = DramTimings(
    tBL=1, tCL=2, tCWL=4, tRCDRD=1, tRCDWR=1, tRP=1, tRPab=1, tRAS=1, tRC=2, tCCD_S=1, tCCD_L=1, tRRD_S=1, tRRD_L=1,
    tFAW=1, tWR=0, tWTR_S=0, tWTR_L=0, tRTP=1, tRFC=1, tREFI=151, tRTW=1, tCS=0, tPPD=1,
)
PLAIN = dict(
    row_hit_first=False, closed_rows=False, dual_bus=False, refresh=False, posted_writes=False, activate_clocks=1,
    read_queue=1, write_queue=2, drain_cap=1, mapping=MAPS[0],
)


@settings(deadline=None, derandomize=True, max_examples=100)
@example(EXAMPLE, PLAIN, [(0, 0, False), (0, 0, False), (0, 0, False), (0, 32, True), (0, 0, False)], 2)
@given(timings(), options, traces(2 * 4 * 8 * 8), st.sampled_from([1, 2]))
def test_same_commands_and_completions(
    timing: DramTimings, chosen: dict[str, Any], trace: list[tuple[int, int, bool]], ranks: int
) -> None:
    p = parameters(timing, channels=1, ranks=ranks, **watermarks(chosen))
    trace = [(t, burst % (p.capacity_bytes // 32), write) for t, burst, write in trace]
    naive = NaiveController(p)
    naive.run(trace)
    dram = Dram(p, 10**9, record=True)
    arrivals, bursts, writes = (np.array(column, np.int64) for column in zip(*trace))
    done = dram.run_trace(arrivals, 32 * bursts, writes, 32)
    ours = [(clock, COMMAND_NAMES[command], bank, row) for clock, _, command, bank, row, _ in dram.commands().tolist()]
    assert ours == naive.log[:len(ours)]
    # the naive one may refresh once more after its last request
    assert all(name in ("PREA", "REF") for _, name, _, _ in naive.log[len(ours):])
    assert done.tolist() == [naive.done[i] for i in range(len(trace))]
    stats = dram.stats()
    assert (stats.row_hits, stats.row_misses, stats.row_conflicts) == (naive.hits, naive.misses, naive.conflicts)


@pytest.mark.parametrize("seed", range(12))
def test_same_commands_on_shipped_devices(seed: int) -> None:
    """Longer traffic: streams, jumps and bursts of writes on the devices of the tables, refresh included."""
    rng = np.random.default_rng(seed)
    p = resolve(DramConfig(
        standard=["ddr3_1600", "ddr4_3200", "lpddr4_3200", "hbm2", "gddr6", "lpddr5_6400"][seed % 6],
        channels=1, ranks=1 + seed % 2, scheduler="frfcfs" if seed % 3 else "frfcfs_row_hit",
        row_policy="closed" if seed % 4 == 3 else "open", read_queue=12, write_queue=10, drain_cap=15,
        timing={"tREFI": 1500},
    ))
    jumps = rng.integers(0, p.capacity_bytes // p.burst_bytes, 500) % (1 << 14)
    steps = np.where(rng.random(500) < 0.2, jumps, 1)
    bursts = np.cumsum(steps) % (1 << 14)
    writes = (np.cumsum(rng.random(500) < 0.08) % 3 == 1).astype(np.int64)
    arrivals = np.cumsum(np.where(rng.random(500) < 0.02, 300, 0))
    naive = NaiveController(p)
    naive.run(list(zip(arrivals.tolist(), bursts.tolist(), (writes == 1).tolist())))
    dram = Dram(p, 10**9, record=True)
    done = dram.run_trace(arrivals, p.burst_bytes * bursts, writes, p.burst_bytes)
    ours = [(clock, COMMAND_NAMES[command], bank, row) for clock, _, command, bank, row, _ in dram.commands().tolist()]
    assert len(ours) > 500 and ours == naive.log[:len(ours)]
    assert all(name in ("PREA", "REF") for _, name, _, _ in naive.log[len(ours):])
    assert done.tolist() == [naive.done[i] for i in range(500)]
