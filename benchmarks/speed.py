"""Speed and memory of accelsim itself: CPU seconds, medians.

    python benchmarks/speed.py [--runs N]

Three figures for each case: `warm`, the whole job inside a process that has run it before (trace
made, mapped, simulated, priced); `command`, the whole command with compiled kernels, imports
included; and, once, `first`, the very first command after an installation, compiling kernels.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable

from timing import PYTHON, median_cost, median_cpu_s, table

CASES = {
    "ResNet-50, 32x32 WS": ("systolic_ws_32", "resnet50", []),
    "ResNet-50, 128x128 WS": (
        "systolic_ws_32",
        "resnet50",
        [
            "engine.rows=128",
            "engine.cols=128",
            *(f"buffers.{o}_buffer.capacity_bytes=1048576" for o in ("psum", "filter", "ifmap", "ofmap")),
        ],
    ),
    "ResNet-50, tpu_v1": ("tpu_v1", "resnet50", []),
    "VGG-16, tpu_v1": ("tpu_v1", "vgg16", []),
}


def job(arch: str, workload: str, overrides: list[str]) -> Callable[[], object]:
    """The whole job as a function of nothing."""
    from accelsim.system.archspec import load_arch
    from accelsim.system.simulate import simulate
    from accelsim.workload.load import load_network
    from accelsim.workload.trace import synthetic_trace

    def work() -> object:
        from accelsim.mapping.search import candidates

        candidates.cache_clear()  # every run searches its mappings anew
        return simulate(load_arch(arch, overrides), synthetic_trace(load_network(workload)))

    return work


def gemm_256() -> float:
    """CPU seconds of a 256 x 256 x 256 GEMM on a 32 x 32 output-stationary mesh, all in (STONNE takes 27 s)."""
    from accelsim.system.archspec import load_arch
    from accelsim.system.simulate import simulate
    from accelsim.workload.network import Network, Node
    from accelsim.workload.ops import Input, Linear
    from accelsim.workload.trace import synthetic_trace

    arch = load_arch("systolic_os_32")
    network = Network("gemm", [Node("x", Input((256, 256))), Node("fc", Linear(256), ("x",))])
    return median_cpu_s(lambda: simulate(arch, synthetic_trace(network)), 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median is taken")
    runs = parser.parse_args().runs
    rows = []
    for name, (arch, workload, overrides) in CASES.items():
        sets = [part for o in overrides for part in ("--set", o)]
        command = [PYTHON, "-m", "accelsim", "run", arch, workload, *sets]
        whole = median_cost(command, runs)
        warm = median_cpu_s(job(arch, workload, overrides), runs)
        rows.append([name, f"{warm:.3f}", f"{whole.cpu_s:.2f}", f"{whole.peak_mb:.0f}"])
    print(table(["case", "warm (CPU s)", "command (CPU s)", "peak (MB)"], rows))
    with tempfile.TemporaryDirectory() as empty:
        first = median_cost([PYTHON, "-m", "accelsim", "run", "tpu_v1", "vgg16"], 1, {"ACCELSIM_CACHE_DIR": empty})
    print(f"\nfirst command after an installation (kernels compile): {first.cpu_s:.1f} CPU s")
    help_cost = median_cost([PYTHON, "-m", "accelsim", "--help"], runs)
    print(f"accelsim --help: {help_cost.cpu_s:.2f} CPU s")
    print(f"GEMM 256x256x256 on 32x32 OS, whole job, warm: {gemm_256() * 1000:.2f} CPU ms")


if __name__ == "__main__":
    main()
