"""PUMA's cores one instruction at a time: in-order pipelines beside a shared memory with valid and count attributes.

Ankit et al., ASPLOS 2019, Sections III and IV. A core fetches, decodes and executes in order, one instruction at a
time in its execute stage; `load` waits until the word is valid, and takes one from its count; `store` waits until the
readers of the old value have had it (count zero). Tiles exchange packets of 16 words: a `send` reads the shared
memory, a `receive` writes it, in order for each pair of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.base.errors import ConfigError, DeadlockError

OPS = ("mvm", "alu", "sigmoid", "copy", "set", "load", "store", "send", "receive", "halt")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes
    ----------
    op : str
        Of `OPS`.
    words : int
        Vector length.
    address : int
        Of the shared memory, for load, store, send and receive.
    count : int
        Readers that a store or receive allows before the word may be overwritten.
    tile : int
        Where a send goes to, or a receive comes from.
    """

    op: str
    words: int = 1
    address: int = 0
    count: int = 1
    tile: int = 0


@dataclass(frozen=True)
class Timing:
    """Cycles of PUMA's units; the defaults are those of its public simulator.

    Attributes
    ----------
    mvm : int
        A product; all units of a core work at the same time.
    lanes : int
        Of the vector unit.
    access : int
        Of the shared memory, for each `access_words`.
    noc : int
        A packet from tile to tile, unloaded.
    buffer : int
        Receive buffer.
    stages : int
        From the first fetch to the end of an instruction of no cycles, less its own.
    """

    mvm: int = 1800
    lanes: int = 4
    access: int = 2
    access_words: int = 16
    noc: int = 29
    buffer: int = 2
    stages: int = 3

    def execute(self, instruction: Instruction) -> int:
        """Cycles in the execute stage, once nothing is in the way."""
        op, words = instruction.op, instruction.words
        if op == "mvm":
            return self.mvm
        if op in ("alu", "sigmoid"):
            return -(-words // self.lanes)
        if op == "set":
            return words
        if op in ("load", "store", "send", "receive"):
            return -(-words // self.access_words) * self.access
        return 1


@dataclass
class _Program:
    tile: int
    code: Sequence[Instruction]
    at: int = 0
    clock: int = 0

    @property
    def over(self) -> bool:
        return self.at >= len(self.code)


def run(programs: Sequence[tuple[int, Sequence[Instruction]]], timing: Timing | None = None) -> list[int]:
    """Cycles until each program (tile, instructions), of a core or of a tile's own unit, is done; in order.

    The memory's port serves one access at a time, first come first served, then in the order of programs.

    Raises
    ------
    ConfigError
        For an operation that does not exist.
    DeadlockError
        If every program waits: for a word that nobody stores, or a packet that nobody sends.
    """
    timing = timing or Timing()
    work = [_Program(tile, code) for tile, code in programs]
    for entry in work:
        for instruction in entry.code:
            if instruction.op not in OPS:
                raise ConfigError(f"op must be one of {', '.join(OPS)}, got {instruction.op!r}")
        entry.clock = timing.stages
    memory: dict[tuple[int, int], tuple[int, int]] = {}  # (tile, address) -> (valid since, readers left)
    freed: dict[tuple[int, int], int] = {}  # when the last reader had it
    ports: dict[int, int] = {}
    packets: dict[tuple[int, int], list[int]] = {}  # (from, to) -> arrivals
    while any(not entry.over for entry in work):
        ready = []
        for order, entry in enumerate(work):
            if not entry.over:
                start = _ready(entry, memory, freed, packets)
                if start is not None:
                    instruction = entry.code[entry.at]
                    shared = instruction.op in ("load", "store", "send", "receive")
                    start = max(start, ports.get(entry.tile, 0)) if shared else start
                    ready.append((start, order))
        if not ready:
            stuck = ", ".join(f"tile {e.tile}: {e.code[e.at].op}" for e in work if not e.over)
            raise DeadlockError(f"every program waits ({stuck})")
        start, order = min(ready)
        _execute(work[order], start, timing, memory, freed, ports, packets)
    return [entry.clock + 1 for entry in work]  # the cycle after the last


def _ready(
    entry: _Program, memory: dict[tuple[int, int], tuple[int, int]], freed: dict[tuple[int, int], int],
    packets: dict[tuple[int, int], list[int]],
) -> int | None:  # fmt: skip
    """When the next instruction may start, or None while that is not known."""
    instruction = entry.code[entry.at]
    key = entry.tile, instruction.address
    if instruction.op in ("load", "send"):
        return max(entry.clock, memory[key][0]) if key in memory else None
    if instruction.op in ("store", "receive") and key in memory:
        return None
    start = max(entry.clock, freed.get(key, 0))
    if instruction.op == "receive":
        arrivals = packets.get((instruction.tile, entry.tile), [])
        return max(start, arrivals[0]) if arrivals else None
    return start


def _execute(
    entry: _Program, start: int, timing: Timing, memory: dict[tuple[int, int], tuple[int, int]],
    freed: dict[tuple[int, int], int], ports: dict[int, int], packets: dict[tuple[int, int], list[int]],
) -> None:  # fmt: skip
    instruction = entry.code[entry.at]
    end = start + timing.execute(instruction)
    key = entry.tile, instruction.address
    if instruction.op in ("load", "send"):
        since, left = memory[key]
        memory[key] = since, left - 1
        if left == 1:
            del memory[key]
            freed[key] = end
    if instruction.op in ("store", "receive"):
        memory[key] = end, instruction.count
    if instruction.op == "send":
        arrivals = packets.setdefault((entry.tile, instruction.tile), [])
        arrivals.append(end + timing.noc + timing.buffer)
    if instruction.op == "receive":
        packets[instruction.tile, entry.tile].pop(0)
    if instruction.op in ("load", "store", "send", "receive"):
        ports[entry.tile] = end
    if instruction.op != "halt":
        entry.clock = end
    entry.at += 1
