"""The vector unit: pooling, element-wise and normalisation layers, `lanes` simple operations a cycle."""

from __future__ import annotations

import numpy as np

from accelsim.base.units import ceil_div
from accelsim.engines.base import Task
from accelsim.sim.passes import PassTable, empty_passes
from accelsim.workload.shapes import VectorShape

_CHUNK_BYTES = 64 * 1024


def lower_vector(task: Task, shape: VectorShape, ifmap_elements_off_chip: int) -> PassTable:
    """The pass table of a layer without weights, cut into chunks that stream through the ifmap's buffer.

    Parameters
    ----------
    task : Task
    shape : VectorShape
    ifmap_elements_off_chip : int
        Input elements that must be fetched (inputs may lie partly on chip).
    """
    in_bytes = ceil_div(ifmap_elements_off_chip * task.bits["ifmap"], 8)
    out_bytes = 0 if task.on_chip[1] else ceil_div(shape.outputs * task.bits["ofmap"], 8)
    ops = shape.outputs * (shape.ops_per_output + task.fused_ops)
    room = task.room_of("ifmap")
    sharers = len({room.name, task.room_of("ofmap").name}) == 1
    chunk = max(1, min(_CHUNK_BYTES, room.free_bytes // (room.slots * (2 if sharers else 1))))
    count = min(max(1, ceil_div(max(in_bytes, out_bytes), chunk)), shape.outputs)
    rows = empty_passes(count)
    rows["ifmap_bytes"] = _split(in_bytes, count)
    rows["ofmap_bytes"] = _split(out_bytes, count)
    cycles = np.maximum(1, -(-_split(ops, count) // task.vector_lanes))
    for name in ("busy_cycles", "stream_cycles", "finish_cycles", "load_free_cycles"):
        rows[name] = cycles
    base = task.addresses
    rows["ifmap_address"] = base.get("ifmap", 0) + np.cumsum(rows["ifmap_bytes"]) - rows["ifmap_bytes"]
    rows["ofmap_address"] = base.get("ofmap", 0) + np.cumsum(rows["ofmap_bytes"]) - rows["ofmap_bytes"]
    table = PassTable(task.layer.name, rows, "", task.slots(), info={"mapping": f"{count} chunks"})
    table.array_reads["ifmap"] = _split(shape.inputs, count)
    table.array_writes["ofmap"] = _split(shape.outputs, count)
    table.counts.add("vector_unit", "op", ops)
    read_bits = shape.inputs * task.bits["ifmap"]
    write_bits = shape.outputs * task.bits["ofmap"]
    source, target = task.room_of("ifmap").name, task.room_of("ofmap").name
    table.counts.add(source, "read", ceil_div(read_bits, task.word_bits[source]))
    table.counts.add(source, "write", ceil_div(8 * in_bytes, task.word_bits[source]))
    table.counts.add(target, "write", ceil_div(write_bits, task.word_bits[target]))
    table.counts.add(target, "read", ceil_div(8 * out_bytes, task.word_bits[target]))
    return table


def _split(total: int, parts: int) -> np.ndarray:
    """`total` as evenly as integers allow, larger parts first."""
    base, extra = divmod(total, parts)
    out = np.full(parts, base, np.int64)
    out[:extra] += 1
    return out
