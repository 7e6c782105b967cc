"""Laws of an unloaded or saturated channel, exactly, in the parameters' names; and what must hold of any run."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.memory import dram_layout as lay
from accelsim.memory.dram import Dram
from accelsim.memory.dram_layout import COMMAND_NAMES
from accelsim.memory.dram_map import locate
from accelsim.memory.dram_spec import DramConfig, resolve, standard_names
from accelsim.memory.dram_state import DramParameters, DramTimings, map_tables
from accelsim.memory.model import Transfer
from tests.memory.dram_parts import MAPS, options, parameters, timings, traces, watermarks
from tests.memory.jedec import check_log

CORE_HZ = 700_000_000
compiled = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="many bursts: too slow without the compiler"
)


def one_channel(standard: str, mapping: str = "row|bank|bankgroup|col", **config: Any) -> DramParameters:
    return resolve(DramConfig(standard=standard, channels=1, mapping=mapping, refresh=False, **config))


def trace_cycles(p: DramParameters, addresses: list[int], write: bool = False) -> tuple[int, list[int]]:
    dram = Dram(p, 10**9)
    n = len(addresses)
    done = dram.run_trace(np.zeros(n, np.int64), np.array(addresses), np.full(n, int(write)), p.burst_bytes)
    return dram.last_command_clock(), done.tolist()


@pytest.mark.parametrize("standard", standard_names())
def test_unloaded_latency_closed_hit_conflict(standard: str) -> None:
    p = one_channel(standard)
    t = p.timing
    act = p.activate_clocks - 1
    row = p.bursts_per_row * p.burst_bytes * p.banks
    dram = Dram(p, 10**9)
    far = 10_000
    done = dram.run_trace(np.array([0, far, 2 * far]), np.array([0, p.burst_bytes, row]), np.zeros(3, int), 1)
    assert done[0] == 1 + act + t.tRCDRD + t.tCL + t.tBL
    assert done[1] - far == 1 + t.tCL + t.tBL
    assert done[2] - 2 * far == 1 + t.tRP - act + act + t.tRCDRD + t.tCL + t.tBL
    stats = dram.stats()
    assert (stats.row_hits, stats.row_misses, stats.row_conflicts) == (1, 1, 1)


@compiled
@pytest.mark.parametrize("standard", ["ddr3_1600", "ddr4_2400", "ddr4_3200", "lpddr4_3200", "gddr6", "hbm2"])
def test_conflicts_in_one_bank_take_trc_each(standard: str) -> None:
    p = one_channel(standard)
    n, row = 300, p.bursts_per_row * p.burst_bytes * p.banks
    cycles, _ = trace_cycles(p, [i * row for i in range(n)])
    t = p.timing
    assert cycles == (n - 1) * t.tRC + 1 + (p.activate_clocks - 1) + t.tRCDRD + t.tCL + t.tBL


@compiled
@pytest.mark.parametrize("standard", ["ddr3_1600", "ddr4_2400", "ddr4_3200", "lpddr3_1600", "lpddr4_3200"])
def test_a_stream_fills_the_data_bus(standard: str) -> None:
    p = one_channel(standard, "row|bank|col|bankgroup")
    t, n = p.timing, 20_000
    cycles, _ = trace_cycles(p, [i * p.burst_bytes for i in range(n)])
    assert cycles == t.tBL * (n - 1) + 1 + t.tRCDRD + t.tCL + t.tBL


@compiled
def test_a_stream_of_writes_fills_the_data_bus() -> None:
    p = one_channel("ddr4_2400", "row|bank|col|bankgroup")
    n = 20_000
    cycles, _ = trace_cycles(p, [i * 64 for i in range(n)], write=True)
    assert cycles == p.timing.tBL * (n - 1) + 1 + p.timing.tRCDWR  # the clock of the last command


def test_a_stream_in_one_bank_group_runs_at_tccd_l() -> None:
    p = one_channel("ddr4_2400")
    n = 128  # one row
    cycles, _ = trace_cycles(p, [i * 64 for i in range(n)])
    assert cycles == p.timing.tCCD_L * (n - 1) + 39


@compiled
@pytest.mark.parametrize("standard", ["ddr4_2400", "lpddr4_3200", "ddr3_1600"])
def test_random_reads_are_bound_by_tfaw(standard: str) -> None:
    p = one_channel(standard)
    rng = np.random.default_rng(1)
    n = 8000
    lines = rng.integers(0, 1 << 22, n) * 64 % p.capacity_bytes
    dram = Dram(p, 10**9)
    dram.run_trace(np.zeros(n, np.int64), lines, np.zeros(n, np.int64), 64)
    activates = dram.stats().activates
    bound = activates // 4 * p.timing.tFAW
    assert bound <= dram.last_command_clock() <= 1.03 * bound + 1000


def collect(dram: Dram, limit: int) -> list[tuple[int, int]]:
    out = []
    while (done := dram.advance(limit)) is not None:
        out.append(done)
    return out


def by_channel_and_burst(log: list[list[int]]) -> list[tuple[int, str]]:
    return [(burst, COMMAND_NAMES[command][:2]) for _, _, command, _, _, burst in log if command >= 4]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(timings(), options, st.booleans(), traces(2 * 2 * 4 * 8 * 8, 50))
def test_no_rule_is_ever_broken(
    timing: DramTimings, chosen: dict[str, Any], banks: bool, trace: list[tuple[int, int, bool]]
) -> None:
    p = parameters(timing, **watermarks(chosen), bank_queue_depth=3 if banks else 0)
    dram = Dram(p, 10**9, record=True)
    arrivals, bursts, writes = (np.array(column, np.int64) for column in zip(*trace))
    done = dram.run_trace(arrivals, 32 * bursts, writes, 32)
    log = dram.commands().tolist()
    check_log(p, log)
    stats = dram.stats()
    n_reads = int((writes == 0).sum())
    assert stats.reads + stats.forwarded_reads == n_reads
    assert stats.writes + stats.merged_writes == len(trace) - n_reads
    assert stats.row_hits + stats.row_misses + stats.row_conflicts == stats.reads + stats.writes
    assert stats.bytes_moved == 32 * (stats.reads + stats.writes)
    assert (done > arrivals).all()
    # every burst lies where the address map says
    for _, channel, command, bank, row, burst in log:
        if burst >= 0:
            place = locate(burst, p.map_parts, p.map_xors)
            assert place["channel"] == channel and place["row"] == row
            assert bank == (place["rank"] * 2 + place["bankgroup"]) * 2 + place["bank"]


@compiled
@pytest.mark.parametrize(
    "name",
    "tCL tRCDRD tRCDWR tRP tRAS tRC tCCD_S tCCD_L tRRD_S tRRD_L tFAW tWR tWTR_S tWTR_L tRTP tRFC tRTW tCS tPPD".split(),
)
def test_the_checker_misses_no_parameter(name: str) -> None:
    """A DRAM whose parameter is a little short is caught, so the tests above can fail."""
    p = resolve(DramConfig(standard="ddr4_2400", channels=1, ranks=2, mapping="row|bank|col|rank|bankgroup"))
    short = {"tRAS": 30, "tRC": 70, "tFAW": 30, "tRTP": 30, "tPPD": 4, "tCL": 17, "tRTW": 11, "tCCD_S": 5}
    timing = dataclasses.replace(p.timing, **{name: short.get(name, getattr(p.timing, name))}, tREFI=3000)
    rng = np.random.default_rng(5)
    where = rng.integers(0, 1 << 14, 3000) * 64 + rng.integers(0, 2, 3000) * (1 << 22)
    writes = (rng.integers(0, 400, 3000) // 100 % 2).astype(np.int64)
    run = {}
    for less in (0, 1):
        change = {name: getattr(timing, name) - less}
        if name == "tCL" and less:
            change = {"tRTW": timing.tRTW - 4}  # the data of a read and of a write would meet
        dram = Dram(dataclasses.replace(p, timing=dataclasses.replace(timing, **change)), 10**9, record=True)
        dram.run_trace(np.arange(3000) // 3 * 10, where, writes, 64)
        run[less] = dram.commands().tolist()
    right = dataclasses.replace(p, timing=timing)
    check_log(right, run[0])
    with pytest.raises(AssertionError, match="breaks"):
        check_log(right, run[1])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(timings(), options, st.booleans(), traces(12, 60))
def test_order_within_a_burst_is_kept(
    timing: DramTimings, chosen: dict[str, Any], banks: bool, trace: list[tuple[int, int, bool]]
) -> None:
    """Data as versions: a read that reaches the DRAM sees exactly the writes that came before it."""
    p = parameters(timing, **watermarks(chosen), bank_queue_depth=2 if banks else 0)
    dram = Dram(p, 10**9, record=True)
    arrivals, bursts, writes = (np.array(column, np.int64) for column in zip(*trace))
    dram.run_trace(arrivals, 32 * bursts, writes, 32)
    served = by_channel_and_burst(dram.commands().tolist())
    for burst in set(bursts.tolist()):
        kinds = [kind for b, kind in served if b == burst]
        asked = ["WR" if write else "RD" for _, b, write in trace if b == burst]
        # what was asked, with reads behind a queued write and writes onto a queued write left out
        position = 0
        for kind in kinds:
            while position < len(asked) and asked[position] != kind:
                position += 1
            assert position < len(asked), (asked, kinds)
            position += 1
        assert kinds.count("WR") >= (1 if "WR" in asked else 0)


Work = tuple[int, int, Transfer, bool, int]


@st.composite
def workloads(draw: st.DrawFn) -> list[Work]:
    """(now, id, transfer, is_write, port) for two ports of the small DRAM of 16 KiB."""
    now, out = 0, []
    for i in range(draw(st.integers(1, 10))):
        now += draw(st.sampled_from([0, 0, 3, 50, 400]))
        transfer = draw(st.builds(
            Transfer, base=st.integers(0, 8000), row_bytes=st.integers(1, 150), row_stride=st.integers(0, 300),
            rows=st.integers(1, 4), plane_stride=st.integers(0, 900), planes=st.integers(1, 3),
        ))
        out.append((now, i, transfer, draw(st.booleans()), draw(st.integers(0, 1))))
    return out


def play(dram: Dram, work: list[Work], step: int) -> list[tuple[int, int]]:
    """Submit at the right time, advancing by `step` cycles at most in between."""
    done: list[tuple[int, int]] = []
    time = 0
    for now, i, transfer, is_write, port in work:
        while time < now:
            time = min(now, time + step)
            done += collect(dram, time)
        dram.submit_pattern(now, i, transfer, is_write, port)
    while len(done) < len(work):
        time += step
        done += collect(dram, time)
        assert time < 10**7
    return done


@settings(deadline=None, derandomize=True, max_examples=50)
@given(timings(), options, st.booleans(), workloads(), st.integers(1, 40))
def test_time_may_be_cut_into_any_pieces(
    timing: DramTimings, chosen: dict[str, Any], banks: bool, work: list[Work], step: int
) -> None:
    p = parameters(timing, **watermarks(chosen), ports=2, bank_queue_depth=2 if banks else 0)
    fine, coarse = Dram(p, CORE_HZ, record=True), Dram(p, CORE_HZ, record=True)
    done = play(fine, work, step)
    assert sorted(i for _, i in done) == list(range(len(work)))
    assert [c for c, _ in done] == sorted(c for c, _ in done)
    assert play(coarse, work, 10**6) == done
    fine.finish()
    coarse.finish()
    check_log(p, fine.commands().tolist())
    columns = [row for row in fine.commands().tolist() if row[2] >= 4]
    assert columns == [row for row in coarse.commands().tolist() if row[2] >= 4]
    stats = fine.stats()
    bursts = sum(transfer.bursts(32) for _, _, transfer, _, _ in work)
    assert stats.reads + stats.writes + stats.forwarded_reads + stats.merged_writes == bursts
    assert stats.bytes_requested == sum(transfer.n_bytes for _, _, transfer, _, _ in work)


def test_bursts_of_a_pattern_in_order() -> None:
    p = parameters(DramTimings(2, 3, 2, 3, 3, 3, 3, 6, 9, 2, 2, 1, 1, 4, 2, 1, 1, 1, 10, 300, 3, 1, 1), refresh=False,
                   channels=1, read_queue=64)
    dram = Dram(p, 10**9, record=True)
    pattern = Transfer(base=40, row_bytes=70, row_stride=96, rows=3, plane_stride=1000, planes=2)
    dram.submit_pattern(0, 1, pattern, False)
    dram.finish()
    expected: list[int] = []
    for plane in range(2):
        for row in range(3):
            begin = 40 + 1000 * plane + 96 * row
            for byte in range(begin, begin + 70):
                if not expected or expected[-1] != byte // 32:
                    expected.append(byte // 32)
    served = [row[5] for row in dram.commands().tolist() if row[2] >= 4]
    assert sorted(served) == sorted(expected)
    assert pattern.bursts(32) == len(expected)
    assert dram.stats().bytes_moved == 32 * len(expected)


def test_a_write_is_complete_when_accepted_or_when_written() -> None:
    p = one_channel("ddr4_2400")
    t = p.timing
    done = []
    for posted in (True, False):
        dram = Dram(dataclasses.replace(p, posted_writes=posted), 10**12 // p.tCK_ps)
        dram.submit(0, 1, 0, 64, True)
        done.append(dram.advance(10**6))
        assert dram.finish() >= 1 + t.tRCDWR + t.tCWL + t.tBL
    clock = p.tCK_ps * (10**12 // p.tCK_ps) / 10**12  # just under one core cycle
    assert done == [(1, 1), (-int(-(1 + t.tRCDWR + t.tCWL + t.tBL) * clock // 1), 1)]


def test_cycles_and_clocks_convert_exactly() -> None:
    p = one_channel("ddr4_2400")
    dram = Dram(p, 533_333_333)
    for cycle in (0, 1, 7, 10**6, 10**12):
        clock = dram.clock_of(cycle)
        assert clock * p.tCK_ps * 533_333_333 >= cycle * 10**12 > (clock - 1) * p.tCK_ps * 533_333_333
        assert dram.cycle_of(dram.clock_of(cycle)) >= cycle
    for clock in (0, 1, 13, 10**9):
        cycle = dram.cycle_of(clock)
        assert cycle * 10**12 >= clock * p.tCK_ps * 533_333_333 > (cycle - 1) * 10**12


def test_ports_share_the_channel_and_channels_the_work() -> None:
    p = resolve(DramConfig(standard="hbm2", ports=2, refresh=False))
    alone = Dram(p, 10**9)
    alone.submit(0, 0, 0, 1 << 18, False, 0)
    first = alone.advance(10**6)
    assert first is not None
    bursts = (1 << 18) // p.burst_bytes
    least = bursts // p.channels * p.timing.tBL
    assert least < first[0] < 1.1 * least + 60
    both = Dram(p, 10**9)
    both.submit(0, 0, 0, 1 << 18, False, 0)
    both.submit(0, 1, 1 << 24, 1 << 18, False, 1)
    ends = [c for c, _ in collect(both, 10**6)]
    assert all(1.9 * least < end < 2.3 * least + 60 for end in ends)


@compiled
def test_with_a_cap_a_busy_writer_does_not_starve_a_reader() -> None:
    p = one_channel("ddr4_2400", ports=2, drain_cap=64)
    dram = Dram(p, 10**9)
    dram.submit(0, 0, 0, 1 << 22, True, 0)
    dram.submit(0, 1, 1 << 24, 64, False, 1)
    done = dict((i, c) for c, i in collect(dram, 10**7))
    assert done[1] < 2000 < done[0]


@compiled
@pytest.mark.parametrize(("cap", "least"), [(None, 250), (64, 64)])
def test_writes_go_on_while_they_are_above_the_low_mark(cap: int | None, least: int) -> None:
    """Reads wait meanwhile: the rule has no other end, unless it is given one."""
    p = one_channel("ddr4_2400", mapping="row|bank|col|bankgroup", drain_cap=cap)
    addresses = np.concatenate([np.arange(40) << 23, (1 << 22) + 64 * np.arange(300)])
    dram = Dram(p, 10**9, record=True)
    dram.run_trace(np.zeros(340, np.int64), addresses, (np.arange(340) >= 40).astype(np.int64), 64)
    names = [COMMAND_NAMES[c] for c in dram.commands()[:, 2]]
    columns = "".join(name[0] for name in names if name in ("RD", "WR"))
    first = max(len(run) for run in columns.split("R")[:20])  # more than half of the reads still wait
    assert columns.count("W") == 300 and least <= first <= (cap or 300)


@pytest.mark.parametrize("scheduler", ["frfcfs", "frfcfs_row_hit", "bank_queues"])
@pytest.mark.parametrize("row_policy", ["open", "closed"])
def test_a_faster_memory_is_not_slower(scheduler: str, row_policy: str) -> None:
    cycles = []
    for standard in ("ddr4_2400", "ddr4_3200"):
        dram = Dram.from_config(
            DramConfig(standard=standard, scheduler=scheduler, row_policy=row_policy), 10**9  # type: ignore[arg-type]
        )
        for i in range(20):
            dram.submit(0, i, 4096 * i, 4096, i % 3 == 0)
        cycles.append(dram.finish())
    assert cycles[1] < cycles[0]


def test_closed_rows_suit_random_and_open_rows_suit_streams() -> None:
    rng = np.random.default_rng(0)
    paced = np.arange(2000) * 60
    random = rng.integers(0, 1 << 20, 2000) * 64
    cost = {}
    for policy in ("open", "closed"):
        p = resolve(DramConfig(standard="ddr4_2400", row_policy=policy, refresh=False))  # type: ignore[arg-type]
        for name, addresses in (("random", random), ("stream", np.arange(2000) * 64)):
            dram = Dram(p, 10**9)
            dram.run_trace(paced, addresses, np.zeros(2000, np.int64), 64)
            cost[policy, name] = dram.stats().read_latency_clocks
    assert cost["closed", "random"] < cost["open", "random"]
    assert cost["open", "stream"] < cost["closed", "stream"]


def test_the_profile_adds_up() -> None:
    dram = Dram.from_config(DramConfig(standard="ddr4_2400"), 10**9)
    for i in range(40):
        dram.submit(0, i, 8192 * i, 8192, i % 2 == 1)
    dram.finish()
    window, table = dram.profile()
    stats = dram.stats()
    assert table[:, 0].sum() == stats.reads * 4 and table[:, 1].sum() == stats.writes * 4
    assert table[:, 2].sum() == stats.row_hits
    assert len(table) * window > stats.clocks >= (len(table) - 1) * window
    assert (table[:, :2].sum(axis=1) <= window + 4).all()


def test_an_idle_memory_only_refreshes() -> None:
    dram = Dram.from_config(DramConfig(standard="ddr4_2400"), 10**9)
    assert dram.advance(10**6) is None
    stats = dram.stats()
    assert stats.refreshes == dram.clock_of(10**6) // 9360
    assert dram.finish() == 0 and stats.busy_clocks == 0


@pytest.mark.parametrize("mapping", MAPS)
def test_kernels_and_python_read_the_map_alike(mapping: str) -> None:
    timing = DramTimings(2, 3, 2, 3, 3, 3, 3, 6, 9, 2, 2, 1, 1, 4, 2, 1, 1, 1, 10, 300, 3, 1, 1)
    p = parameters(timing, mapping, refresh=False)
    dram = Dram(p, 10**9, record=True)
    dram.submit(0, 0, 0, p.capacity_bytes, False)
    dram.finish()
    seen = set()
    for _, channel, command, bank, row, burst in dram.commands().tolist():
        if command >= 4:
            place = locate(burst, p.map_parts, p.map_xors)
            assert (place["channel"], place["row"]) == (channel, row)
            assert (place["rank"] * 2 + place["bankgroup"]) * 2 + place["bank"] == bank
            seen.add(tuple(place.values()))
    assert len(seen) == p.capacity_bytes // 32  # every place once


@pytest.mark.parametrize("standard", standard_names())
def test_the_tables_of_the_map_reach_every_address(standard: str) -> None:
    """Xors of table words, as the kernels take them, beside the map in plain Python; beyond 40 bits as well."""
    xored = "row^col+0|rank|bank^col+1|bankgroup^row+0|channel|col"
    for mapping, rows in ((None, None), (xored, None), (xored, 2**36)):
        p = resolve(DramConfig(standard=standard, mapping=mapping, rows=rows, ranks=2))
        tables = map_tables(p).reshape(-1, lay.MAP_TABLE)
        bursts = p.capacity_bytes // p.burst_bytes
        for burst in (0, 1, bursts - 1, *np.random.default_rng(3).integers(0, bursts, 20).tolist()):
            word = 0
            for byte, table in enumerate(tables.tolist()):
                word ^= table[burst >> 8 * byte & 255]
            place = locate(burst, p.map_parts, p.map_xors)
            groups = (place["channel"] * p.ranks + place["rank"]) * p.bankgroups + place["bankgroup"]
            bank = groups * p.banks_per_group + place["bank"]
            assert word == place["row"] * p.channels * p.banks + bank


@compiled
@pytest.mark.parametrize("scheduler", ["frfcfs", "bank_queues"])
def test_a_long_trace_is_that_of_the_same_transfers(scheduler: str) -> None:
    """A trace goes through a table smaller than itself: nothing differs from transfers that stand there at once."""
    p = resolve(DramConfig(
        standard="ddr4_2400", scheduler=scheduler, write_done="written",  # type: ignore[arg-type]
    ))
    rng = np.random.default_rng(9)
    n = 6000
    cycles, bursts = np.sort(rng.integers(0, 40_000, n)).tolist(), rng.integers(0, 1 << 14, n)
    writes = (rng.random(n) < 0.3).astype(np.int64)
    at_once, trace = Dram(p, 10**9, record=True), Dram(p, 10**9, record=True)
    arrivals = np.array([trace.clock_of(cycle) for cycle in cycles])
    done = trace.run_trace(arrivals, 64 * bursts, writes, 64)
    for i, cycle in enumerate(cycles):
        at_once.submit(cycle, i, 64 * int(bursts[i]), 64, bool(writes[i]))
    ends = dict((i, c) for c, i in collect(at_once, 10**7))
    assert [ends[i] for i in range(n)] == [at_once.cycle_of(clock) for clock in done.tolist()]
    log = trace.commands()
    assert len(log) > n and (at_once.commands()[:len(log)] == log).all()  # and it refreshes to the end of time
