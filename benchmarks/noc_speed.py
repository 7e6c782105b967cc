"""Speed of the networks: flit-hops per CPU second on an 8 x 8 mesh under uniform traffic, best of several runs.

    python benchmarks/noc_speed.py [--runs N] [--cycles N]

A flit-hop is one flit over one link between routers. `flits` is the kernel alone, all packets known to it;
`messages` is the interface from end to end: every packet is a message, handed over by `submit_many` and
collected by `advance_all`, both counted. BookSim 2 does 295,000 flit-hops per CPU second on the machine of
the reference measurements. Compiling is not counted; `cold` says what it takes, once. The exit is 1 if an
aim is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from time import process_time
from typing import Any, NamedTuple

import numpy as np

from accelsim.noc.booksim import Trace
from accelsim.noc.build import build_routed
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.flit_kernel import no_rows, run_flits
from accelsim.noc.mesh import grid_graph
from accelsim.noc.model import FOREVER
from accelsim.noc.router import RouterSpec

SIDE = 8
BOOKSIM, AIM = 0.295, 3.0
"""Million flit-hops per CPU second."""
IDLE_AIM_US = 20.0
"""For any number of idle cycles: a call of the kernel and nothing else."""


class Case(NamedTuple):
    """Offered flits per node and cycle, flits of a packet, virtual channels, flits of each one's buffer, the rest."""

    rate: float
    packet: int
    vcs: int
    buffer: int
    more: tuple[tuple[str, Any], ...] = ()

    def spec(self) -> RouterSpec:
        """The router."""
        keys = {"virtual_channels": self.vcs, "buffer_flits": self.vcs * self.buffer, **dict(self.more)}
        return RouterSpec(flit_bytes=1, max_packet_flits=self.packet, **keys)

    def __str__(self) -> str:
        return f"{self.rate}, {self.packet} flits, {self.vcs} x {self.buffer}{'*' * bool(self.more)}"


LONG = {"routing_cycles": 2, "vc_allocation_cycles": 2, "switch_allocation_cycles": 2, "crossbar_cycles": 2}
SHORT = {"routing_cycles": 0, "speculative": True}
CASES = {
    "idle nearly all the time": Case(0.001, 5, 4, 8),
    "light": Case(0.02, 5, 4, 8),
    "medium": Case(0.1, 5, 4, 8),
    "loaded": Case(0.3, 5, 4, 8),
    "packets of one flit, light": Case(0.05, 1, 4, 8),
    "packets of one flit, loaded": Case(0.3, 1, 4, 8),
    "long packets, loaded": Case(0.39, 16, 4, 8),
    "one virtual channel": Case(0.2, 5, 1, 8),
    "two virtual channels": Case(0.3, 5, 2, 8),
    "eight virtual channels": Case(0.3, 5, 8, 4),
    "every step two cycles": Case(0.3, 5, 4, 8, tuple(LONG.items())),
    "lookahead, speculation": Case(0.3, 5, 4, 8, tuple(SHORT.items())),
    "more than it can carry": Case(0.6, 5, 4, 8),
}


def traffic(case: Case, cycles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Packets at random times between random nodes: (cycle, source, target)."""
    random = np.random.default_rng(1)
    times, sources = np.nonzero(random.random((cycles, SIDE * SIDE)) < case.rate / case.packet)
    return times, sources, random.integers(0, SIDE * SIDE, len(times))


def by_flits(case: Case, cycles: int) -> float:
    """Million flit-hops per CPU second without Python between the packets."""
    graph = grid_graph(SIDE, SIDE)
    trace = Trace(graph, case.spec(), *traffic(case, cycles), case.packet, logs=False)
    begin = process_time()
    trace.run()
    cpu = process_time() - begin
    return trace.switched(graph)[0] / cpu / 1e6


def by_messages(case: Case, cycles: int) -> float:
    """The same packets as messages through the interface."""
    noc = DetailedNoc(grid_graph(SIDE, SIDE), case.spec())
    now, source, target = traffic(case, cycles)
    begin = process_time()
    noc.submit_many(now, np.arange(len(now)), source, target, np.array(case.packet))
    _, ids = noc.advance_all(FOREVER)
    cpu = process_time() - begin
    assert len(ids) == len(now)
    return noc.stats().flit_hops / cpu / 1e6


def cold_s() -> float:
    """CPU seconds of the first call of the kernel in a fresh process with an empty cache, compiler's start excluded."""
    code = (
        "import time, numba\n"
        "numba.njit(lambda x: x + 1)(1)\n"
        "from accelsim.noc.flit_kernel import no_rows, run_flits, tiny_network\n"
        "m = tiny_network().memory\n"
        "t = time.process_time(); run_flits(m, no_rows(), 1); print(time.process_time() - t)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "ACCELSIM_CACHE_DIR": cache}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def idle_us() -> float:
    """CPU time of 10**12 idle cycles."""
    noc = DetailedNoc(grid_graph(SIDE, SIDE), RouterSpec(flit_bytes=1))
    run_flits(noc.memory, no_rows(), 1)
    begin = process_time()
    for n in range(1000):
        run_flits(noc.memory, no_rows(), (n + 1) * 10**12)
    return (process_time() - begin) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=2000)
    args = parser.parse_args()
    print(f"cold compilation: {cold_s():.1f} s CPU\n")
    print("million flit-hops per CPU second, 8 x 8 mesh")
    print(f"{'':<29} {'rate, packet, buffers':<24} {'flits':>7} {'messages':>9} {'aim':>6} {'BookSim 2':>10}")
    missed = []
    for name, case in CASES.items():
        by_flits(case, 10)
        cycles = round(args.cycles * max(1.0, 0.05 / case.rate))  # so many that the packets are some thousand
        figures = [max(way(case, cycles) for _ in range(args.runs)) for way in (by_flits, by_messages)]
        missed += [name] if min(figures) < AIM else []
        line = f"{name:<29} {case!s:<24} {figures[0]:>7.2f} {figures[1]:>9.2f} {AIM:>6} {BOOKSIM:>10}"
        print(line + ("  missed" if min(figures) < AIM else ""))
    print("* other pipelines: every step of the router two cycles; routing ahead and speculative bids\n")
    idle = min(idle_us() for _ in range(args.runs))
    missed += ["idle"] if idle > IDLE_AIM_US else []
    print(f"10**12 idle cycles: {idle:.2f} us, aim {IDLE_AIM_US:g}")
    print_one_by_one()
    if missed:
        print(f"missed: {', '.join(missed)}")
    sys.exit(bool(missed))


def print_one_by_one() -> None:
    """What a message costs that somebody waits for, at each fidelity."""
    for fidelity in ("ideal", "bandwidth", "detailed"):
        one = build_routed(grid_graph(SIDE, SIDE), RouterSpec(flit_bytes=16), fidelity, "noc")  # type: ignore[arg-type]
        begin = process_time()
        for n in range(5000):
            one.submit(n * 100, n, n % 64, n * 7 % 64, 64)
            one.advance(n * 100 + 99)
        print(f"{fidelity}: {(process_time() - begin) / 5000 * 1e6:.1f} us per message of 4 flits, one by one")


if __name__ == "__main__":
    main()
