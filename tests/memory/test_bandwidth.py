"""The pipe: exact rational time, overlapping latency, first come first served."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.memory.bandwidth import BandwidthDram, IdealMemory
from accelsim.memory.model import Transfer


def test_one_transfer_takes_its_bytes_then_the_latency() -> None:
    memory = BandwidthDram(16, 1, latency_cycles=100)
    memory.submit(5, 7, 0, 64, False)
    assert memory.advance(108) is None
    assert memory.advance(109) == (109, 7)
    assert memory.advance(10**6) is None


def test_latency_of_successive_transfers_overlaps() -> None:
    memory = BandwidthDram(16, 1, latency_cycles=100)
    for i in range(3):
        memory.submit(0, i, 64 * i, 64, False)
    assert [memory.advance(1000) for _ in range(3)] == [(104, 0), (108, 1), (112, 2)]


def test_rounding_does_not_accumulate() -> None:
    memory = BandwidthDram(3)
    for i in range(300):
        memory.submit(0, i, 0, 1, i % 2 == 1)
    last = None
    while (done := memory.advance(10**9)) is not None:
        last = done
    assert last == (100, 299)
    assert memory.finish() == 100
    assert memory.counts() == {("dram", "read_byte"): 150, ("dram", "write_byte"): 150}


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 500)), min_size=1, max_size=30),
)
def test_equals_a_fraction_by_fraction_pipe(num: int, den: int, latency: int, work: list[tuple[int, int]]) -> None:
    memory = BandwidthDram(num, den, latency)
    free, now, expected, seen = Fraction(0), 0, [], []
    for i, (gap, n_bytes) in enumerate(work):
        now += gap
        while (done := memory.advance(now)) is not None:
            seen.append(done)
        memory.submit(now, i, 0, n_bytes, False)
        free = max(free, Fraction(now)) + n_bytes * Fraction(den, num)
        expected.append((ceil(free) + latency, i))
    while (done := memory.advance(10**12)) is not None:
        seen.append(done)
    assert seen == expected
    assert memory.stats().bytes_moved == sum(n for _, n in work)


def test_ideal_takes_no_time() -> None:
    memory = IdealMemory()
    memory.submit(3, 1, 0, 10**9, False)
    memory.submit(3, 2, 0, 10**9, True)
    assert memory.advance(3) == (3, 1)
    assert memory.advance(3) == (3, 2)
    assert memory.stats().bytes_moved == 2 * 10**9


def naive_bursts(t: Transfer, burst: int) -> list[int]:
    """Every byte in order, as bursts; the same burst twice running counts once."""
    out: list[int] = []
    for p in range(t.planes):
        for r in range(t.rows):
            begin = t.base + p * t.plane_stride + r * t.row_stride
            for byte in range(begin, begin + t.row_bytes):
                if not out or out[-1] != byte // burst:
                    out.append(byte // burst)
    return out


transfers = st.builds(
    Transfer,
    base=st.integers(0, 300),
    row_bytes=st.integers(1, 100),
    row_stride=st.integers(0, 200),
    rows=st.integers(1, 5),
    plane_stride=st.integers(0, 300),
    planes=st.integers(1, 4),
)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(transfers, st.sampled_from([1, 16, 32, 64]))
def test_bursts_of_a_pattern(transfer: Transfer, burst: int) -> None:
    assert transfer.bursts(burst) == len(naive_bursts(transfer, burst))


def test_alignment_is_paid_for() -> None:
    memory = BandwidthDram(64, 1, burst_bytes=64)
    memory.submit(0, 1, 60, 8, False)
    assert memory.advance(10) == (2, 1)
    assert (memory.stats().bytes_requested, memory.stats().bytes_moved) == (8, 128)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="chip: bandwidth must be a positive fraction of bytes per cycle, got 0/1"):
        BandwidthDram(0, where="chip")
    with pytest.raises(ConfigError, match="latency_cycles must be >= 0, got -1"):
        BandwidthDram(1, 1, -1)
    with pytest.raises(ConfigError, match="burst_bytes must be >= 1, got 0"):
        BandwidthDram(1, burst_bytes=0)


def test_misuse_is_a_bug() -> None:
    with pytest.raises(SimulationBug, match="at least one byte"):
        Transfer(0, 0)
    with pytest.raises(SimulationBug, match="must be >= 0"):
        Transfer(-1, 1)
    memory = BandwidthDram(1)
    memory.advance(10)
    with pytest.raises(SimulationBug, match="comes at cycle 9, but it is 10 already"):
        memory.submit(9, 0, 0, 1, False)
