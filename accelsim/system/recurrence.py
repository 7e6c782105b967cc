"""A recurrent layer over several cores: each has an equal part of the hidden units, with all their gates.

A core multiplies the inputs of all steps with its rows of the input matrix, then step by step the whole state with its
rows of the recurrent matrix, and makes its part of the next state. After every step the cores send their parts to each
other, one multicast each, and the next step waits for all of them. The number of cores is the one with the least
estimate: the array's time for a share, and in every step the exchange, as the network takes it when nothing else is on
it. Layers with projections, groups or factors, and engines whose cycles depend on data, use one core.
"""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.engines.common.tiled import TiledEngine
from accelsim.sim.passes import PassTable
from accelsim.system.partition import Partition
from accelsim.workload.shapes import RecurrentShape

if TYPE_CHECKING:
    from accelsim.system.manycore_plan import CoreLayer, Plan
    from accelsim.system.schedule import Step

#: Addresses from here on are states: no operand lies there.
STATE_AT = 2**60


def spread(plan: Plan, index: int, step: Step, work: RecurrentShape, allowed: list[int]) -> CoreLayer:
    """The layer on as many cores as serve it best, or as are pinned.

    Raises
    ------
    ConfigError
        If the pinned partition is none of a recurrent layer.
    """
    from accelsim.system.manycore_plan import CoreLayer

    count = _pinned(plan, step, work, len(allowed))
    why = "" if _can_be_shared(plan, step, work) else "one core: its engine or its cell leaves no other choice"
    if count is None:
        count = 1 if why else _best(plan, step, work, allowed)
    elif why and count > 1:
        raise ConfigError(f"cannot be cut into outputs {count}; {why}", f"layer {step.layer.name}")
    cores, own = allowed[:count], dataclasses.replace(work, hidden=work.hidden // count)
    task = plan.task(step)
    first = plan.lower(dataclasses.replace(task, layer=dataclasses.replace(step.layer, work=own)))
    if count > 1 and "recurrent" in own.step_gemms:
        _fetch_states(plan, first, work, count)
    tables = [first, *(_moved(first, own, part, task.bits) for part in range(1, count))]
    weights = [sum(int(np.prod(dims)) for dims in own.weights.values())] * count
    partition = Partition(outputs=count)
    return CoreLayer(step, index, partition, cores, tables, [-1] * count, weights, why, recurrent=count > 1)


def estimate(plan: Plan, step: Step, work: RecurrentShape, allowed: list[int]) -> int:
    """About how many cycles the layer takes on the best number of these cores."""
    count = _best(plan, step, work, allowed) if _can_be_shared(plan, step, work) else 1
    return _estimate(plan, step, work, count, allowed)


def _can_be_shared(plan: Plan, step: Step, work: RecurrentShape) -> bool:
    engine = plan.arch.engine
    plain = work.groups == 1 and not work.rank and not work.projection
    tiled = isinstance(engine, TiledEngine) and type(engine).lower is TiledEngine.lower
    return plain and tiled and not engine.depends_on_data(plan.task(step)) and not plan.contracted(step)


def _pinned(plan: Plan, step: Step, work: RecurrentShape, cores: int) -> int | None:
    where = f"layer {step.layer.name}"
    for pin in plan.cores.partition:
        if not fnmatchcase(step.layer.name, pin.layers):
            continue
        if pin.images * pin.rows * pin.channels > 1 or pin.shares or work.hidden % pin.outputs:
            what = f"a recurrent layer is cut by outputs alone, into equal parts of its {work.hidden} hidden units"
            raise ConfigError(what, where)
        if pin.outputs > cores:
            what = f"the pinned partition outputs {pin.outputs} needs {pin.outputs} cores, there are {cores}"
            raise ConfigError(what, where)
        return pin.outputs
    return None


def _best(plan: Plan, step: Step, work: RecurrentShape, allowed: list[int]) -> int:
    """Of the divisors of the hidden units the number of cores with the least estimate; of equal ones the least."""
    options = [count for count in range(1, len(allowed) + 1) if work.hidden % count == 0]
    return min(options, key=lambda count: (_estimate(plan, step, work, count, allowed), count))


def _estimate(plan: Plan, step: Step, work: RecurrentShape, count: int, allowed: list[int]) -> int:
    own = dataclasses.replace(work, hidden=work.hidden // count)
    engine, task = plan.arch.engine, plan.task(step)

    def busy(shape: object) -> int:
        layer = dataclasses.replace(step.layer, work=shape)  # type: ignore[arg-type]
        return engine.estimate(dataclasses.replace(task, layer=layer))

    each = sum(busy(gemm) for gemm in own.step_gemms.values())
    each += ceil_div(own.batch * own.hidden * own.unit_ops, plan.arch.spec.vector.lanes)
    if count > 1 and "recurrent" in own.step_gemms:
        each += _exchange_cycles(plan, allowed[:count], ceil_div(own.batch * own.hidden * task.bits["ofmap"], 8))
    return busy(own.input_gemm) + work.directions * work.steps * each


def _exchange_cycles(plan: Plan, cores: list[int], n_bytes: int) -> int:
    """Until every core has the parts of all others."""
    network, spec = plan.arch.build_noc(), plan.cores
    terminals = [(spec.terminals or range(spec.count))[core] for core in cores]
    for number, source in enumerate(terminals):
        others = tuple(t for t in terminals if t != source)
        network.submit(0, number, source, others[0] if len(others) == 1 else others, n_bytes)
    return spec.bridge_cycles + network.finish()


def _fetch_states(plan: Plan, table: PassTable, work: RecurrentShape, count: int) -> None:
    """Every step but the first of a direction fetches the parts of the state that other cores have made."""
    rows = table.rows
    begins = np.flatnonzero(rows["barrier"])
    steps = np.arange(len(begins))
    later = steps % work.steps > 0
    others = work.hidden - work.hidden // count
    n_bytes = ceil_div(work.batch * others * plan.bits["ofmap"], 8)
    rows["ifmap_bytes"][begins[later]] = n_bytes
    rows["ifmap_address"][begins[later]] = STATE_AT + steps[later] - 1
    buffer = next(b for b in plan.arch.spec.buffers if "ifmap" in b.holds)
    table.counts.add(buffer.name, "write", int(later.sum()) * ceil_div(8 * n_bytes, buffer.word_bits))


def _moved(table: PassTable, own: RecurrentShape, part: int, bits: dict[str, int]) -> PassTable:
    """The passes of another part: its weights, sums and results lie behind those of the parts before it."""
    rows = table.rows.copy()
    weights = sum(int(np.prod(dims)) for dims in own.weights.values())
    states = own.directions * own.batch * own.steps * own.hidden
    sums = own.directions * own.batch * own.steps * own.in_rows
    for operand, elements, kind in (("filter", weights, "filter"), ("ofmap", states, "ofmap"), ("psum", sums, "psum")):
        rows[f"{operand}_address"] += part * ceil_div(elements * bits[kind], 8)
    return dataclasses.replace(table, rows=rows, counts=ActionCounts(table.counts), info=table.info)
