"""Stages of a pipeline: every layer gets cores of its own, more the longer it takes.

Where there are more layers than cores, consecutive layers share a stage, so that the longest sum of their times on one
core is as short as can be. While cores are left, the slowest stage gets as many more as make it faster; a stage that
more cores do not help (the DRAM limits it) leaves them to the next slowest. Stages that follow each other lie side by
side: cores are dealt out along a line that runs through the network's rows to and fro. Layers without weights work
where their first input is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from accelsim.base.units import ceil_div
from accelsim.workload.shapes import VectorShape

if TYPE_CHECKING:
    from accelsim.system.manycore_plan import Plan


def stages(plan: Plan) -> list[list[int]]:
    """For every step of the schedule its cores."""
    steps, cores = plan.schedule.steps, plan.cores.count
    heavy = [index for index, step in enumerate(steps) if not isinstance(step.layer.work, VectorShape)]
    if not heavy:
        return [list(range(cores)) for _ in steps]

    @cache
    def cycles(index: int, count: int) -> int:
        return plan.best_score(steps[index], count)

    groups = [[heavy[i] for i in group] for group in consecutive([cycles(i, 1) for i in heavy], cores)]
    counts = _least(plan, groups)
    _deal_out(counts, cores - sum(counts), lambda at, count: sum(cycles(i, count) for i in groups[at]))
    line, first = _line(plan), 0
    found: list[list[int]] = [[] for _ in steps]
    for group, count in zip(groups, counts, strict=True):
        for index in group:
            found[index] = sorted(line[first : first + count])
        first += count
    maker = {step.writes: index for index, step in enumerate(steps)}
    for index, step in enumerate(steps):
        if not found[index]:
            made = [maker[t] for tensors in step.reads for t in tensors if t in maker]
            found[index] = found[made[0]] if made else found[heavy[0]]
    return found


def _deal_out(counts: list[int], free: int, cycles: Callable[[int, int], int]) -> None:
    """Add `free` cores to the stages; `cycles(stage, cores)` is how long a stage takes."""
    open_stages = set(range(len(counts)))
    while free > 0 and open_stages:
        slow = max(open_stages, key=lambda at: (cycles(at, counts[at]), -at))
        now = cycles(slow, counts[slow])
        more = next((n for n in range(1, free + 1) if cycles(slow, counts[slow] + n) < now), 0)
        if more:
            counts[slow] += more
            free -= more
        else:
            open_stages.remove(slow)


def consecutive(times: list[int], parts: int) -> list[list[int]]:
    """Positions of `times` in at most `parts` groups of consecutive ones, the largest sum as small as can be."""

    def grouped(bound: int) -> list[list[int]]:
        groups: list[list[int]] = []
        total = 0
        for index, time in enumerate(times):
            if not groups or total + time > bound:
                groups.append([])
                total = 0
            groups[-1].append(index)
            total += time
        return groups

    if len(times) <= parts:
        return [[index] for index in range(len(times))]
    low, high = max(times), sum(times)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(grouped(middle)) <= parts else (middle + 1, high)
    return grouped(low)


def _least(plan: Plan, groups: list[list[int]]) -> list[int]:
    """A core for each stage; where weights are resident, as many as hold them, if there are so many."""
    ones = [1] * len(groups)
    if not plan.cores.resident_weights:
        return ones
    room = next(r for r in plan.rooms if "filter" in r.holds)
    counts = []
    for group in groups:
        dims = [d for index in group for d in plan.schedule.steps[index].layer.weights.values()]
        n_bytes = sum(int(np.prod(d)) for d in dims) * plan.bits["filter"] // 8
        counts.append(max(1, ceil_div(n_bytes, room.free_bytes)))
    return counts if sum(counts) <= plan.cores.count else ones


def _line(plan: Plan) -> list[int]:
    """All cores, row after row of the network, every second row backwards."""
    numbers = list(range(plan.cores.count))
    if plan.places is None:
        return numbers
    rows = {y: row for row, y in enumerate(sorted(set(plan.places[:, 1].tolist())))}
    at = plan.places.tolist()
    return sorted(numbers, key=lambda c: (rows[at[c][1]], at[c][0] if rows[at[c][1]] % 2 == 0 else -at[c][0], c))
