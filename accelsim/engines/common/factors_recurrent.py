"""Recurrent layers with decomposed matrices on an engine for dense products: chains of products instead of one.

As in `recurrent`: first the inputs of all steps, then the states step by step, each step behind a barrier and followed
by its element-wise part. The factors of the states' matrix stay in the filters' buffer if all of them fit; the inputs'
results stay on the chip if, as sums, they fit into half of the sums' buffer, and else come back step by step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.base.units import ceil_div
from accelsim.engines.common.factors import Product, chain_table, joined, products
from accelsim.engines.common.recurrent import kept
from accelsim.sim.passes import PassArray, PassTable, empty_passes
from accelsim.workload.decomposed import decomposed
from accelsim.workload.encodings.base import encoding
from accelsim.workload.encodings.factored import Factored
from accelsim.workload.shapes import GemmShape, RecurrentShape

if TYPE_CHECKING:
    from accelsim.engines.base import Task
    from accelsim.engines.common.tiled import TiledEngine


def lower_recurrent_factors(engine: TiledEngine, task: Task, work: RecurrentShape) -> PassTable:
    """The pass table of a recurrent layer, some of whose matrices are decomposed.

    Raises
    ------
    ConfigError
        For cells of several groups or directions, or with a projection or a matrix of given rank.
    """
    if work.directions > 1 or work.groups > 1 or work.projection or work.rank:
        raise ConfigError(
            "mapping.factors=contract runs recurrent layers of one direction and one group, without projection or rank",
            f"layer {task.layer.name}",
        )
    stays = kept(task, work)
    here = replace(task, on_chip=(task.on_chip[0], stays, False), fused_ops=0)
    inputs = chain_table(engine, here, _chain(task, "filter", work.input_gemm))
    tables, rows, counts = [inputs], [inputs.rows], ActionCounts(inputs.counts)
    moved, texts = int(inputs.info["moved_elements"]), [f"input: {inputs.info['mapping']}"]
    steps = _steps(engine, task, work)
    for step in range(work.steps):
        if steps:
            table = steps[min(step, 1)]
            table = replace(table, rows=table.rows.copy())
            table.rows["barrier"][0] = 1
            tables.append(table)
            rows.append(table.rows)
            counts.merge(table.counts)
            moved += int(table.info["moved_elements"])
        rows.append(_pointwise(task, work, stays, counts))
    if steps:
        texts.append(f"step: {steps[0].info['mapping']}")
    return joined(task, rows, tables, counts, {"mapping": "; ".join(texts), "moved_elements": moved})


def _chain(task: Task, role: str, gemm: GemmShape) -> list[Product]:
    """Products of a matrix's factors, or of the matrix."""
    operand = task.trace.operand(task.layer.name, role)
    if operand is None or not isinstance(encoding(operand.encoding), Factored):
        return [Product(role, gemm)]
    return products(decomposed(operand), gemm, f"layer {task.layer.name}")


def _steps(engine: TiledEngine, task: Task, work: RecurrentShape) -> list[PassTable]:
    """The first step's table and that of all others; none for cells that do not read their state."""
    if "recurrent" not in work.step_gemms:
        return []
    chain = _chain(task, "recurrent", work.step_gemms["recurrent"])
    size = sum(ceil_div(product.weights * task.bits["filter"], 8) for product in chain)
    fits = size <= task.room_of("filter").free_bytes
    here = replace(task, on_chip=(True, True, False), fused_ops=0)
    first = chain_table(engine, here, chain)
    return [first, chain_table(engine, here, chain, resident=True) if fits else first]


def _pointwise(task: Task, work: RecurrentShape, stays: bool, counts: ActionCounts) -> PassArray:
    """The element-wise part of a step: sums of the inputs come back, the state leaves."""
    rows, ops = empty_passes(1), work.batch * work.hidden * work.unit_ops
    for name in ("busy_cycles", "stream_cycles", "finish_cycles", "load_free_cycles"):
        rows[name] = ceil_div(ops, task.vector_lanes)
    rows["barrier"] = 1
    sums, results = work.batch * work.in_rows, work.batch * work.state
    source, target = task.room_of("ifmap").name, task.room_of("ofmap").name
    if not stays:
        rows["psum_in_bytes"] = ceil_div(sums * task.bits["ofmap"], 8)
        rows["psum_address"] = task.addresses.get("psum", 0)
        counts.add(source, "write", ceil_div(8 * int(rows["psum_in_bytes"][0]), task.word_bits[source]))
    if not task.on_chip[1]:
        rows["ofmap_bytes"] = ceil_div(results * task.bits["ofmap"], 8)
        rows["ofmap_address"] = task.addresses.get("ofmap", 0)
        counts.add(target, "read", ceil_div(8 * int(rows["ofmap_bytes"][0]), task.word_bits[target]))
    counts.add("vector_unit", "op", ops)
    counts.add(source, "read", ceil_div(sums * task.bits["ofmap"], task.word_bits[source]))
    counts.add(target, "write", ceil_div(results * task.bits["ofmap"], task.word_bits[target]))
    return rows
