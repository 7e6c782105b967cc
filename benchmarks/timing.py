"""How the scripts of this folder measure: CPU seconds and peak memory of whole processes, medians of several."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user and system) and peak memory (MB) of one process."""

    cpu_s: float
    peak_mb: float


def command_cost(command: Sequence[str], env: dict[str, str] | None = None) -> Cost:
    """Run a command to its end, output thrown away; CPU and peak memory by the operating system's account.

    Raises
    ------
    RuntimeError
        If it fails; with what it wrote to stderr.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # a process of its own, so that its children's account is this command's alone
        os.close(reader)
        done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = f"{done.returncode} {used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}\n{done.stderr[-2000:]}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        head, _, stderr = pipe.read().partition("\n")
    os.waitpid(child, 0)
    code, cpu, peak = head.split()
    if code != "0":
        raise RuntimeError(f"{' '.join(command)} failed:\n{stderr}")
    return Cost(float(cpu), float(peak))


def median_cost(command: Sequence[str], runs: int, env: dict[str, str] | None = None) -> Cost:
    """Medians over `runs` runs."""
    costs = [command_cost(command, env) for _ in range(runs)]
    return Cost(median(c.cpu_s for c in costs), median(c.peak_mb for c in costs))


def median_cpu_s(work: Callable[[], object], runs: int) -> float:
    """Median CPU seconds of `work()` in this process, after one run that is not counted."""
    work()
    times = []
    for _ in range(runs):
        begin = process_time()
        work()
        times.append(process_time() - begin)
    return median(times)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned by width, for a terminal and for a Markdown page alike."""
    cells = [[str(c) for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


PYTHON = sys.executable
