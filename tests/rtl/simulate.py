"""Clocks the Amaranth arrays in Amaranth's own simulator, from the same port arrays as the numpy twin."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Value
from amaranth.sim import Simulator
from numpy.typing import NDArray

from .ports import EdgeLog, OsPorts, WsPorts
from .systolic import OsArray, WsArray

__all__ = ["run_os_hdl", "run_ws_hdl"]

OPERAND_BITS = 8
PSUM_BITS = 32


def pack(parts: list[tuple[NDArray[Any], int]]) -> list[int]:
    """Fields of (cycles, lanes) and their widths, low bits first, to one integer per cycle, lane 0 lowest."""
    lane_bits = sum(bits for _, bits in parts)
    link = np.zeros(parts[0][0].shape, dtype=np.int64)
    at = 0
    for values, bits in parts:
        link |= (values.astype(np.int64) & ((1 << bits) - 1)) << at
        at += bits
    rows: Any = link.tolist()
    return [sum(word << (lane_bits * lane) for lane, word in enumerate(row)) for row in rows]


def unpack(packed: int, count: int, bits: int, signed: bool) -> list[int]:
    """`count` fields of `bits` each, lowest first."""
    out = []
    for _ in range(count):
        value = packed & ((1 << bits) - 1)
        out.append(value - (1 << bits) if signed and value >> (bits - 1) else value)
        packed >>= bits
    return out


class _Clocked:
    """One elaborated array in a simulator that can be run again and again with other stimuli."""

    def __init__(self, dut: OsArray | WsArray, inputs: list[Any], probes: dict[str, Callable[[Any], Any]]) -> None:
        self.dut = dut
        self.inputs = [Value.cast(port) for port in inputs]
        self.probes = {}
        for name, pick in probes.items():
            signals = [Value.cast(pick(pe)) for row in dut.pes for pe in row]
            self.probes[name] = (Cat(*signals), len(signals[0]))
        self.stimuli: list[tuple[int, ...]] = []
        self.trace: list[dict[str, NDArray[Any]]] | None = None
        self.seen: list[tuple[int, int]] = []
        self.used = False
        self.simulator = Simulator(dut)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._bench)

    async def _bench(self, ctx: Any) -> None:
        edge = Cat(Value.cast(self.dut.ofmap), self.dut.ofmap_valid)
        held: tuple[int | None, ...] = (None,) * len(self.inputs)
        for values in self.stimuli:
            for port, old, new in zip(self.inputs, held, values, strict=True):
                if old != new:
                    ctx.set(port, new)
            held = values
            busy = ctx.get(self.dut.busy)
            await ctx.tick()                    # what is read from here on is the state after the edge
            self.seen.append((ctx.get(edge), busy))
            if self.trace is not None:
                self.trace.append({name: self._grid(name, ctx.get(probe)) for name, (probe, _) in self.probes.items()})

    def _grid(self, name: str, packed: int) -> NDArray[Any]:
        bits = self.probes[name][1]
        values = unpack(packed, self.dut.rows * self.dut.cols, bits, signed=bits > 1)
        return np.array(values, dtype=np.int64 if bits > 1 else np.bool_).reshape(self.dut.rows, self.dut.cols)

    def run(self, stimuli: list[tuple[int, ...]], trace: list[dict[str, NDArray[Any]]] | None) -> EdgeLog:
        self.stimuli, self.trace, self.seen = stimuli, trace, []
        if self.used:
            self.simulator.reset()
        self.used = True
        self.simulator.run()
        cols, bits = self.dut.cols, self.dut.psum_bits
        words = [unpack(edge, cols, bits, signed=True) for edge, _ in self.seen]
        valid = [unpack(edge >> (bits * cols), cols, 1, signed=False) for edge, _ in self.seen]
        return EdgeLog(np.array(words, dtype=np.int64), np.array(valid, dtype=np.bool_),
                       np.array([busy for _, busy in self.seen], dtype=np.bool_))


@lru_cache(maxsize=64)
def _os(rows: int, cols: int, shadow: bool, operand_bits: int, psum_bits: int) -> _Clocked:
    dut = OsArray(rows, cols, shadow=shadow, ifmap_bits=operand_bits, filter_bits=operand_bits, psum_bits=psum_bits)
    return _Clocked(dut, [dut.ifmap, dut.filter], {
        "ifmap": lambda pe: pe.ifmap_out.word, "ifmap_valid": lambda pe: pe.ifmap_out.valid,
        "first": lambda pe: pe.ifmap_out.first, "last": lambda pe: pe.ifmap_out.last,
        "tail": lambda pe: pe.ifmap_out.tail,
        "filter": lambda pe: pe.filter_out.word, "filter_valid": lambda pe: pe.filter_out.valid,
        "acc": lambda pe: pe.acc, "held": lambda pe: pe.held, "held_valid": lambda pe: pe.held_valid,
        "chain": lambda pe: pe.chain.word, "chain_valid": lambda pe: pe.chain.valid,
    })


@lru_cache(maxsize=64)
def _ws(rows: int, cols: int, double: bool, wave: bool, operand_bits: int, psum_bits: int) -> _Clocked:
    dut = WsArray(rows, cols, double=double, wave=wave, ifmap_bits=operand_bits, filter_bits=operand_bits,
                  psum_bits=psum_bits)
    return _Clocked(dut, [dut.ifmap, dut.filter, Cat(dut.shift, dut.head)], {
        "ifmap": lambda pe: pe.ifmap_out.word, "ifmap_valid": lambda pe: pe.ifmap_out.valid,
        "swap": lambda pe: pe.ifmap_out.swap, "took": lambda pe: pe.took,
        "weight": lambda pe: pe.weight.word, "weight_valid": lambda pe: pe.weight.valid,
        "weight_end": lambda pe: pe.weight.end, "shadow_end": lambda pe: pe.shadow.end,
        "shadow": lambda pe: pe.shadow.word, "shadow_valid": lambda pe: pe.shadow.valid,
        "psum": lambda pe: pe.psum.word, "psum_valid": lambda pe: pe.psum.valid,
    })


def run_os_hdl(ports: OsPorts, rows: int, cols: int, *, shadow: bool, operand_bits: int = OPERAND_BITS,
               psum_bits: int = PSUM_BITS, trace: list[dict[str, NDArray[Any]]] | None = None) -> EdgeLog:
    """Clock an ``OsArray`` through `ports`; `trace`, if given, receives all PE registers after every cycle."""
    ifmap = pack([(ports.ifmap, operand_bits), (ports.ifmap_valid, 1), (ports.first, 1), (ports.last, 1),
                  (ports.tail, 1)])
    filters = pack([(ports.filter, operand_bits), (ports.filter_valid, 1)])
    return _os(rows, cols, shadow, operand_bits, psum_bits).run(list(zip(ifmap, filters)), trace)


def run_ws_hdl(ports: WsPorts, rows: int, cols: int, *, double: bool, wave: bool, operand_bits: int = OPERAND_BITS,
               psum_bits: int = PSUM_BITS, trace: list[dict[str, NDArray[Any]]] | None = None) -> EdgeLog:
    """Clock a ``WsArray`` through `ports`; `trace`, if given, receives all PE registers after every cycle."""
    ifmap = pack([(ports.ifmap, operand_bits), (ports.ifmap_valid, 1), (ports.swap, 1)])
    filters = pack([(ports.filter, operand_bits), (ports.filter_valid, 1), (ports.filter_end, 1)])
    control = (ports.shift.astype(int) | ports.head.astype(int) << 1).tolist()
    return _ws(rows, cols, double, wave, operand_bits, psum_bits).run(list(zip(ifmap, filters, control)), trace)
