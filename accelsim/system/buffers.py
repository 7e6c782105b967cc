"""What buffers hold and what their ports add to an engine's passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelsim.mapping.problem import Room
from accelsim.memory.buffer import port_stalls
from accelsim.sim.passes import PassTable
from accelsim.system.archspec import ArchSpec, Buffer
from accelsim.workload.network import Layer
from accelsim.workload.trace import Trace

#: Operand -> column of the pass table, for what a DMA writes into a buffer and what it reads from one.
_FILL = {"filter": "filter_bytes", "ifmap": "ifmap_bytes", "psum": "psum_in_bytes"}
_DRAIN = {"ofmap": "ofmap_bytes", "psum": "psum_out_bytes"}


def stored_bits(spec: ArchSpec, trace: Trace, layer: Layer) -> dict[str, int]:
    """Bits of a layer's operands in buffers and DRAM: the machine's, or the trace's where it follows that."""
    bits = spec.bits()
    if spec.precision.follow_trace:
        for role in ("ifmap", "filter", "ofmap"):
            operand = trace.operand(layer.name, role)
            if operand is not None:
                bits[role] = min(bits[role], operand.bits)
    return bits


def limit_ports(table: PassTable, spec: ArchSpec, rooms: Sequence[Room], bits: dict[str, int]) -> None:
    """Prolong the passes for which a buffer's ports are too few, and charge that to `bank_conflict`.

    A pass lasts at least as long as the busiest buffer's ports need for the words that its array reads and
    writes (`accelsim.memory.buffer.port_cycles`: queues between buffer and array, tiles at stride 1). With
    `dma: first` the words that a DMA brings and takes for this pass come on top, as if they moved while it runs;
    with `dma: leftover` they use cycles in which the array leaves a port idle, and are not delayed here.
    """
    rows = table.rows
    interval = np.maximum(rows["load_free_cycles"] + rows["load_cycles"], rows["stream_cycles"])
    stalls = np.zeros(len(rows), np.int64)
    for buffer, room in zip(spec.buffers, rooms, strict=True):
        if buffer.limited:
            reads, writes = _words(table, buffer, room, bits)
            stalls = np.maximum(stalls, port_stalls(buffer, interval, reads, writes))
    if stalls.any():
        # the array stands still together: whatever comes after its first step moves by the stall
        for name in ("load_free_cycles", "stream_cycles", "finish_cycles", "bank_conflict_cycles"):
            rows[name] += stalls


def _words(table: PassTable, buffer: Buffer, room: Room, bits: dict[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Buffer words read and written, by operand, for each pass."""
    reads = {o: buffer.words(table.array_reads[o], bits[o]) for o in room.holds if o in table.array_reads}
    writes = {o: buffer.words(table.array_writes[o], bits[o]) for o in room.holds if o in table.array_writes}
    if buffer.dma == "first":
        for words, moved in ((writes, _FILL), (reads, _DRAIN)):
            for operand in room.holds:
                if operand in moved:
                    words[operand] = words.get(operand, 0) + buffer.words(table.rows[moved[operand]], 8)
    return reads, writes
