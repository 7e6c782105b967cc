"""What a sweep costs: the machinery for each job, 10,000 points of ResNet-18, and what a second worker brings.

    python benchmarks/sweep_speed.py            a sample of the points, from which the whole is computed
    python benchmarks/sweep_speed.py --full     all 10,000 points on two workers

CPU time is user and system time of this process and of all workers, so that other users of the machine disturb it
less; the second worker's gain is wall-clock time, and wants a machine with two free processors. Aims: below 5 ms for
each job, 10,000 points within 600 s on two processors, two workers at least 1.8 times one.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from accelsim.base.yamlio import read_yaml
from accelsim.sweep.run import sweep
from accelsim.sweep.store import Store

SWEEP = Path(__file__).parent / "sweeps" / "resnet18.yaml"
OVERHEAD_MS, SECONDS, GAIN = 5.0, 600.0, 1.8
POINTS = 10_000


def used_cpu() -> float:
    """CPU seconds of this process and of its ended children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def measured(source: dict[str, Any], folder: Path, workers: int) -> tuple[float, float, float]:
    """(CPU seconds in all, those inside of jobs, points per second of wall clock once all workers are at work)."""
    path = folder / f"{source['name']}-{workers}-{time.monotonic_ns()}.db"
    marks: list[tuple[int, float]] = []
    cpu = used_cpu()
    table = sweep(source, path, workers=workers, progress=lambda state: marks.append((state.done, state.seconds)))
    cpu = used_cpu() - cpu
    assert set(table.column("status")) == {"done"}, "every point of this sweep can be simulated"
    with Store.open(path) as store:
        inside = sum(outcome.cpu_s for outcome in store.results(table.column("hash")).values())
    done, end = marks[-1]
    late = next(mark for mark in marks if mark[0] >= 0.3 * done)  # start-up is over
    return cpu, inside, (done - late[0]) / (end - late[1]) if end > late[1] else 0.0


def overhead(folder: Path, workers: int) -> float:
    """Milliseconds of CPU that a job costs beyond its simulation: from two sizes, so that start-up drops out."""
    costs = []
    for count in (100, 1100):
        source = {
            "name": f"overhead{count}",
            "arch": "teaching_4x4",
            "workload": "lenet_300_100",
            "sweep": {"engine.rows": [4], "dram.bandwidth_bytes_per_s": {"linear": [10**8, 10**9], "count": count}},
        }
        cpu, inside, _ = measured(source, folder, workers)
        costs.append(cpu - inside)
    return costs[1] - costs[0]  # over 1000 jobs: milliseconds for each


def resnet18(points: int | None) -> dict[str, Any]:
    """The sweep; with `points`, a sample of it."""
    source: dict[str, Any] = read_yaml(SWEEP).data
    return source if points is None else {**source, "sample": {"points": points, "seed": 1}}


def main() -> int:
    """Measure, print, compare with the aims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="run all 10,000 points on two workers")
    parser.add_argument("--points", type=int, default=300, help="size of the sample (default: 300)")
    options = parser.parse_args()
    ok = True

    def say(what: str, value: float, unit: str, aim: float, good: bool) -> None:
        nonlocal ok
        ok &= good
        print(f"{what:<52} {value:9.3g} {unit:<3} aim {aim:g}{'' if good else '   MISSED'}", flush=True)

    with tempfile.TemporaryDirectory(prefix="accelsim-") as scratch:
        folder = Path(scratch)
        sweep(resnet18(2), folder / "warm.db", workers=0)  # compiles what is not compiled yet
        for workers in (0, 1):
            each = overhead(folder, workers)
            where = "in this process" if workers == 0 else "on a pool"
            say(f"CPU time of the machinery for a job, {where}", each, "ms", OVERHEAD_MS, each < OVERHEAD_MS)
        costs = {workers: measured(resnet18(options.points), folder, workers) for workers in (1, 2)}
        cpu, inside, _ = costs[2]
        each = cpu / options.points
        say("CPU time for a point of ResNet-18, start-up included", 1000 * each, "ms", 120, each < 0.12)
        whole = each * POINTS / 2
        say(f"{POINTS:,} points on two processors, computed from that", whole, "s", SECONDS, whole < SECONDS)
        gain = costs[2][2] / costs[1][2]
        say("two workers over one, points per second", gain, "x", GAIN, gain >= GAIN)
        if options.full:
            wall = time.monotonic()
            cpu, inside, _ = measured(resnet18(None), folder, 2)
            wall = time.monotonic() - wall
            say(f"{POINTS:,} points on two workers, wall-clock time", wall, "s", SECONDS, wall < SECONDS)
            print(f"{'of its CPU time, outside of jobs':<52} {100 * (1 - inside / cpu):9.3g} %")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
