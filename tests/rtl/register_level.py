"""The systolic arrays' registers in numpy: the twin of `systolic.py` for arrays too large for an HDL simulator.

Every register of the grid is an element of a (rows, cols) array; one call of ``step`` is one clock edge. The test suite
holds it to the Amaranth model register by register and cycle by cycle on small arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ports import EdgeLog, OsPorts, WsPorts

__all__ = ["OsRegisters", "WsRegisters", "run_os_registers", "run_ws_registers"]

Grid = NDArray[Any]


def _from_left(edge: Grid, registers: Grid) -> Grid:
    """What PEs see on their left input: the edge in column 0, else the left neighbour's register."""
    return np.concatenate([edge[:, None], registers[:, :-1]], axis=1)


def _from_above(edge: Grid, registers: Grid) -> Grid:
    """What PEs see on their top input: the edge in row 0, else the register of the PE above."""
    return np.concatenate([edge[None, :], registers[:-1]], axis=0)


def _wrap(values: Grid, bits: int) -> Grid:
    """`values` as `bits`-wide two's complement."""
    half = 1 << (bits - 1)
    return ((values + half) & ((1 << bits) - 1)) - half


class _Registers:
    """Named (rows, cols) registers, all zero at reset."""

    words: tuple[str, ...] = ()
    bits: tuple[str, ...] = ()

    def __init__(self, rows: int, cols: int, psum_bits: int) -> None:
        self.rows, self.cols, self.psum_bits = rows, cols, psum_bits
        for name in self.words:
            setattr(self, name, np.zeros((rows, cols), dtype=np.int64))
        for name in self.bits:
            setattr(self, name, np.zeros((rows, cols), dtype=np.bool_))

    def snapshot(self) -> dict[str, Grid]:
        """A copy of every register, for comparison."""
        return {name: getattr(self, name).copy() for name in self.words + self.bits}


class OsRegisters(_Registers):
    """Registers of ``OsArray``. Without `shadow`, `held` mirrors the accumulator."""

    words = ("ifmap", "filter", "acc", "held", "chain")
    bits = ("ifmap_valid", "first", "last", "tail", "filter_valid", "held_valid", "chain_valid")
    ifmap: Grid
    filter: Grid
    acc: Grid
    held: Grid
    chain: Grid
    ifmap_valid: Grid
    first: Grid
    last: Grid
    tail: Grid
    filter_valid: Grid
    held_valid: Grid
    chain_valid: Grid

    def __init__(self, rows: int, cols: int, shadow: bool, psum_bits: int = 32) -> None:
        super().__init__(rows, cols, psum_bits)
        self.shadow = shadow

    def step(self, p: OsPorts, cycle: int) -> bool:
        """One clock edge; returns whether any PE multiplied in the cycle that it ends."""
        a = _from_left(p.ifmap[cycle], self.ifmap)
        a_valid = _from_left(p.ifmap_valid[cycle], self.ifmap_valid)
        first = _from_left(p.first[cycle], self.first)
        last = _from_left(p.last[cycle], self.last)
        tail = _from_left(p.tail[cycle], self.tail)
        b = _from_above(p.filter[cycle], self.filter)
        b_valid = _from_above(p.filter_valid[cycle], self.filter_valid)

        active = a_valid & b_valid
        total = _wrap(np.where(first, 0, self.acc) + a * b, self.psum_bits)
        ready = active & last
        bypass = ready & tail
        keep = ready & ~tail
        load = np.broadcast_to(bypass.any(axis=0), active.shape)

        below = np.zeros_like(self.chain), np.zeros_like(self.chain_valid)
        below[0][:-1], below[1][:-1] = self.chain[1:], self.chain_valid[1:]
        self.chain = np.where(bypass, total, np.where(load, self.held, below[0]))
        self.chain_valid = bypass | np.where(load, self.held_valid, below[1])
        self.held_valid = keep | (self.held_valid & ~load)
        self.acc = np.where(active, total, self.acc)
        self.held = np.where(keep, total, self.held) if self.shadow else self.acc
        self.ifmap, self.ifmap_valid, self.first, self.last, self.tail = a, a_valid, first, last, tail
        self.filter, self.filter_valid = b, b_valid
        return bool(active.any())

    def edge(self) -> tuple[Grid, Grid]:
        """The edge registers and their valid bits, (cols,) each."""
        return self.chain[0], self.chain_valid[0]


