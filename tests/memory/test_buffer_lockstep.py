"""Bank conflicts in lockstep: against a naive buffer on random bursts, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.memory.buffer import BufferSpec, port_cycles
from accelsim.memory.buffer_lockstep import lockstep_stalls
from accelsim.sim.accesses import BURST_DTYPE, OPERANDS, Bursts, EvenAccess, Place, runs

from .naive_lockstep import NaiveBuffer, naive_stalls

BITS = {"ifmap": 8, "filter": 4, "psum": 32, "ofmap": 8}


@st.composite
def buffers(draw: st.DrawFn, holds: tuple[str, ...] = OPERANDS) -> BufferSpec:
    ports: dict[str, Any] = {"read_write_ports": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        ports = {"read_ports": draw(st.integers(1, 2)), "write_ports": draw(st.integers(1, 3))}
    kind = draw(st.sampled_from(["word", "block", "operand"]))
    banks = st.one_of(st.integers(1, 32), st.sampled_from([2, 4, 8]))
    more: dict[str, Any] = {"interleave": kind, "banks": draw(banks)}
    if kind == "block":
        more["block_words"] = draw(st.sampled_from([1, 2, 8]))
    if kind == "operand":
        more["operand_banks"] = {o: draw(st.sampled_from([1, 2, 3, 4, 8])) for o in holds}
        more["banks"] = 32
    word = draw(st.sampled_from([8, 16, 64]))
    return BufferSpec(capacity_bytes=more["banks"] * 1024, word_bits=word, **ports, **more)


@st.composite
def burst_tables(draw: st.DrawFn) -> tuple[Bursts, np.ndarray]:
    stride = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 16, 31, 64]))
    step = draw(st.sampled_from([1, 2, 5, 8, 13, 32, 64]))
    lanes, steps = draw(st.integers(1, 40)), draw(st.integers(1, 60))
    tables = np.concatenate([np.arange(lanes) * stride, np.cumsum(np.full(steps, step)) % 997])
    found = np.zeros(draw(st.integers(1, 4)), BURST_DTYPE)
    for row in found:
        row["operand"], row["write"] = draw(st.integers(0, 3)), draw(st.booleans())
        row["start"], row["per"] = draw(st.integers(-9, 30)), 1
        if draw(st.booleans()):
            row["lanes"] = draw(st.integers(1, lanes))
            row["lane_at"] = draw(st.integers(0, lanes - int(row["lanes"])))
            row["steps"] = draw(st.integers(1, steps))
            row["step_at"] = lanes + draw(st.integers(0, steps - int(row["steps"])))
            row["stagger"] = draw(st.sampled_from([0, 0, 1, 3, 40]))
        else:
            row["total"], row["rate"] = draw(st.integers(1, 90)), draw(st.integers(1, 9))
            row["per"], row["first"] = draw(st.integers(1, 7)), draw(st.integers(0, 50))
            row["steps"] = -(-int(row["total"]) * int(row["per"]) // int(row["rate"]))
    return found, tables


def want(buffer: NaiveBuffer, bursts: Bursts, tables: np.ndarray) -> NaiveBuffer:
    for row in bursts:
        operand, write, start = OPERANDS[row["operand"]], bool(row["write"]), int(row["start"])
        if row["lanes"] == 0:
            known: set[int] = set()  # words that have been read in part
            for t in range(int(row["steps"])):
                low, high = (int(row["rate"]) * x // int(row["per"]) for x in (t, t + 1))
                moved = [int(row["first"]) + e for e in range(low, min(high, int(row["total"])))]
                words = [w for e in moved for w in buffer.words(operand, e)] if operand in buffer.holds else []
                for word in dict.fromkeys(w for w in words if w not in known):
                    buffer.wanted[start + t].append((operand, write, word))
                known.update(words)
            continue
        for t in range(int(row["steps"])):
            at = [int(tables[row["step_at"] + t] + tables[row["lane_at"] + i]) for i in range(int(row["lanes"]))]
            if row["stagger"]:
                for i, element in enumerate(at):
                    buffer.want(start + t + i % int(row["stagger"]), operand, write, [element])
            else:
                buffer.want(start + t, operand, write, at)
    return buffer


@settings(deadline=None, derandomize=True, max_examples=150)
@given(buffers(), burst_tables())
def test_equals_the_naive_buffer(spec: BufferSpec, work: tuple[Bursts, np.ndarray]) -> None:
    naive = naive_stalls([want(NaiveBuffer(spec, OPERANDS, BITS), *work)])
    assert lockstep_stalls([(spec, OPERANDS)], BITS, *work) == naive


@settings(deadline=None, derandomize=True, max_examples=60)
@given(buffers(("ifmap", "psum")), buffers(("filter",)), burst_tables())
def test_two_buffers_stop_the_array_together(one: BufferSpec, two: BufferSpec, work: tuple[Bursts, np.ndarray]) -> None:
    parts = [(one, ("ifmap", "psum")), (two, ("filter",))]
    naive = naive_stalls([want(NaiveBuffer(spec, holds, BITS), *work) for spec, holds in parts])
    both = lockstep_stalls(parts, BITS, *work)
    assert both == naive
    alone = [sum(lockstep_stalls([part], BITS, *work)) for part in parts]
    assert max(alone) <= sum(both) <= sum(alone)


def lanes(count: int, stride: int, steps: int, step: int) -> tuple[Bursts, np.ndarray]:
    burst = np.zeros(1, BURST_DTYPE)
    burst["lanes"], burst["steps"], burst["step_at"], burst["per"] = count, steps, count, 1
    return burst, np.concatenate([np.arange(count) * stride, np.arange(steps) * step])


@pytest.mark.parametrize("banks", [1, 2, 3, 8, 16, 17, 31, 32])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8, 16, 17])
def test_strides_by_hand(banks: int, stride: int) -> None:
    """`count` lanes at a stride meet banks / gcd(banks, stride) banks; the ports' share is ceil(count / banks)."""
    spec = BufferSpec(capacity_bytes=banks * 64, word_bits=8, banks=banks, read_ports=1, write_ports=1)
    for count in (1, banks, banks + 1):
        met = banks // np.gcd(banks, stride)
        lasts, even = -(-count // met), -(-count // banks)
        found = lockstep_stalls([(spec, ("ifmap",))], BITS, *lanes(count, stride, 10, 7))
        assert found == (10 * (even - 1), 10 * (lasts - even))


def test_long_passes_are_looked_at_in_blocks() -> None:
    spec = BufferSpec(capacity_bytes=64, word_bits=8, banks=4, read_ports=1, write_ports=1)
    burst, tables = lanes(4, 2, 20_000, 1)
    assert lockstep_stalls([(spec, ("ifmap",))], BITS, burst, tables) == (0, 20_000)
    burst["stagger"] = 4  # bank of lane i in cycle c: c - i + 2 i = c + i, all four different
    assert sum(lockstep_stalls([(spec, ("ifmap",))], BITS, burst, tables)) == 0


def test_lanes_in_one_word_share_its_access() -> None:
    spec = BufferSpec(capacity_bytes=64, word_bits=64, read_write_ports=1)
    packed = lockstep_stalls([(spec, ("ifmap",))], BITS, *lanes(8, 1, 10, 8))
    across = lockstep_stalls([(spec, ("ifmap",))], BITS, *lanes(8, 1, 10, 9))  # begins inside of a word
    assert packed == (0, 0)
    assert sum(across) == 10 - sum(1 for t in range(10) if t * 9 % 8 == 0)
    wide = BufferSpec(capacity_bytes=64, word_bits=16, read_write_ports=1)  # an element of 32 bits is two words
    burst, tables = lanes(1, 1, 10, 1)
    burst["operand"] = OPERANDS.index("psum")
    assert sum(lockstep_stalls([(wide, ("psum",))], BITS, burst, tables)) == 10


def test_a_read_and_a_write_of_a_word_need_two_ports() -> None:
    both = np.concatenate([runs("psum", write, 0, [0], 40, 1) for write in (False, True)])
    none = np.zeros(0, np.int64)
    single = BufferSpec(capacity_bytes=4096, word_bits=32, banks=8, read_write_ports=1)
    dual = BufferSpec(capacity_bytes=4096, word_bits=32, banks=8, read_ports=1, write_ports=1)
    assert lockstep_stalls([(single, ("psum",))], BITS, both, none) == (0, 40)
    assert lockstep_stalls([(dual, ("psum",))], BITS, both, none) == (0, 0)
    both["start"][1] = 3  # in another bank
    assert lockstep_stalls([(single, ("psum",))], BITS, both, none) == (0, 0)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 500), st.integers(1, 200), st.sampled_from([1, 2, 4, 8]))
def test_an_even_rate_takes_what_the_ports_need(elements: int, cycles: int, banks: int) -> None:
    """One operand, words in order: no conflict that the limit of the pass would not have."""
    spec = BufferSpec(capacity_bytes=4096, word_bits=8, banks=banks, read_ports=1, write_ports=1)
    bursts, tables = EvenAccess((("ifmap", False, elements),), cycles).bursts({})
    ports, conflicts = lockstep_stalls([(spec, ("ifmap",))], BITS, bursts, tables)
    assert conflicts == 0
    need = int(port_cycles(spec, {"ifmap": elements}, {}))
    assert max(cycles, need) <= cycles + ports <= need + cycles


def test_lines_begin_with_a_word_and_end_with_empty_ones() -> None:
    assert Place("nhwc", None, 8).pitch(13) == 13
    assert Place("nhwc", 0, 8).pitch(13) == 16
    assert Place("nhwc", 3, 8).pitch(16) == 40
