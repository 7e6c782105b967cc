"""ResNet-50 on 1 to 36 chiplets of Simba: latency and speed-up, with the network exact and free of charge.

    python benchmarks/simba_scaling.py [DIR]

Prints the table and writes simba_scaling.png into DIR (default: docs). Exit status 1 if 36 chiplets take over 10 s of
CPU time, the network flit by flit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

from accelsim.report.drawing import new_figure, save, style
from accelsim.system.archspec import load_arch
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace

SIDES = (1, 2, 3, 4, 5, 6)
LIMIT_S = 10.0


def seconds(side: int, fidelity: str) -> tuple[float, float]:
    """(latency, CPU seconds) of side x side chiplets; the package's other chiplets are switched off."""
    used = [x + 6 * y for y in range(side) for x in range(side)]
    overrides = [
        f"cores.count={side * side}", f"cores.terminals={used}", f"cores.hubs={used}", f"noc.fidelity={fidelity}",
        f"cores.shared_buffer.capacity_bytes={32768 * side * side}",
    ]  # fmt: skip
    begun = process_time()
    result = simulate(load_arch("simba", overrides), synthetic_trace(load_network("resnet50")))
    return result.seconds, process_time() - begun


def main() -> None:
    """Table and figure."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    found: dict[str, list[float]] = {"detailed": [], "ideal": []}
    took = 0.0
    print("chiplets  network   latency ms  speed-up   CPU s")
    for side in SIDES:
        for fidelity, times in found.items():
            latency, cpu = seconds(side, fidelity)
            times.append(latency)
            took = cpu if fidelity == "detailed" else took
            print(f"{side * side:8d}  {fidelity:8s}  {latency * 1e3:10.3f}  {times[0] / latency:8.2f}  {cpu:6.2f}")
    chiplets = [side * side for side in SIDES]
    with style():
        figure, axes = new_figure(5.0, 3.4)
        for (fidelity, times), marker in zip(found.items(), "os", strict=True):
            name = "mesh, flit by flit" if fidelity == "detailed" else "network without cost"
            axes.plot(chiplets, [times[0] / t for t in times], marker=marker, label=name)
        axes.plot(chiplets, chiplets, linestyle=":", color="0.5", label="linear")
        axes.set(xscale="log", yscale="log", xlabel="chiplets", ylabel="speed-up over one chiplet")
        axes.set_xticks(chiplets, [str(c) for c in chiplets])
        axes.set_yticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
        axes.minorticks_off()
        axes.set_title("ResNet-50 on Simba, batch 1")
        axes.legend(frameon=False)
        save(figure, folder / "simba_scaling.png", dpi=150)
    if took > LIMIT_S:
        raise SystemExit(f"36 chiplets took {took:.1f} s, over {LIMIT_S} s")


if __name__ == "__main__":
    main()
