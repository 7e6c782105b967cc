"""The pass table: the one contract between an engine and the simulator.

An engine lowers a layer to one row per *pass*, the work between two synchronisations. A row says
what must be fetched before the pass and written back after it, and, exactly, how the array's time
goes when nothing is in its way. The simulator adds the waiting, and knows no engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import SimulationBug

#: Operands that a pass may fetch, in the order in which the DMA engine asks for them.
FETCHED = ("filter", "ifmap", "psum")

#: Where waiting cycles go. The closed list: every cycle of a run is in `ATTRIBUTION`.
WAITS = ("filter", "ifmap", "psum", "ofmap", "noc")
INTERNAL = ("bank_conflict", "buffer_ports", "imbalance", "queue_full", "adc", "index_matching")
ATTRIBUTION = ("compute", "fill_drain", *WAITS, *INTERNAL)

#: How a tile's bytes lie: `planes` x `rows` runs of `row_bytes`, see `accelsim.memory.model.Transfer`.
PATTERN = ("row_bytes", "row_stride", "rows", "plane_stride", "planes")

PASS_DTYPE = np.dtype(
    [
        # bytes that cross the chip's border for this pass
        ("filter_bytes", np.int64),
        ("ifmap_bytes", np.int64),
        ("psum_in_bytes", np.int64),
        ("ofmap_bytes", np.int64),
        ("psum_out_bytes", np.int64),
        # offsets from the cycle in which the pass starts (see dataflow.base); `load` comes before it
        ("load_cycles", np.int64),
        ("load_free_cycles", np.int64),
        ("stream_cycles", np.int64),
        ("finish_cycles", np.int64),
        # how the array's time splits: steps that do work, and stalls inside the engine
        ("busy_cycles", np.int64),
        *((f"{cause}_cycles", np.int64) for cause in INTERNAL),
        ("macs", np.int64),
        # 1: this pass needs the results of the one before it (time steps of a recurrence)
        ("barrier", np.int64),
        # where the tiles lie in DRAM, and the runs of bytes in which they lie (rows 0: one run)
        ("filter_address", np.int64),
        ("ifmap_address", np.int64),
        ("psum_address", np.int64),
        ("ofmap_address", np.int64),
        *((f"{operand}_{part}", np.int64) for operand in ("ifmap", "ofmap") for part in PATTERN),
    ]
)

PassArray = NDArray[Any]  # of PASS_DTYPE


def empty_passes(count: int) -> PassArray:
    """`count` rows of zeros."""
    return np.zeros(count, PASS_DTYPE)


@dataclass
class PassTable:
    """All passes of one layer on one core.

    Attributes
    ----------
    layer : str
    rows : structured array of PASS_DTYPE
        In the order of execution.
    stationary : str
        Operand that `load_cycles` brings into the PEs ("filter", "ifmap"), or "".
    slots : dict
        Operand -> tiles that its buffer holds at a time; absent or 0 means that the whole operand has
        its place, so that fetching never waits for room. "ofmap" counts tiles waiting to be written.
    prefetch : bool
        The filter's tiles have room beside those of the layer before, so they may be fetched early.
    counts : ActionCounts
        What the engine and its buffers do in this layer (DRAM excluded: the simulator counts it).
    macs, effectual_macs : int
        Issued, and those without a zero operand.
    peak_macs_per_cycle : int
        Of the engine, at this layer's precision.
    info : dict
        For reports: mapping, utilization, and whatever the engine wants to say.
    mapping : object
        The engine's choice, so that the same layer elsewhere can be cut alike; None where there is none.
    array_reads, array_writes : dict
        Operand -> elements that the array reads from, or writes to, that operand's buffer in each pass
        (int64, one for each row). What is not there is taken to find its port free.
    accesses : object array
        For each row an `AccessPattern`: which of these elements the array wants in which cycle. None: at an even rate.
    """

    layer: str
    rows: PassArray
    stationary: str = ""
    slots: dict[str, int] = field(default_factory=dict)
    prefetch: bool = False
    counts: ActionCounts = field(default_factory=ActionCounts)
    macs: int = 0
    effectual_macs: int = 0
    peak_macs_per_cycle: int = 0
    info: dict[str, Any] = field(default_factory=dict)
    mapping: object = None
    array_reads: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    array_writes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    accesses: NDArray[Any] = field(default_factory=lambda: np.zeros(0, object))

    def __post_init__(self) -> None:
        if not len(self.accesses):
            self.accesses = np.full(len(self.rows), None, object)

    def check(self) -> None:
        """Laws that every engine's table obeys.

        Raises
        ------
        SimulationBug
        """
        rows = self.rows
        if rows.dtype != PASS_DTYPE or len(rows) == 0:
            raise SimulationBug(f"{self.layer}: a pass table needs at least one row of PASS_DTYPE")
        for name in PASS_DTYPE.names or ():
            if rows[name].min() < 0:
                raise SimulationBug(f"{self.layer}: {name} is negative in a pass (an overflow?)")
        if int(rows["macs"].sum()) != self.macs:
            raise SimulationBug(f"{self.layer}: passes do {int(rows['macs'].sum())} MACs, the layer has {self.macs}")
        inner = rows["busy_cycles"] + sum(rows[f"{c}_cycles"] for c in INTERNAL)
        if np.any(inner > rows["load_cycles"] + rows["finish_cycles"]):
            raise SimulationBug(f"{self.layer}: a pass is busy for longer than it lasts")


def fold_passes(table: PassTable) -> PassArray:
    """Join passes that nothing outside the engine can tell apart, exactly.

    A pass that fetches nothing and has no barrier joins the one before it, if that one writes
    nothing back. The joined row's offsets follow from the chain rule of starts.
    """
    rows = table.rows
    count = len(rows)
    if count < 2:
        return rows
    fetches = rows["filter_bytes"] + rows["ifmap_bytes"] + rows["psum_in_bytes"]
    writes = rows["ofmap_bytes"] + rows["psum_out_bytes"]
    joins = np.zeros(count, bool)
    joins[1:] = (fetches[1:] == 0) & (rows["barrier"][1:] == 0) & (writes[:-1] == 0)
    if not joins.any():
        return rows
    first = np.flatnonzero(~joins)
    last = np.append(first[1:], count) - 1
    step = np.zeros(count, np.int64)  # start of each pass minus the start of the one before it
    step[1:] = np.maximum(rows["load_free_cycles"][:-1] + rows["load_cycles"][1:], rows["stream_cycles"][:-1])
    start = np.cumsum(step)
    offset = start[last] - start[first]
    folded = rows[first].copy()
    for name in ("busy_cycles", "macs", *(f"{c}_cycles" for c in INTERNAL)):
        folded[name] = np.add.reduceat(rows[name], first)
    results = [f"ofmap_{part}" for part in PATTERN]
    for name in ("ofmap_bytes", "psum_out_bytes", "ofmap_address", "psum_address", *results):
        folded[name] = rows[name][last]
    folded["load_free_cycles"] = offset + rows["load_free_cycles"][last]
    folded["stream_cycles"] = offset + rows["stream_cycles"][last]
    ends = start + rows["finish_cycles"]
    folded["finish_cycles"] = np.maximum.reduceat(ends, first) - start[first]
    return folded
