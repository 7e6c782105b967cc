"""The crossbar switch: arbitration cycle by cycle, and its laws."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.noc.model import FOREVER
from accelsim.noc.switch import SwitchNoc, SwitchSpec

PORTS = 4
Order = tuple[int, int, tuple[int, ...], int]  # now, source, targets, flits


def naive(orders: list[Order], latency: int) -> list[tuple[int, int]]:
    """Every cycle: requests by age, ties in turn; a blocked request reserves its outputs."""
    queues: list[list[int]] = [[] for _ in range(PORTS)]
    head_since, input_free, output_free = [0] * PORTS, [0] * PORTS, [0] * PORTS
    turn, done = 0, []
    for t in range(10_000):
        for i, order in enumerate(orders):
            if order[0] == t:
                if not queues[order[1]]:
                    head_since[order[1]] = max(t, input_free[order[1]])
                queues[order[1]].append(i)
        asking = [p for p in range(PORTS) if queues[p] and input_free[p] <= t]
        asking.sort(key=lambda p: (head_since[p], (p - turn) % PORTS))
        blocked: set[int] = set()
        for p in asking:
            _, _, targets, flits = orders[queues[p][0]]
            if blocked.isdisjoint(targets) and all(output_free[o] <= t for o in targets):
                done.append((t + flits - 1 + latency, queues[p].pop(0)))
                input_free[p] = head_since[p] = t + flits
                for o in targets:
                    output_free[o] = t + flits
                turn = (p + 1) % PORTS
            else:
                blocked.update(targets)
        if len(done) == len(orders):
            return sorted(done)
    raise AssertionError


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.integers(0, 2**30), st.integers(1, 3))
def test_equals_every_cycle(seed: int, latency: int) -> None:
    rng = random.Random(seed)
    orders: list[Order] = [
        (
            rng.randrange(20),
            rng.randrange(PORTS),
            tuple(sorted(rng.sample(range(PORTS), rng.choice((1, 1, 1, 2, 4))))),
            rng.randint(1, 5),
        )
        for _ in range(rng.randint(1, 25))
    ]
    noc = SwitchNoc(SwitchSpec(ports=PORTS, latency_cycles=latency, flit_bytes=1))
    for i, (now, source, targets, flits) in enumerate(orders):
        noc.submit(now, i, source, targets, flits)
    seen = [noc.advance(FOREVER) for _ in orders]
    assert seen == naive(orders, latency)
    assert noc.stats().router_flits == sum(len(o[2]) * o[3] for o in orders)


def test_a_permutation_runs_in_parallel_and_a_hot_spot_in_series() -> None:
    spec = SwitchSpec(ports=8, latency_cycles=2, flit_bytes=4)
    parallel, series = SwitchNoc(spec), SwitchNoc(spec)
    for p in range(8):
        parallel.submit(0, p, p, (p + 3) % 8, 40)
        series.submit(0, p, p, 5, 40)
    assert parallel.finish() == 10 - 1 + 2
    assert series.finish() == 8 * 10 - 1 + 2
    assert [series.advance(FOREVER) for _ in range(8)] == [(10 * (p + 1) + 1, p) for p in range(8)]
    sums = SwitchNoc(spec)
    sums.submit(0, 0, range(8), 5, 40)
    assert sums.finish() == 8 * 10 - 1 + 2


def test_multicasts_do_not_starve() -> None:
    """Output 0 always has another customer; the multicast that waits for 0 and 1 gets both all the same."""
    noc = SwitchNoc(SwitchSpec(ports=4, flit_bytes=1))
    for i in range(50):
        noc.submit(0, i, 2, 0, 10)
        noc.submit(0, 100 + i, 3, 1, 7)
    noc.submit(1, 1000, 0, [0, 1], 5)
    done = {}
    while (one := noc.advance(FOREVER)) is not None:
        done[one[1]] = one[0]
    assert done[1000] == 10 + 5 - 1 + 1
