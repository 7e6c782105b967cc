"""What the fidelity of each component costs in run time, and how far it moves the cycles of ResNet-50.

    python benchmarks/fidelity.py [--workload NAME] [--runs N] [--only NAME]... [--output docs/fidelity.md]

Whole simulations in a process that has run one before, medians of CPU seconds. A pipe of fidelity `bandwidth` gets
the peak bandwidth of the detailed memory, so that only the model differs. Exit status 1 if `tpu_v1` with everything
detailed takes more than three times the CPU time of `bandwidth`, or two seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timing import median_cpu_s, table

ALL_DETAILED = "everything"
DRAM = ("tpu_v1", "systolic_ws_32", "edge_tpu_like_8")
NOC = ("simba", "dadiannao_chip")
PORTS = ("read_ports=1", "write_ports=1")
QUEUED = (*PORTS, "fidelity=bandwidth")
BANKED = (*PORTS, "banks=8")
ONE_PORT = ("read_write_ports=1", "banks=8", "dma=first")

TEXT = """# What fidelity costs, and what it changes

Made by `python benchmarks/fidelity.py --output docs/fidelity.md`: ResNet-50, batch 1; CPU seconds of a whole
simulation (mapping found before), on the machine that made this page; compare the ratios. The first line of each
group is what the others are compared with. How to choose: `--set dram.fidelity=bandwidth`, `--set noc.fidelity=...`,
and ports of buffers by `--set buffers.NAME.read_ports=1 --set buffers.NAME.write_ports=1` (and `fidelity`; see
[buffers.md](buffers.md)). With one bank, `tpu_v1` waits for a second word where a step's 256 inputs, several taps of a
window, lie in more than one.
"""


@dataclass(frozen=True)
class Setting:
    """One line: a component at one fidelity, on an architecture."""

    component: str
    arch: str
    name: str
    overrides: tuple[str, ...]


def settings() -> list[Setting]:
    """All lines; in each group of (component, architecture) the first is the base."""
    from accelsim.system.archspec import load_arch

    found = []
    for arch in DRAM:
        detailed = load_arch(arch).spec
        peak = int(detailed.dram_bytes_per_cycle() * detailed.clock_hz)
        for fidelity in ("bandwidth", "ideal", "detailed"):
            sets = (f"dram.bandwidth_bytes_per_s={peak}", f"dram.fidelity={fidelity}")
            found.append(Setting("DRAM", arch, fidelity, sets))
    for arch in ("tpu_v1", "systolic_ws_32"):
        for name, keys in (
            ("ideal", ()),
            ("bandwidth, a read and a write port", QUEUED),
            ("detailed, a read and a write port", PORTS),
            ("detailed, the same of 8 banks", BANKED),
            ("detailed, one port of 8 banks, DMA first", ONE_PORT),
        ):
            found.append(Setting("buffers", arch, name, ports(arch, keys)))
    for arch in NOC:
        found += [
            Setting("NoC", arch, fidelity, (f"noc.fidelity={fidelity}", "cores.resident_weights=false"))
            for fidelity in ("bandwidth", "ideal", "detailed")
        ]
    found.append(Setting(ALL_DETAILED, "tpu_v1", "bandwidth", ("dram.fidelity=bandwidth",)))
    found.append(Setting(ALL_DETAILED, "tpu_v1", "detailed", ("dram.fidelity=detailed", *ports("tpu_v1", BANKED))))
    return found


def ports(arch: str, keys: Sequence[str]) -> tuple[str, ...]:
    """These keys for every buffer."""
    from accelsim.system.archspec import load_arch

    return tuple(f"buffers.{buffer.name}.{key}" for buffer in load_arch(arch).spec.buffers for key in keys)


def main() -> None:
    """Measure, print or write, judge."""
    from accelsim.base.errors import ConfigError, DeadlockError
    from accelsim.system.archspec import load_arch
    from accelsim.system.simulate import simulate
    from accelsim.workload.load import load_network
    from accelsim.workload.trace import synthetic_trace

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="resnet50")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--only", action="append", help="this component only: DRAM, buffers, NoC, everything")
    parser.add_argument("--output", type=Path, help="write a page instead of printing the table")
    args = parser.parse_args()
    trace = synthetic_trace(load_network(args.workload))
    rows: list[list[str]] = []
    group, base_cycles, base_cpu, failed = ("", ""), 0, 0.0, ""
    for setting in settings():
        if args.only and setting.component not in args.only:
            continue
        arch = load_arch(setting.arch, setting.overrides)
        try:
            cycles = simulate(arch, trace).cycles
        except (ConfigError, DeadlockError) as error:
            rows.append([setting.component, setting.arch, setting.name, f"does not run: {str(error)[:60]}", "", "", ""])
            continue
        cpu = median_cpu_s(lambda: simulate(arch, trace), args.runs)
        if group != (setting.component, setting.arch):
            group, base_cycles, base_cpu = (setting.component, setting.arch), cycles, cpu
        rows.append([
            setting.component, setting.arch, setting.name, f"{cycles:,}", f"{100 * (cycles / base_cycles - 1):+.2f}%",
            f"{cpu:.2f}", f"{cpu / base_cpu:.2f}x",
        ])
        if setting.component == ALL_DETAILED and (cpu > 3 * base_cpu or cpu > 2):
            failed = f"everything detailed takes {cpu:.2f} s, {cpu / base_cpu:.2f} times bandwidth"
    text = table(["component", "architecture", "fidelity", "cycles", "over base", "CPU s", "over base"], rows)
    if args.output:
        args.output.write_text(f"{TEXT}\n{text}\n", encoding="utf-8")
    else:
        print(text)
    if failed:
        raise SystemExit(failed)


if __name__ == "__main__":
    main()
