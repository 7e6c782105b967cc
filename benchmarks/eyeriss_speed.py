"""CPU seconds that mapping and simulating Eyeriss on VGG-16 takes: 13 convolutions, batch 3, DRAM in detail.

    python benchmarks/eyeriss_speed.py [--runs N]

Warm: kernels are compiled, every run searches its mappings anew. Exit status 1 if the median is over 5 s.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time

from validate_eyeriss import VGG16, convolutions

from accelsim.dataflow.row_stationary import pass_timing
from accelsim.engines.eyeriss.rs_search import search
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace

LIMIT_S = 5.0


def once() -> tuple[float, int, int]:
    """CPU seconds, passes, and events of one run."""
    pass_timing.cache_clear()
    search.cache_clear()
    begin = process_time()
    network = convolutions(load_network("vgg16", batch=3))
    layers = {name: {"activation_density": 1 - row[3] / 100} for name, row in VGG16.items()}
    trace = synthetic_trace(network, weight_bits=16, activation_bits=16, per_layer=layers)
    result = simulate(load_arch("eyeriss", ("dram.fidelity=detailed",)), trace)
    passes = sum(layer.info.get("passes", 0) for layer in result.layers)
    return process_time() - begin, passes, result.timeline.events


def main() -> None:
    """Print the median."""
    parser = argparse.ArgumentParser(description="Speed of Eyeriss on VGG-16.")
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    once()  # compiles
    found = [once() for _ in range(runs)]
    seconds = median(run[0] for run in found)
    print(f"{seconds:.2f} s of CPU time (median of {runs}), {found[0][1]:,} passes, {found[0][2]:,} events")
    if seconds > LIMIT_S:
        raise SystemExit(f"over {LIMIT_S} s")


if __name__ == "__main__":
    main()
