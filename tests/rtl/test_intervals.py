"""Both sides of every gate: the smallest legal distance between folds works, one cycle less destroys something.

What is smallest is read off the hardware by trying every distance; the controller's schedule and the description's
closed form must then name the same number.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .bench import RtlRun, os_starts, run_os_folds, run_ws_folds, ws_windows
from .cases import described_interval, examples, shapes, telling_folds
from .ports import Fold, Shape, Window, shape_of

seeds = st.integers(0, 2**32 - 1)
ROWS, COLS = 5, 4
small = shapes(4, 7)


def intact(run: RtlRun, folds: list[Fold]) -> bool:
    """Every output word right, at its cycle, and no word that should not be there."""
    return run.clean and all(np.array_equal(out, fold.left @ fold.top) for out, fold in zip(run.outputs, folds))


def os_works(folds: list[Fold], mode: str, interval: int, backend: str) -> bool:
    """Whether the second of two output-stationary folds may follow the first after `interval` cycles."""
    return intact(run_os_folds(folds, ROWS, COLS, mode, starts=(0, interval), backend=backend), folds)


def ws_works(folds: list[Fold], mode: str, load: int, interval: int, backend: str) -> bool:
    """The same for weight-stationary folds, the second load beginning `load` cycles after the first operand."""
    first = shape_of(folds[0], "ws").r
    windows = [Window(0, first), Window(first + load, first + interval)]
    return intact(run_ws_folds(folds, ROWS, COLS, mode, windows=windows, backend=backend), folds)


def smallest_os(folds: list[Fold], mode: str, beyond: int) -> int:
    """The smallest interval from which on all intervals up to `beyond` work, tried one by one on the registers."""
    works = [os_works(folds, mode, interval, "registers") for interval in range(1, beyond + 1)]
    failing = [interval for interval, fine in enumerate(works, start=1) if not fine]
    return max(failing, default=0) + 1


def smallest_ws(folds: list[Fold], mode: str, beyond: int) -> tuple[int, int]:
    """(interval, load) of the soonest second fold, over all load cycles."""
    rows = shape_of(folds[1], "ws").r
    for interval in range(1, beyond + 1):
        # a load that ends after the operand's arrival cannot be of use to it; those tried include two such
        for load in range(max(1 - rows, interval - beyond), interval + 3 - rows):
            if ws_works(folds, mode, load, interval, "registers"):
                return interval, load
    raise AssertionError("no interval works")


# ---- output stationary, shadow registers ---------------------------------------------------------------------------


@given(old=small, new=small, seed=seeds)
@examples(120)
def test_pipelined_interval_is_the_smallest_that_the_registers_allow(old: Shape, new: Shape, seed: int) -> None:
    folds = telling_folds(np.random.default_rng(seed), [old, new], "os")
    want = described_interval("os", "pipelined", old, new, ROWS)
    assert smallest_os(folds, "pipelined", want + 3) == want
    assert os_starts([old, new], "pipelined") == [0, want]


@given(old=small, new=small, seed=seeds)
@examples(25)
def test_pipelined_gate_from_both_sides(old: Shape, new: Shape, seed: int) -> None:
    folds = telling_folds(np.random.default_rng(seed), [old, new], "os")
    interval = described_interval("os", "pipelined", old, new, ROWS)
    assert os_works(folds, "pipelined", interval, "hdl")
    assert interval == 1 or not os_works(folds, "pipelined", interval - 1, "hdl")


@pytest.mark.parametrize("old, new, interval, bound", [
    (Shape(3, 2, 7), Shape(3, 2, 7), 7, "input port: T"),
    (Shape(4, 2, 2), Shape(4, 2, 2), 4, "drain chain: T - T' + 2r - r'"),
    (Shape(4, 2, 2), Shape(1, 2, 2), 7, "drain chain, which the short fold reaches sooner"),
    (Shape(4, 2, 1), Shape(5, 2, 1), 3, "shadow register: T - T' + r - 1"),
    (Shape(4, 2, 6), Shape(4, 2, 2), 8, "drain chain, after a fold with fewer steps"),
])
def test_each_bound_of_the_pipelined_interval(old: Shape, new: Shape, interval: int, bound: str) -> None:
    folds = telling_folds(np.random.default_rng(7), [old, new], "os")
    assert described_interval("os", "pipelined", old, new, ROWS) == interval, bound
    assert os_works(folds, "pipelined", interval, "hdl"), bound
    assert not os_works(folds, "pipelined", interval - 1, "hdl"), bound


# ---- output stationary, one register -------------------------------------------------------------------------------


@given(old=small, new=small, seed=seeds)
@examples(15)
def test_serial_fold_enters_right_after_the_last_product(old: Shape, new: Shape, seed: int) -> None:
    """The rule of the serial controller, read off the hardware's busy line; unless the drain chain is still full."""
    folds = telling_folds(np.random.default_rng(seed), [old, new], "os")
    busy = run_os_folds(folds[:1], ROWS, COLS, "serial").edge_log.busy
    rule = int(np.flatnonzero(busy)[-1]) + 1
    interval = described_interval("os", "serial", old, new, ROWS)
    assert os_works(folds, "serial", interval, "hdl")
    if interval != rule:
        assert interval > rule
        assert not os_works(folds, "serial", interval - 1, "hdl")