class WsRegisters(_Registers):
    """Registers of ``WsArray``. With one weight register, `shadow` mirrors it; `shift`, `head` are those of row 0."""

    words = ("ifmap", "weight", "shadow", "psum")
    bits = ("ifmap_valid", "swap", "weight_valid", "weight_end", "shadow_valid", "shadow_end", "psum_valid", "took")
    ifmap: Grid
    weight: Grid
    shadow: Grid
    psum: Grid
    ifmap_valid: Grid
    swap: Grid
    weight_valid: Grid
    weight_end: Grid
    shadow_valid: Grid
    shadow_end: Grid
    psum_valid: Grid
    took: Grid

    def __init__(self, rows: int, cols: int, double: bool, wave: bool, psum_bits: int = 32) -> None:
        super().__init__(rows, cols, psum_bits)
        self.double, self.wave = double, wave
        self.shift = np.zeros(cols, dtype=np.bool_)
        self.head = np.zeros(cols, dtype=np.bool_)

    def _control(self, port: np.bool_, registers: Grid) -> Grid:
        """A load control as each column sees it in this cycle."""
        if not self.wave:
            return np.full(self.cols, port)
        return np.concatenate([[port], registers[:-1]])

    def step(self, p: WsPorts, cycle: int) -> bool:
        """One clock edge; returns whether any PE multiplied in the cycle that it ends."""
        a = _from_left(p.ifmap[cycle], self.ifmap)
        a_valid = _from_left(p.ifmap_valid[cycle], self.ifmap_valid)
        swap = _from_left(p.swap[cycle], self.swap)
        new = [_from_above(port[cycle], register) for port, register in
               zip((p.filter, p.filter_valid, p.filter_end), (self.shadow, self.shadow_valid, self.shadow_end))]
        shift = self._control(p.shift[cycle], self.shift)
        head = self._control(p.head[cycle], self.head)

        take = shift & ~head & _from_above(np.zeros_like(shift), self.took)
        take[0] = shift
        exchange = a_valid & swap & self.double
        used = np.where(exchange, self.shadow, self.weight)
        used_valid = np.where(exchange, self.shadow_valid, self.weight_valid)
        used_end = np.where(exchange, self.shadow_end, self.weight_end)
        live = a_valid & used_valid
        above = _from_above(np.zeros_like(self.psum[0]), self.psum)
        self.psum = _wrap(above + np.where(live, a * used, 0), self.psum_bits)
        self.psum_valid = _from_above(live[0], self.psum_valid)
        if self.double:
            self.weight, self.weight_valid, self.weight_end = used, used_valid, used_end
        self.shadow = np.where(take, new[0], self.shadow)
        self.shadow_valid = np.where(take, new[1], self.shadow_valid)
        self.shadow_end = np.where(take, new[2], self.shadow_end)
        if not self.double:
            self.weight, self.weight_valid, self.weight_end = self.shadow, self.shadow_valid, self.shadow_end
        self.took, self.shift, self.head = take, shift, head
        self.ifmap, self.ifmap_valid, self.swap = a, a_valid & ~used_end, swap
        return bool(live.any())

    def edge(self) -> tuple[Grid, Grid]:
        """The edge registers and their valid bits, (cols,) each."""
        return self.psum[-1], self.psum_valid[-1]


def _run(registers: OsRegisters | WsRegisters, ports: OsPorts | WsPorts,
         trace: list[dict[str, Grid]] | None) -> EdgeLog:
    words = np.zeros((ports.cycles, registers.cols), dtype=np.int64)
    valid = np.zeros((ports.cycles, registers.cols), dtype=np.bool_)
    busy = np.zeros(ports.cycles, dtype=np.bool_)
    for cycle in range(ports.cycles):
        busy[cycle] = registers.step(ports, cycle)      # type: ignore[arg-type]
        words[cycle], valid[cycle] = registers.edge()
        if trace is not None:
            trace.append(registers.snapshot())
    return EdgeLog(words, valid, busy)


def run_os_registers(ports: OsPorts, rows: int, cols: int, *, shadow: bool, psum_bits: int = 32,
                     trace: list[dict[str, Grid]] | None = None) -> EdgeLog:
    """Clock an output-stationary array through `ports`; `trace`, if given, receives all registers of every cycle."""
    return _run(OsRegisters(rows, cols, shadow, psum_bits), ports, trace)


def run_ws_registers(ports: WsPorts, rows: int, cols: int, *, double: bool, wave: bool, psum_bits: int = 32,
                     trace: list[dict[str, Grid]] | None = None) -> EdgeLog:
    """Clock a weight-stationary array through `ports`; `trace`, if given, receives all registers of every cycle."""
    return _run(WsRegisters(rows, cols, double, wave, psum_bits), ports, trace)
