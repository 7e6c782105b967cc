"""How fast crossbars are simulated: functional products beside dense ones, and VGG-16 on six ISAAC chips.

    python benchmarks/crossbar_speed.py [--no-chip]

CPU time, one thread. A functional product is beside one float32 product of numpy for each slice and input bit.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from accelsim.engines.crossbars.math import Cells, NonIdeal, product, program
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace

CASES: dict[str, tuple[int, NonIdeal | None]] = {
    "8-bit ADC, nothing lost": (8, None),
    "7-bit ADC, sums saturate": (7, None),
    "variation, stuck cells, IR drop": (8, NonIdeal(variation=0.1, stuck_on=0.01, wire=1e-4)),
    "variation and read noise": (8, NonIdeal(variation=0.1, read_noise=0.5)),
}


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of the best of three."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def products() -> None:
    """1024 x 1152 x 256, 16-bit weights in 2-bit cells, 16-bit inputs bit by bit."""
    random = np.random.default_rng(0)
    x, w = random.integers(-(2**15), 2**15, (1024, 1152)), random.integers(-(2**15), 2**15, (1152, 256))
    a, b = x.astype(np.float32), w.astype(np.float32)
    dense = cpu(lambda: [a @ b for _ in range(8 * 16)])
    print(f"128 dense products: {dense:.2f} s")
    for name, (bits, faults) in CASES.items():
        cells = Cells(128, adc_bits=bits)
        stored = program(w, cells, faults)
        own = cpu(lambda: product(x, stored, cells, faults))  # noqa: B023
        print(f"{name}: {own:.2f} s, {own / dense:.2f} x")


def chip() -> None:
    """A whole VGG-16, network detailed, the second time."""
    trace = synthetic_trace(load_network("vgg16"), weight_bits=16, activation_bits=16)
    simulate(load_arch("isaac_6chips"), trace)
    begin = time.process_time()
    result = simulate(load_arch("isaac_6chips"), trace)
    took = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"vgg16 on isaac_6chips: {result.cycles} cycles ({result.seconds * 1e3:.3f} ms), {took:.2f} s, {peak:.2f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-chip", action="store_true")
    with threadpool_limits(1):
        products()
        if not parser.parse_args().no_chip:
            chip()