def test_serial_rule_alone_would_overwrite_a_long_drain() -> None:
    """Five rows drain for five cycles, but a fold of one row and one step would be ready after one."""
    old, new = Shape(5, 1, 1), Shape(1, 1, 1)
    folds = telling_folds(np.random.default_rng(3), [old, new], "os")
    assert not os_works(folds, "serial", old.t + old.r + old.c - 2, "hdl")
    assert described_interval("os", "serial", old, new, ROWS) == 9
    assert os_works(folds, "serial", 9, "hdl")
    assert not os_works(folds, "serial", 8, "hdl")


@given(old=small, new=small, seed=seeds)
@examples(60)
def test_one_register_could_follow_its_columns_but_serial_waits(old: Shape, new: Shape, seed: int) -> None:
    """What the serial array's registers would allow: accumulators are free from the drain load on, column by column."""
    folds = telling_folds(np.random.default_rng(seed), [old, new], "os")
    wait = described_interval("os", "serial", old, new, ROWS)
    could = max(old.t, old.t + old.r - 2, old.t - new.t + 2 * old.r - new.r)
    assert smallest_os(folds, "serial", wait + 2) == could <= wait


# ---- weight stationary ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["overlap", "double_buffered"])
@given(old=small, new=small, seed=seeds)
@examples(40)
def test_weights_in_a_wave_interval_is_the_smallest_over_all_load_cycles(mode: str, old: Shape, new: Shape,
                                                                         seed: int) -> None:
    folds = telling_folds(np.random.default_rng(seed), [old, new], "ws")
    want = described_interval("ws", mode, old, new, ROWS)
    interval, _ = smallest_ws(folds, mode, want)
    assert interval == want
    window = ws_windows([old, new], ROWS, COLS, mode)[1]
    assert window.start == old.r + want
    assert ws_works(folds, mode, window.load - old.r, want, "registers")


@pytest.mark.parametrize("mode", ["overlap", "double_buffered"])
@given(old=small, new=small, seed=seeds)
@examples(12)
def test_weights_in_a_wave_gate_from_both_sides(mode: str, old: Shape, new: Shape, seed: int) -> None:
    folds = telling_folds(np.random.default_rng(seed), [old, new], "ws")
    window = ws_windows([old, new], ROWS, COLS, mode)[1]
    load, interval = window.load - old.r, window.start - old.r
    assert ws_works(folds, mode, load, interval, "hdl")
    assert not ws_works(folds, mode, load - 1, interval, "hdl"), "loaded over a weight that is still needed"
    assert not ws_works(folds, mode, load, interval - 1, "hdl"), "operand before its weight, or on a busy port"


@given(old=small, new=small, seed=seeds)
@examples(12)
def test_serial_load_begins_right_after_the_last_psum_left(old: Shape, new: Shape, seed: int) -> None:
    """The rule of the serial controller, read off the valid bits at the edge."""
    folds = telling_folds(np.random.default_rng(seed), [old, new], "ws")
    left = run_ws_folds(folds[:1], ROWS, COLS, "serial").completion_cycles
    window = ws_windows([old, new], ROWS, COLS, "serial")[1]
    assert window == Window(left, left + new.r)
    assert ws_works(folds, "serial", window.load - old.r, window.start - old.r, "hdl")
    assert not ws_works(folds, "serial", window.load - old.r, window.start - old.r - 1, "hdl")


@given(old=small, new=small, seed=seeds)
@examples(20)
def test_broadcast_load_could_begin_with_the_last_column_but_serial_waits(old: Shape, new: Shape, seed: int) -> None:
    """What the serial array's registers would allow: row 0 of the last column has done its last product."""
    folds = telling_folds(np.random.default_rng(seed), [old, new], "ws")
    load = old.t + old.c - 2
    assert load + new.r <= described_interval("ws", "serial", old, new, ROWS)
    assert smallest_ws(folds, "serial", load + new.r) == (load + new.r, load)
