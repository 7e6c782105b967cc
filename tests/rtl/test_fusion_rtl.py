"""The Bit Fusion engine against hardware: all pairs of widths, signed or not, outputs and cycles."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from numpy.typing import NDArray

from accelsim.engines.base import ENGINES, Task
from accelsim.mapping.problem import Mapping, Room
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Input, Linear
from accelsim.workload.trace import Trace, TraceWriter

from .fusion import TOKEN, FusionArray

WIDTHS = (2, 4, 8, 16)
MUCH = 2**20


def operands(rng: np.random.Generator, shape: tuple[int, int], bits: int, signed: bool) -> NDArray[np.int64]:
    low = -(2 ** (bits - 1)) if signed else 0
    values = rng.integers(low, low + 2**bits, shape)
    values.flat[0] = low  # the extremes are where a sign goes wrong
    values.flat[-1] = low + 2**bits - 1
    return values


def run(
    x: NDArray[np.int64],
    w: NDArray[np.int64],
    bits: tuple[int, int],
    signed: tuple[bool, bool],
    rows: int,
    cols: int,
    digit: int = 8,
) -> tuple[NDArray[np.int64], int]:
    """(x . w of (m, k) and (k, n), cycles until the last sum is in its register), as the array computes it.

    Operands wider than `digit` come in digits of so many bits (2: each brick for itself).
    """
    fused = [min(b, digit) for b in bits]
    dut = FusionArray(rows, cols, *fused)
    wide = rows * dut.products
    m, k = x.shape
    n = w.shape[1]
    k_steps, n_steps = -(-k // wide), -(-n // cols)
    xs, ws = np.zeros((m, k_steps * wide), np.int64), np.zeros((k_steps * wide, n_steps * cols), np.int64)
    xs[:, :k], ws[:k, :n] = x, w
    digits = [max(1, b // digit) for b in bits]
    # one entry for each step: what enters row 0 then, and the weights that its units read
    program: list[tuple[int, int, int, int, int]] = [
        (row, group, step, da, dw)
        for row in range(m)
        for group in range(n_steps)
        for step in range(k_steps)
        for da in range(digits[0])
        for dw in range(digits[1])
    ]

    def packed(values: NDArray[np.int64], number: int, width: int) -> int:
        word = 0
        for at, value in enumerate(values.tolist()):
            word |= (value >> digit * number & 2**width - 1) << at * width
        return word

    found: dict[tuple[int, int], int] = {}
    last_seen = 0
    total = len(program) + rows + cols

    async def bench(ctx: Any) -> None:
        nonlocal last_seen
        counts = [0] * cols
        for cycle in range(total):
            for i in range(rows):
                at = cycle - i
                token: dict[str, int] = {"valid": 0}
                if 0 <= at < len(program):
                    row, _, step, da, dw = program[at]
                    lanes = xs[row, step * wide + i * dut.products : step * wide + (i + 1) * dut.products]
                    ctx.set(dut.a[i], packed(lanes, da, fused[0]))
                    start = step == 0 and da == 0 and dw == 0
                    stop = step == k_steps - 1 and da == digits[0] - 1 and dw == digits[1] - 1
                    token = {
                        "valid": 1, "first": int(start), "last": int(stop), "shift": digit * (da + dw),
                        "a_signed": int(signed[0] and da == digits[0] - 1),
                        "w_signed": int(signed[1] and dw == digits[1] - 1),
                    }  # fmt: skip
                ctx.set(dut.token[i], TOKEN.const(token))
                for j in range(cols):
                    at = cycle - i - j
                    if 0 <= at < len(program):
                        _, group, step, _, dw = program[at]
                        first = step * wide + i * dut.products
                        lanes = ws[first : first + dut.products, group * cols + j]
                        ctx.set(dut.w[i * cols + j], packed(lanes, dw, fused[1]))
            await ctx.tick()
            for j in range(cols):
                if ctx.get(dut.done) >> j & 1:
                    row, group = divmod(counts[j], n_steps)
                    found[row, group * cols + j] = ctx.get(dut.psum[j])
                    counts[j] += 1
                    last_seen = cycle + 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    out = np.array([[found[row, column] for column in range(n)] for row in range(m)], np.int64)
    return out, last_seen


def engine_cycles(
    path: Path,
    x: Any,
    w: Any,
    bits: tuple[int, int],
    signed: tuple[bool, bool],
    rows: int,
    cols: int,
    fusion: str = "hybrid",
) -> int:
    network = Network("net", [Node("x", Input(x.shape)), Node("fc", Linear(w.shape[1]), ("x",))])
    with TraceWriter(path, network, name="t") as writer:
        writer.add("fc", "ifmap", x.astype(np.int32), bits=bits[0], signed=signed[0])
        writer.add("fc", "filter", w.T.astype(np.int32), bits=bits[1], signed=signed[1])
    made = ENGINES.lookup("bit_fusion")
    room = Room("all", 10**9, ("ifmap", "filter", "psum", "ofmap"), 2)
    widths = {"ifmap": 16, "filter": 16, "psum": 32, "ofmap": 16}
    pin = Mapping(MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, MUCH, "mnk")
    task = Task(
        network["fc"], Trace.open(path), widths, (room,), {"all": 64}, dram_bytes_per_cycle=Fraction(4), pinned=pin
    )
    table = made(made.Spec(rows=rows, cols=cols, fusion=fusion)).lower(task)
    assert len(table.rows) == 1
    return int(table.rows["finish_cycles"][0])


@pytest.mark.parametrize("bits", list(product(WIDTHS, WIDTHS)))
def test_outputs_and_cycles_of_every_pair_of_widths(bits: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(bits[0] * 17 + bits[1])
    for signed in ((False, True), (True, True), (True, False)) if max(bits) <= 4 else ((False, True), (True, False)):
        rows, cols = (int(v) for v in rng.integers(1, 3, 2))
        m, n, k = (int(v) for v in rng.integers(1, (3, 5, 24)))
        x, w = operands(rng, (m, k), bits[0], signed[0]), operands(rng, (k, n), bits[1], signed[1])
        outputs, cycles = run(x, w, bits, signed, rows, cols)
        assert (outputs == x @ w).all()
        assert cycles == engine_cycles(tmp_path / f"{signed}.trace", x, w, bits, signed, rows, cols)


@pytest.mark.parametrize("bits", [(2, 2), (2, 8), (8, 4), (16, 8)])
def test_bricks_that_work_for_themselves_take_digits_of_two_bits(bits: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(sum(bits))
    for signed in ((True, True), (False, True)):
        x, w = operands(rng, (2, 35), bits[0], signed[0]), operands(rng, (35, 3), bits[1], signed[1])
        outputs, cycles = run(x, w, bits, signed, 1, 2, digit=2)
        assert (outputs == x @ w).all()
        assert cycles == engine_cycles(tmp_path / f"{signed}.trace", x, w, bits, signed, 1, 2, "temporal")
