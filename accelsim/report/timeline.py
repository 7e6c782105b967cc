"""A run as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.

Time in the file is in microseconds, as the format wants it: `cycle * 10**6 / clock_hz`, rounded to a
picosecond. Exact cycles stand in the arguments of each event.

Tracks: the layers; the passes as they stream through the array, and as their last results leave it; for each
operand its transfers on the DRAM bus (their time of asking is among the arguments); counters for the DRAM's
bandwidth by operand and for what lies in each buffer.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.report.activity import MOVED, dram_rates, held_bytes, on_the_bus
from accelsim.report.places import atomic
from accelsim.report.parts import CAUSE_LABELS, OPERAND_LABELS
from accelsim.system.result import RunResult

CORE, DRAM, BUFFERS = 1, 2, 3
LAYERS, STREAM, DRAIN = 1, 2, 3
BANDWIDTH_POINTS = 1000
MAX_LANES = 8

_TRACK = {"filter": "weights", "ifmap": "ifmap", "psum": "psum", "ofmap": "ofmap", "psum_out": "psum written"}
Event = dict[str, Any]


def write_timeline(result: RunResult, path: str | Path) -> None:
    """Write the timeline; gzipped if the name ends in `.gz`. The same run gives the same bytes.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    target = Path(path)
    text = timeline_json(result).encode()
    if target.suffix == ".gz":
        text = gzip.compress(text, 6, mtime=0)
    with atomic(target) as stream:
        stream.write(text)


def timeline_json(result: RunResult) -> str:
    """The timeline as text."""
    head = {
        "displayTimeUnit": "ns",
        "otherData": {
            "arch": result.arch,
            "workload": result.workload,
            "trace_hash": result.trace_hash,
            "version": result.version,
            "clock_hz": result.clock_hz,
            "time": "us = cycle * 1000000 / clock_hz",
        },
    }
    events = ",\n".join(json.dumps(event, separators=(",", ":")) for event in timeline_events(result))
    return json.dumps(head)[:-1] + ', "traceEvents": [\n' + events + "\n]}\n"


def timeline_events(result: RunResult) -> Iterator[Event]:
    """Every event of the file, in order."""
    clock = _Clock(result.clock_hz)
    yield from _names(result)
    yield from _layers(result, clock)
    yield from _passes(result, clock)
    yield from _transfers(result, clock)
    yield from _bandwidth(result, clock)
    yield from _occupancy(result, clock)


class _Clock:
    """Cycles as microseconds."""

    def __init__(self, clock_hz: int) -> None:
        self.clock_hz = clock_hz

    def us(self, cycle: float) -> float:
        """Rounded to a picosecond."""
        return round(cycle * 1e6 / self.clock_hz, 6)

    def span(self, name: str, pid: int, tid: int, begin: int, end: int, **args: Any) -> Event:
        """An event from one cycle to another."""
        start = self.us(begin)
        return {
            "name": name, "ph": "X", "pid": pid, "tid": tid, "ts": start, "dur": round(self.us(end) - start, 6),
            "args": {"start_cycle": begin, "end_cycle": end, **args},
        }  # fmt: skip


def _names(result: RunResult) -> Iterator[Event]:
    """What processes and threads are called, and their order."""
    yield _meta("process_name", CORE, 0, name=f"core: {result.workload} on {result.arch}")
    for tid, name in ((LAYERS, "layers"), (STREAM, "passes streaming")):
        yield _meta("thread_name", CORE, tid, name=name)
        yield _meta("thread_sort_index", CORE, tid, sort_index=tid)
    for lane in range(MAX_LANES):
        yield _meta("thread_name", CORE, DRAIN + lane, name="passes draining")
        yield _meta("thread_sort_index", CORE, DRAIN + lane, sort_index=DRAIN + lane)
    yield _meta("process_name", DRAM, 0, name="DRAM")
    for tid, operand in enumerate(MOVED):
        kind = "load" if tid < 3 else "write"
        yield _meta("thread_name", DRAM, tid + 1, name=f"{kind} {_TRACK[operand]}")
        yield _meta("thread_sort_index", DRAM, tid + 1, sort_index=tid + 1)
    yield _meta("process_name", BUFFERS, 0, name="buffers")


def _meta(what: str, pid: int, tid: int, **args: Any) -> Event:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": args}


def _layers(result: RunResult, clock: _Clock) -> Iterator[Event]:
    for layer, times in zip(result.layers, result.timeline.layers, strict=True):
        went = {CAUSE_LABELS[c]: n for c, n in layer.cycles_by_cause.items() if n}
        yield clock.span(
            layer.name, CORE, LAYERS, times.start, times.end,
            kind=layer.kind, macs=layer.macs, mapping=layer.info.get("mapping", ""),
            energy_pj=layer.total_energy_pj, cycles=went,
        )  # fmt: skip


def _passes(result: RunResult, clock: _Clock) -> Iterator[Event]:
    lanes = [0] * MAX_LANES  # until when each lane of draining passes is taken
    first, layer_before = 0, -1
    for index, (layer, start, streamed, done, macs) in enumerate(result.timeline.passes.tolist()):
        if layer != layer_before:
            first, layer_before = index, layer
        name = f"{result.layers[layer].name} pass {index - first}"
        yield clock.span(name, CORE, STREAM, start, streamed, macs=macs)
        if done > streamed:
            free = [i for i, until in enumerate(lanes) if until <= streamed]
            if free:  # else more drain at once than can be told apart on screen
                lanes[free[0]] = done
                yield clock.span(name, CORE, DRAIN + free[0], streamed, done)


def _transfers(result: RunResult, clock: _Clock) -> Iterator[Event]:
    order, begin, end = on_the_bus(result)
    rows = result.timeline.transfers[order].tolist()
    for (layer, row, operand, n_bytes, issued, _), first, last in zip(rows, begin.tolist(), end.tolist(), strict=True):
        name = f"{result.layers[layer].name} {_TRACK[MOVED[operand]]}"
        args = {"bytes": n_bytes, "pass": row, "asked_for_cycle": issued}
        yield clock.span(name, DRAM, operand + 1, first, last, **args)


def _bandwidth(result: RunResult, clock: _Clock) -> Iterator[Event]:
    rates = dram_rates(result)
    if not rates or not result.cycles:
        return
    edges = np.linspace(0, result.cycles, min(result.cycles, BANDWIDTH_POINTS) + 1)
    means = {name: steps.means(edges) * result.clock_hz / 1e9 for name, steps in rates.items()}
    for i, at in enumerate(edges[:-1].tolist()):
        values = {_TRACK[name]: round(float(mean[i]), 4) for name, mean in means.items()}
        yield _counter("DRAM bandwidth (GB/s)", DRAM, clock.us(at), values)
    yield _counter("DRAM bandwidth (GB/s)", DRAM, clock.us(result.cycles), dict.fromkeys(map(_TRACK.get, means), 0))


def _occupancy(result: RunResult, clock: _Clock) -> Iterator[Event]:
    for buffer, inside in held_bytes(result).items():
        for what, steps in inside.items():
            at, level = steps.levels()
            for cycle, held in zip(at.tolist(), level.tolist(), strict=True):
                name = f"{buffer}: {OPERAND_LABELS[what]} (bytes)"
                yield _counter(name, BUFFERS, clock.us(cycle), {"bytes": round(held)})


def _counter(name: str, pid: int, ts: float, values: dict[Any, Any]) -> Event:
    return {"name": name, "ph": "C", "pid": pid, "tid": 0, "ts": ts, "args": values}
