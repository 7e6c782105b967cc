"""Speed of the networks: flit-hops and simulated cycles per CPU second, best of several runs.

    python benchmarks/noc_speed.py [--runs N] [--cycles N]

An 8 x 8 mesh of the references' routers (4 virtual channels of 8 flits unless written) under uniform
traffic. A flit-hop is one flit over one link between routers; `switched` counts flits through
switches, the ejecting one included; `by messages` is flit-hops again, with every packet a message of
its own that Python hands over and collects. BookSim 2 does 295,000 flit-hops per CPU second on the machine
of the reference measurements. Compiling is not counted; `cold` says what it takes, once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from time import process_time

import numpy as np

from accelsim.noc.booksim import Trace
from accelsim.noc.build import build_routed
from accelsim.noc.detailed import DetailedNoc
from accelsim.noc.flit_kernel import run_flits
from accelsim.noc.mesh import grid_graph
from accelsim.noc.router import RouterSpec

SIDE = 8
#: offered flits per node and cycle, flits of a packet, virtual channels, flits of a buffer
CASES = (
    (0.02, 5, 4, 8),
    (0.1, 5, 4, 8),
    (0.3, 5, 4, 8),
    (0.39, 16, 4, 8),
    (0.3, 1, 4, 8),
    (0.2, 5, 1, 8),
    (0.3, 5, 2, 8),
)


def traffic(rate: float, packet: int, cycles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Packets at random times between random nodes: (cycle, source, target)."""
    random = np.random.default_rng(1)
    times, sources = np.nonzero(random.random((cycles, SIDE * SIDE)) < rate / packet)
    return times, sources, random.integers(0, SIDE * SIDE, len(times))


def kernel_only(rate: float, packet: int, vcs: int, buffer: int, cycles: int) -> tuple[float, int, int, int]:
    """Without Python between the packets: (CPU seconds, flit-hops, switched, cycles)."""
    spec = RouterSpec(flit_bytes=1, virtual_channels=vcs, buffer_flits=vcs * buffer)
    graph = grid_graph(SIDE, SIDE)
    trace = Trace(graph, spec, *traffic(rate, packet, cycles), packet, logs=False)
    begin = process_time()
    end = trace.run()
    return process_time() - begin, *trace.switched(graph), end


def by_messages(rate: float, packet: int, vcs: int, buffer: int, cycles: int) -> tuple[float, int]:
    """The same packets as messages through the interface, handed over beforehand: (CPU seconds, flit-hops)."""
    spec = RouterSpec(flit_bytes=1, virtual_channels=vcs, buffer_flits=vcs * buffer, max_packet_flits=packet)
    noc = DetailedNoc(grid_graph(SIDE, SIDE), spec)
    packets = zip(*(a.tolist() for a in traffic(rate, packet, cycles)), strict=True)
    for n, (now, source, target) in enumerate(packets):
        noc.submit(now, n, source, target, packet)
    begin = process_time()
    noc.finish()
    return process_time() - begin, noc.stats().flit_hops


def cold_s() -> float:
    """CPU seconds of the first call of the kernel in a fresh process with an empty cache, compiler's start excluded."""
    code = (
        "import time, numba\n"
        "numba.njit(lambda x: x + 1)(1)\n"
        "from accelsim.noc.flit_kernel import run_flits, tiny_network\n"
        "m = tiny_network().memory\n"
        "t = time.process_time(); run_flits(m, 1); print(time.process_time() - t)\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "ACCELSIM_CACHE_DIR": cache}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=3000)
    args = parser.parse_args()
    print(f"cold compilation: {cold_s():.1f} s CPU")
    columns = f"{'M flit-hops/s':>14} {'M switched/s':>13} {'k cycles/s':>11} {'by messages':>12}"
    print(f"{'rate, packet, buffers':<26} {columns}")
    for case in CASES:
        kernel_only(*case, 10)
        cpu, hops, switched, end = min(kernel_only(*case, args.cycles) for _ in range(args.runs))
        through, moved = min(by_messages(*case, args.cycles) for _ in range(args.runs))
        rate, packet, vcs, buffer = case
        figures = f"{hops / cpu / 1e6:>14.2f} {switched / cpu / 1e6:>13.2f} {end / cpu / 1e3:>11.0f}"
        print(f"{f'{rate}, {packet}, {vcs} x {buffer}':<26} {figures} {moved / through / 1e6:>12.2f}")
    print_idle()


def print_idle() -> None:
    """Idle cycles, and what a message costs at each fidelity."""
    noc = DetailedNoc(grid_graph(SIDE, SIDE), RouterSpec(flit_bytes=1))
    run_flits(noc.memory, 1)
    begin = process_time()
    for n in range(1000):
        run_flits(noc.memory, (n + 1) * 10**12)
    print(f"idle: {(process_time() - begin) / 1000 * 1e6:.2f} us for 10**12 cycles")
    for fidelity in ("ideal", "bandwidth", "detailed"):
        one = build_routed(grid_graph(SIDE, SIDE), RouterSpec(flit_bytes=16), fidelity, "noc")  # type: ignore[arg-type]
        begin = process_time()
        for n in range(5000):
            one.submit(n * 100, n, n % 64, n * 7 % 64, 64)
            one.advance(n * 100 + 99)
        print(f"{fidelity}: {(process_time() - begin) / 5000 * 1e6:.1f} us per message of 4 flits")


if __name__ == "__main__":
    main()
