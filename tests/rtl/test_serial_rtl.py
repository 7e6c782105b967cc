"""The bit-serial engines against hardware: outputs and cycles of whole layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from tests.engines import bit_twin as twin
from tests.engines.sparse_bench import cycles_of, engine, layer_of, task_of

from .serial import Ahead, SerialGrid, Turns

# engine, its parameters, kind of unit, signed activations
KINDS: list[tuple[str, dict[str, Any], str, bool]] = [
    ("dadiannao", {}, "parallel", True),
    ("stripes", {}, "stripes", False),
    ("stripes", {}, "stripes", True),
    ("dynamic_stripes", {}, "dynamic", False),
    ("dynamic_stripes", {}, "dynamic", True),
    ("loom", {}, "loom", False),
    ("loom", {}, "loom", True),
    ("pragmatic", {"first_stage_bits": 0}, "pragmatic", True),
    ("pragmatic", {"first_stage_bits": 2}, "pragmatic", False),
    ("laconic", {}, "laconic", True),
]


def values(rng: Any, shape: tuple[int, ...], bits: int, signed: bool, density: float = 0.6) -> Any:
    low = -(2 ** (bits - 1)) + 1 if signed else 0
    high = 2 ** (bits - 1) if signed else 2**bits
    return rng.integers(low, high, shape) * (rng.random(shape) < density)


def load(ctx: Any, port: Any, bricks: list[list[int]], count: int, lanes: int) -> None:
    for c in range(count):
        for i in range(lanes):
            known = c < len(bricks) and i < len(bricks[c])
            ctx.set(port[c * lanes + i], bricks[c][i] if known else 0)


def run(dut: SerialGrid, steps: list[twin.Step], per_sum: int, precision: int) -> tuple[dict[int, list[int]], int]:
    """(sums after each set of `per_sum` steps, cycles in which the units work)."""
    sums: dict[int, list[int]] = {}
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        issued, running = 0, -1
        ctx.set(dut.precision, precision)
        while True:
            ready, working = ctx.get(dut.ready), ctx.get(dut.working)
            if issued < len(steps):
                seen, held = steps[issued]
                load(ctx, dut.seen, seen, dut.columns, dut.lanes)
                load(ctx, dut.held, held, dut.filters, dut.lanes)
                ctx.set(dut.first, issued % per_sum == 0)
            ctx.set(dut.valid, issued < len(steps))
            await ctx.tick()
            assert working or issued == 0  # steps follow each other without a gap
            cycles += working
            if working and ready:
                sums[running // per_sum] = [ctx.get(x) for x in dut.sums]
            if ready:
                if issued == len(steps):
                    return
                running, issued = issued, issued + 1

    simulate(dut, bench)
    return sums, cycles


def simulate(dut: Any, bench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("name", "fields", "kind", "signed"), KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_convolutions(name: str, fields: dict[str, Any], kind: str, signed: bool, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    lanes, columns, filters = (int(v) for v in rng.integers(1, (5, 4, 3)))
    channels, outputs, size = (int(v) for v in rng.integers(1, (7, 5, 3)))
    bits = (5, 4)
    a = values(rng, (1, channels, size + 1, size + 2), bits[0], signed)
    w = values(rng, (outputs, channels, 2, 2), bits[1], True)
    chip = {"lanes": lanes, "columns": columns, "rows": filters, "tiles": 1}
    steps = list(twin.conv_steps(a, w, 1, 0, 1, twin.Chip(**chip)))
    per_sum = 4 * -(-channels // lanes)
    reach = 2 ** fields.get("first_stage_bits", 0) - 1
    dut = SerialGrid(kind, columns, filters, lanes, bits[0] + 1, bits[1], a_signed=signed, reach=reach)
    sums, cycles = run(dut, steps, per_sum, bits[0])

    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=bits, signed=signed)
    table = engine(name, **chip, **fields).lower(task_of(network, trace))
    assert cycles_of(table) == cycles

    high, wide = size, size + 1
    windows = [(y, x) for y in range(high) for x in range(wide)]
    sets = -(-outputs // filters)
    for at, found in sums.items():
        first, f = at // sets * columns, at % sets * filters
        for c, (y, x) in enumerate(windows[first : first + columns]):
            for n in range(f, min(f + filters, outputs)):
                assert found[c * filters + n - f] == int((a[0, :, y : y + 2, x : x + 2] * w[n]).sum())
    assert len(sums) == -(-len(windows) // columns) * sets


@pytest.mark.parametrize(("name", "fields", "kind", "signed"), KINDS)
def test_matrix_products_give_steps_to_columns_in_turn(
    name: str, fields: dict[str, Any], kind: str, signed: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(len(kind))
    lanes, columns, filters, bits = 2, 3, 2, (5, 4)
    a, w = values(rng, (2, 9), bits[0], signed), values(rng, (5, 9), bits[1], True)
    chip = {"lanes": lanes, "columns": columns, "rows": filters, "tiles": 1}
    steps = list(twin.matrix_steps(a, w, twin.Chip(**chip)))
    reach = 2 ** fields.get("first_stage_bits", 0) - 1
    size = 1, filters, lanes, bits[0] + 1, bits[1]
    dut = Turns([SerialGrid(kind, *size, a_signed=signed, reach=reach) for _ in range(columns)])
    products: dict[int, list[int]] = {}
    first = last = 0

    async def bench(ctx: Any) -> None:
        nonlocal first, last
        issued, cycle = 0, 0
        running = [-1] * columns
        ctx.set(dut.precision, bits[0])
        while issued < len(steps) or any(at >= 0 for at in running):
            if issued < len(steps):
                load(ctx, dut.seen, steps[issued][0], 1, lanes)
                load(ctx, dut.held, steps[issued][1], filters, lanes)
            ctx.set(dut.valid, issued < len(steps))
            turn, ready = ctx.get(dut.turn), ctx.get(dut.ready)
            finishing = [ctx.get(grid.working & grid.done) for grid in dut.grids]
            await ctx.tick()
            cycle += 1
            for column, grid in enumerate(dut.grids):
                if finishing[column]:
                    products[running[column]] = [ctx.get(x) for x in grid.sums]
                    running[column], last = -1, cycle
            if ready and issued < len(steps):
                first = first or cycle
                running[turn], issued = issued, issued + 1

    simulate(dut, bench)
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=bits, signed=signed)
    assert cycles_of(engine(name, **chip, **fields).lower(task_of(network, trace))) == last - first
    bricks = -(-9 // lanes)
    found = np.zeros((2, 3 * filters), np.int64)
    for at, partial in products.items():
        row, rest = divmod(at, 3 * bricks)
        found[row, rest // bricks * filters : (rest // bricks + 1) * filters] += partial
    assert (found[:, :5] == a @ w.T).all()


@pytest.mark.parametrize("registers", [1, 2])
@pytest.mark.parametrize(("name", "kind"), [("dynamic_stripes", "dynamic"), ("pragmatic", "pragmatic")])
def test_columns_run_ahead_of_the_slowest(name: str, kind: str, registers: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(registers)
    lanes, columns, filters, bits = 2, 3, 2, (5, 4)
    a, w = values(rng, (1, 4, 4, 5), bits[0], False, 0.4), values(rng, (3, 4, 2, 2), bits[1], True)
    chip = {"lanes": lanes, "columns": columns, "rows": filters, "tiles": 1}
    steps = list(twin.conv_steps(a, w, 1, 0, 1, twin.Chip(**chip)))
    per_sum = 4 * 2
    size = 1, filters, lanes, bits[0] + 1, bits[1]
    dut = Ahead([SerialGrid(kind, *size, reach=3) for _ in range(columns)], registers)
    sums: dict[tuple[int, int], list[int]] = {}
    first = last = 0

    async def bench(ctx: Any) -> None:
        nonlocal first, last
        running = [-1] * columns
        for cycle in range(1, 100_000):
            valid = starts = 0
            for c in range(columns):
                step = ctx.get(dut.started[c])
                if step < len(steps):
                    seen, held = steps[step]
                    load(ctx, dut.seen[c], [seen[c]] if c < len(seen) else [], 1, lanes)
                    load(ctx, dut.held[c], held, filters, lanes)
                    valid |= 1 << c
                    starts |= (step % per_sum == 0) << c
            ctx.set(dut.valid, valid)
            ctx.set(dut.first, starts)
            taken, before = ctx.get(dut.taken), [ctx.get(dut.started[c]) for c in range(columns)]
            finishing = [ctx.get(grid.working & grid.done) for grid in dut.grids]
            await ctx.tick()
            for c, grid in enumerate(dut.grids):
                if finishing[c]:
                    sums[running[c] // per_sum, c] = [ctx.get(x) for x in grid.sums]
                    running[c], last = -1, cycle
                if taken >> c & 1:
                    first, running[c] = first or cycle, before[c]
            if valid == 0 and max(running) < 0:
                return

    simulate(dut, bench)
    network, trace = layer_of(tmp_path / "t.trace", a, w, bits=bits)
    table = engine(name, **chip, column_registers=registers).lower(task_of(network, trace))
    assert cycles_of(table) == last - first
    windows = [(y, x) for y in range(3) for x in range(4)]
    for (at, c), found in sums.items():
        y, x = windows[at // 2 * columns + c]
        for n in range(at % 2 * filters, min(at % 2 * filters + filters, 3)):
            assert found[n - at % 2 * filters] == int((a[0, :, y : y + 2, x : x + 2] * w[n]).sum())
    assert len(sums) == len(windows) * 2
