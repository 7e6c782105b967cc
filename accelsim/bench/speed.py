"""How fast the simulator itself is: CPU time, memory and events of whole cases.

CPU time is given as a ratio to a reference kernel that runs in turn with the case in the same process, so that
figures of different machines, and of a busy and an idle one, can be compared. Every case has a process of its own,
so that peak memory is its alone.
"""

from __future__ import annotations

import heapq
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from accelsim import __version__
from accelsim.base.errors import ConfigError, SimulationBug
from accelsim.bench.cases import SpeedCase, CaseTraces, load_suite, run_case
from accelsim.report.places import atomic, check_writable

SPEED_HISTORY = "speed.jsonl"
RUNS = 5
SLOWER = 1.5
"""A case is called slower if its ratio is this many times the recorded one: far above what medians of five vary."""
_EVENTS, _PROCESSES, _ARRAY = 20_000, 64, 2**17


@dataclass(frozen=True)
class Speed:
    """Cost of one case.

    Attributes
    ----------
    case : str
    cpu_ratio : float
        CPU seconds of a run over those of the reference kernel, medians.
    cpu_s, reference_cpu_s : float
        On the machine that measured.
    peak_mb, base_mb : float
        Largest resident memory, and what of it was there before the first run (interpreter and libraries).
    events : int
        Events of the simulated machine in a run.
    cycles : int
        Simulated in a run.
    """

    case: str
    cpu_ratio: float
    cpu_s: float
    reference_cpu_s: float
    peak_mb: float
    base_mb: float
    events: int
    cycles: int


def reference() -> int:
    """A fixed piece of work of the simulator's own kind: processes resumed from a queue, then passes over arrays.

    Returns
    -------
    int
        The same number every time: nothing of it can be left out.
    """
    import numpy as np

    queue: list[tuple[int, int]] = [(i, i) for i in range(_PROCESSES)]
    processes = [_process(i) for i in range(_PROCESSES)]
    total = 0
    for _ in range(_EVENTS):
        now, who = heapq.heappop(queue)
        total += now
        heapq.heappush(queue, (now + next(processes[who]), who))
    array = np.arange(_ARRAY, dtype=np.int64)
    for step in range(8):
        array = np.cumsum(array * 31 + step) % 65537
        total += int(np.sort(array)[:: _ARRAY // 16].sum())
    return total


def _process(seed: int) -> Generator[int, None, None]:
    state = seed + 1
    while True:
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        yield state >> 16 & 1023


def in_turn(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Median CPU seconds of (`work`, the reference kernel) in this process, after one run of each."""
    work()
    reference()
    times: list[tuple[float, float]] = []
    for _ in range(runs):
        begin = time.process_time()
        reference()
        middle = time.process_time()
        work()
        times.append((time.process_time() - middle, middle - begin))
    return median(t[0] for t in times), median(t[1] for t in times)


def measure_here(name: str, folder: Path, runs: int) -> Speed:
    """Measure a case in this process; mappings are searched anew in every run."""
    from accelsim.mapping.search import candidates

    suite, _ = load_suite(folder)
    speed = next(s for s in suite.speed if s.name == name)
    case = next(c for c in suite.cases if c.name == speed.case)
    with CaseTraces() as traces:
        traces.of(case)
        reference()
        base = _peak_mb()
        seen: list[Any] = []

        def work() -> None:
            for _ in range(speed.repeat):
                candidates.cache_clear()
                seen[:] = [run_case(case, traces)]

        cpu, kernel = in_turn(work, runs)
    result = seen[0]
    each = cpu / speed.repeat
    return Speed(
        name, each / kernel, each, kernel, _peak_mb(), base, int(result.timeline.events), int(result.cycles)
    )  # fmt: skip


def _peak_mb() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (1024 * 1024 if sys.platform == "darwin" else 1024)


def measure(case: SpeedCase, folder: Path, runs: int = RUNS) -> Speed:
    """Measure a case in a process of its own.

    Raises
    ------
    SimulationBug
        If that process fails; with what it wrote.
    """
    command = [sys.executable, "-m", "accelsim.bench.speed", case.name, str(folder), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SimulationBug(f"measuring {case.name} failed:\n{done.stderr[-2000:]}")
    return Speed(**json.loads(done.stdout))


def last_recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Case -> its latest entry in the history.

    Raises
    ------
    ConfigError
    """
    path = folder / SPEED_HISTORY
    found: dict[str, dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            entry = json.loads(line)
            found.update({row["case"]: {**row, "date": entry["date"]} for row in entry["cases"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"is not a history of speeds: {error!r}", str(path)) from None
    return found


def check_record(folder: Path) -> None:
    """Refuse, before any work, a history that cannot be written."""
    check_writable(folder / SPEED_HISTORY)


def record(folder: Path, speeds: Sequence[Speed], reason: str = "", *, date: str | None = None) -> None:
    """Add a line to the history: what was measured, when, why, by which version and on what machine."""
    import numpy as np

    path = folder / SPEED_HISTORY
    before = path.read_bytes() if path.exists() else b""
    entry = {
        "date": date or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "reason": " ".join(reason.split()),
        "cases": [{k: _short(v) for k, v in asdict(speed).items()} for speed in speeds],
    }
    with atomic(path) as stream:
        stream.write(before + json.dumps(entry).encode() + b"\n")


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))))
