"""What buffers hold, and what their ports and banks add to an engine's passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engines.common.tiling import distinct
from accelsim.mapping.problem import OPERANDS, Room
from accelsim.memory.buffer import port_stalls
from accelsim.memory.buffer_lockstep import lockstep_stalls
from accelsim.sim.accesses import AccessPattern, EvenAccess, Place
from accelsim.sim.passes import PassTable
from accelsim.system.archspec import ArchSpec
from accelsim.system.bufferspec import Buffer
from accelsim.workload.network import Layer
from accelsim.workload.trace import Trace

#: Operand -> column of the pass table, for what a DMA writes into a buffer and what it reads from one.
_FILL = {"filter": "filter_bytes", "ifmap": "ifmap_bytes", "psum": "psum_in_bytes"}
_DRAIN = {"ofmap": "ofmap_bytes", "psum": "psum_out_bytes"}

#: Stalls of the passes that have been looked at: (pattern, buffers) -> cycles for ports and for conflicts.
_KNOWN: dict[tuple[Any, ...], tuple[int, int]] = {}
_MOST_KNOWN = 2**16


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
    """Prolong the passes that buffers cannot serve as fast as the array would go.

    - fidelity `detailed`: every cycle of the array lasts as long as the busiest bank needs
      (`accelsim.memory.buffer_lockstep`): `bank_conflict`, and `buffer_ports` as far as no spread would help.
    - `bandwidth` and `detailed`: a pass lasts at least as long as the busiest buffer's ports need for all words that
      its array reads and writes (`accelsim.memory.buffer.port_cycles`): `buffer_ports`. With `dma: first` the words
      that a DMA brings and takes for this pass come on top, as if they moved while it runs; with `dma: leftover` they
      use cycles in which the array leaves a port idle, and are not delayed here.
    """
    rows = table.rows
    limited = [(b, room) for b, room in zip(spec.buffers, rooms, strict=True) if b.fidelity != "ideal"]
    if not limited:
        return
    interval = np.maximum(rows["load_free_cycles"] + rows["load_cycles"], rows["stream_cycles"])
    ports, conflicts = _in_lockstep(table, spec, [pair for pair in limited if pair[0].fidelity == "detailed"], bits)
    interval = interval + ports + conflicts
    beyond = np.zeros(len(rows), np.int64)
    for buffer, room in limited:
        reads, writes = _words(table, buffer, room, bits)
        beyond = np.maximum(beyond, port_stalls(buffer, interval, reads, writes))
    rows["bank_conflict_cycles"] += conflicts
    rows["buffer_ports_cycles"] += ports + beyond
    # the array stands still together: whatever comes after its first step moves by the stall
    for name in ("load_free_cycles", "stream_cycles", "finish_cycles"):
        rows[name] += ports + conflicts + beyond


def _in_lockstep(
    table: PassTable, spec: ArchSpec, buffers: list[tuple[Buffer, Room]], bits: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stalls of each pass for the ports and for the banks of detailed buffers."""
    stalls = np.zeros((len(table.rows), 2), np.int64)
    held = {operand: buffer for buffer, room in buffers for operand in room.holds}
    if not held:
        return stalls[:, 0], stalls[:, 1]
    places = {operand: _place(operand, held.get(operand), spec, bits) for operand in OPERANDS}
    parts = [(buffer, room.holds) for buffer, room in buffers]
    # what patterns are looked at under; `repr` of a spec holds all of its values
    key = tuple((repr(buffer), room.holds) for buffer, room in buffers), tuple(bits.items()), tuple(places.items())
    found: dict[int, tuple[int, int]] = {}
    for row, pattern in enumerate(_patterns(table, held)):
        if id(pattern) not in found:
            found[id(pattern)] = _stalls(pattern, parts, bits, places, key)
        stalls[row] = found[id(pattern)]
        stalls[row] *= pattern.jobs
    return stalls[:, 0], stalls[:, 1]


def _stalls(
    pattern: AccessPattern, buffers: Any, bits: dict[str, int], places: dict[str, Place], key: tuple[Any, ...]
) -> tuple[int, int]:
    known = _KNOWN.get((pattern, key))
    if known is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[pattern, key] = lockstep_stalls(buffers, bits, *pattern.bursts(places))
    return known


def _place(operand: str, buffer: Buffer | None, spec: ArchSpec, bits: dict[str, int]) -> Place:
    if buffer is None:
        return Place()
    layouts: dict[Any, str] = {"ifmap": spec.dram.layout, "ofmap": spec.dram.layout}
    pads: dict[Any, int] = {"psum": 0} if buffer.whole_words else {}
    layouts.update(buffer.layout)
    pads.update(buffer.pad_words)
    return Place(layouts.get(operand, ""), pads.get(operand), max(1, buffer.word_bits // bits[operand]))


def _patterns(table: PassTable, held: dict[str, Buffer]) -> list[AccessPattern]:
    """What each pass wants when: the engine's word, or its words at an even rate."""
    patterns: list[Any] = table.accesses.tolist()
    silent = np.array([pattern is None for pattern in patterns], bool)
    if silent.any():
        sides = ((False, table.array_reads), (True, table.array_writes))
        moves = [(operand, write, words) for write, side in sides for operand, words in side.items() if operand in held]
        columns = [np.asarray(words, np.int64)[silent] for _, _, words in moves]
        found, which = distinct([*columns, np.maximum(1, table.rows["stream_cycles"][silent])])
        even = [
            EvenAccess(tuple((o, w, n) for (o, w, _), n in zip(moves, row, strict=False)), row[-1])
            for row in found.tolist()
        ]
        for row, one in zip(np.flatnonzero(silent).tolist(), which.tolist(), strict=True):
            patterns[row] = even[one]
    return patterns


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
