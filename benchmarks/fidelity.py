"""What the fidelity of the DRAM model changes, and what it costs: ResNet-50, cycles and CPU seconds.

    python benchmarks/fidelity.py [--workload NAME]
"""

from __future__ import annotations

import argparse

from timing import median_cpu_s, table

DETAIL = {
    "tpu_v1": "{standard: ddr3_1600, channels: 2}",
    "systolic_ws_32": "{standard: ddr4_2400}",
    "edge_tpu_like_8": "{standard: lpddr4_3200}",
}


def main() -> None:
    from accelsim.system.archspec import load_arch
    from accelsim.system.simulate import simulate
    from accelsim.workload.load import load_network
    from accelsim.workload.trace import synthetic_trace

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="resnet50")
    trace = synthetic_trace(load_network(parser.parse_args().workload))
    rows = []
    for name, detail in DETAIL.items():
        detailed = load_arch(name, ["dram.fidelity=detailed", f"dram.detail={detail}"])
        # the pipe gets the peak bandwidth of the detailed memory, so that only the model differs
        peak = int(detailed.spec.dram_bytes_per_cycle() * detailed.spec.clock_hz)
        base = None
        for fidelity in ("ideal", "bandwidth", "detailed"):
            sets = [f"dram.bandwidth_bytes_per_s={peak}", f"dram.fidelity={fidelity}", f"dram.detail={detail}"]
            arch = load_arch(name, sets)
            result = simulate(arch, trace)
            cpu = median_cpu_s(lambda: simulate(arch, trace), 3)
            if fidelity == "bandwidth":
                base = (result.cycles, cpu)
            more = f"{result.cycles / base[0] - 1:+.1%}, {cpu / base[1]:.1f}x CPU" if base else ""
            rows.append([name, fidelity, f"{result.cycles:,}", f"{cpu:.2f}", more])
    print(table(["architecture", "dram.fidelity", "cycles", "CPU s", "over bandwidth"], rows))


if __name__ == "__main__":
    main()
