"""Speed of the trace: opening, reading, writing and describing one, and packing and drawing its integers.

    python benchmarks/trace_speed.py [--elements N] [--runs N] [--network vgg16]

CPU time of one thread; medians. GB are those of numpy's arrays (one byte an element up to 8 bits).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from timing import median_cpu_s, table

from accelsim.base.paths import find
from accelsim.workload.generator import GeneratorSpec, generate
from accelsim.workload.netfile import load_network_file
from accelsim.workload.network import Network
from accelsim.workload.packing import pack, unpack
from accelsim.workload.trace import Trace, TraceWriter, synthetic_trace


def packing_rows(elements: int, runs: int) -> list[list[object]]:
    """GB of packed and of unpacked integers per second, both ways."""
    rows: list[list[object]] = []
    for bits in (1, 2, 3, 4, 5, 6, 8, 12, 16, 32):
        values = generate(GeneratorSpec(bits=bits), 0, elements)
        words = pack(values, bits)
        packing = median_cpu_s(lambda: pack(values, bits), runs)
        unpacking = median_cpu_s(lambda: unpack(words, elements, bits, True).sum(dtype="i8"), runs)
        summing = median_cpu_s(lambda: values.sum(dtype="i8"), runs)
        unpacking = max(unpacking - summing, 1e-9)  # the sum, so that views are read at all
        speeds = (values.nbytes / packing, words.nbytes / unpacking, values.nbytes / unpacking)
        view = bits in (8, 16, 32)
        rows.append([bits, *("view" if view and i else f"{speed / 1e9:.2f}" for i, speed in enumerate(speeds))])
    return rows


def drawing_rows(elements: int, runs: int) -> list[list[object]]:
    """Million elements per second of some descriptions."""
    choices: list[dict[str, Any]] = [
        {},
        {"density": 0.5},
        {"distribution": "laplace"},
        {"distribution": "laplace", "density": 0.5},
        {"distribution": "gaussian", "bits": 16},
        {"density": 0.5, "block": 16},
        {"density": 0.5, "block": 16, "clustering": 0.5},
    ]
    rows: list[list[object]] = []
    for choice in choices:
        spec = GeneratorSpec(**choice)
        speed = elements / median_cpu_s(lambda: generate(spec, 0, elements), runs)
        rows.append([", ".join(f"{k} {v}" for k, v in choice.items()) or "uniform, 8 bits", f"{speed / 1e6:.0f}"])
    return rows


def file_rows(network: Network, runs: int, folder: Path) -> list[list[object]]:
    """Milliseconds of everything that is done with a file."""
    described = synthetic_trace(network, activation_density=0.5)
    small, large = folder / "small.trace", folder / "large.trace"
    described.write(small)

    def write() -> None:
        with TraceWriter(large, network, name=network.name) as writer:
            for layer, role, values, bits, signed in operands:
                writer.add(layer, role, values, bits=bits, signed=signed)

    operands = [(o.layer, o.role, o.values(), o.bits, o.signed) for o in described if o.role in ("filter", "ifmap")]
    write()
    work = {
        "describe (synthetic_trace)": lambda: synthetic_trace(network, activation_density=0.5),
        f"open, described only ({small.stat().st_size / 1e6:.2f} MB)": lambda: Trace.open(small),
        f"open, with payload ({large.stat().st_size / 1e6:.1f} MB)": lambda: Trace.open(large),
        "open and verify all payloads": lambda: Trace.open(large).verify(),
        "write, with payload": write,
    }
    return [[what, f"{1e3 * median_cpu_s(action, runs):.1f}"] for what, action in work.items()]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=25_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--network", default="vgg16")
    args = parser.parse_args()
    print(table(["bits", "pack GB/s in", "unpack GB/s in", "unpack GB/s out"], packing_rows(args.elements, args.runs)))
    print()
    print(table(["described", "million elements/s"], drawing_rows(args.elements, args.runs)))
    print()
    network = load_network_file(find(args.network, "workloads", "workload"))
    with tempfile.TemporaryDirectory() as folder:
        print(table([args.network, "ms of CPU time"], file_rows(network, args.runs, Path(folder))))


if __name__ == "__main__":
    main()
