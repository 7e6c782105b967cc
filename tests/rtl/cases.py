"""Random GEMMs and folds for the register-transfer tests, and what the hardware's description says of their timing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from .bench import OS_MODES, WS_MODES, run_is, run_os, run_ws
from .ports import Fold, Shape

RUNNERS = {"os": run_os, "ws": run_ws, "is": run_is}
MODES = {"os": OS_MODES, "ws": WS_MODES, "is": WS_MODES}
Job = tuple[int, int, str, str, str, int, int, int]     # rows, cols, dataflow, mode, edge, m, n, k

DATAFLOW_MODES = [(dataflow, mode) for dataflow, modes in MODES.items() for mode in modes]

# Elaborating an array costs as much as clocking it: few sizes, many jobs.
SMALL_ARRAYS = ((1, 1), (1, 4), (2, 3), (3, 2), (4, 1), (4, 4), (5, 5))


def examples(count: int) -> settings:
    """Deterministic hypothesis settings for `count` examples."""
    return settings(max_examples=count, deadline=None, derandomize=True, database=None)


def gemm(rng: np.random.Generator, m: int, n: int, k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Random int8 operands, (m, k) and (k, n)."""
    return rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, n))


def spatial(dataflow: str, m: int, n: int, k: int) -> tuple[int, int, int]:
    """(extent over rows, extent over columns, temporal length)."""
    return {"os": (m, n, k), "ws": (k, n, m), "is": (k, m, n)}[dataflow]


@st.composite
def jobs(draw: Any, arrays: Any, longest: int, folds: int = 3) -> Job:
    """A GEMM of at most `folds` folds in each direction."""
    rows, cols = draw(arrays)
    dataflow, mode = draw(st.sampled_from(DATAFLOW_MODES))
    edge = draw(st.sampled_from(("ragged", "full")))
    over_rows, over_cols = draw(st.integers(1, folds * rows)), draw(st.integers(1, folds * cols))
    length = draw(st.integers(1, longest))
    order = {"os": (over_rows, over_cols, length), "ws": (length, over_cols, over_rows),
             "is": (over_cols, length, over_rows)}
    return rows, cols, dataflow, mode, edge, *order[dataflow]


def shapes(largest: int, longest: int) -> st.SearchStrategy[Shape]:
    """Fold shapes."""
    side = st.integers(1, largest)
    return st.builds(Shape, side, side, st.integers(1, longest))


def telling_folds(rng: np.random.Generator, kinds: list[Shape], stationary: str) -> list[Fold]:
    """Folds whose operands are positive and whose stationary words all differ: a wrong register gives a wrong sum."""
    made = []
    distinct = rng.permutation(np.arange(1, 128))
    for shape in kinds:
        if stationary == "os":
            made.append(Fold(rng.integers(1, 128, (shape.r, shape.t)), rng.integers(1, 128, (shape.t, shape.c))))
        else:
            words, distinct = distinct[:shape.r], distinct[shape.r:]
            top = np.stack([np.roll(words, j) for j in range(shape.c)], axis=1)
            made.append(Fold(rng.integers(1, 128, (shape.t, shape.r)), top))
    return made


def described_interval(dataflow: str, mode: str, old: Shape, new: Shape, rows: int) -> int:
    """Cycles from the first operand of a fold to that of the next, in closed form.

    OS: the drain chain holds r words until they have left over row 0, which binds every mode (`chain`). With shadow
    registers the earliest next capture, in row 0, may fall together with the drain load, not before (`shadow`).
    """
    if dataflow == "os":
        chain = old.t - new.t + 2 * old.r - new.r
        shadow = old.t - new.t + old.r - 1
        return max(old.t + old.r + old.c - 2, chain) if mode == "serial" else max(old.t, shadow, chain)
    if mode == "serial":
        return old.t + rows + old.c - 2 + new.r
    return old.t + new.r - 1 if mode == "overlap" else max(old.t, new.r)


def described_completion(dataflow: str, shape: Shape, rows: int) -> int:
    """Cycles from a fold's first operand until its last word is held at the edge."""
    return shape.t + shape.c - 2 + (2 * shape.r - 1 if dataflow == "os" else rows)


def fold_shapes(dataflow: str, rows: int, cols: int, edge: str, m: int, n: int, k: int) -> list[Shape]:
    """A GEMM's folds as the controller sees them, in order."""
    over_rows, over_cols, length = spatial(dataflow, m, n, k)
    out = []
    for c in range(0, over_cols, cols):
        for r in range(0, over_rows, rows):
            ragged = Shape(min(rows, over_rows - r), min(cols, over_cols - c), length)
            out.append(ragged if edge == "ragged" else Shape(rows, cols, length))
    return out


def described_job(dataflow: str, mode: str, rows: int, folds: list[Shape]) -> tuple[list[int], int]:
    """First-operand cycles of `folds` and the completion of them all (the last fold need not be the last to leave)."""
    starts = [0 if dataflow == "os" else folds[0].r]
    for old, new in zip(folds, folds[1:]):
        starts.append(starts[-1] + described_interval(dataflow, mode, old, new, rows))
    return starts, max(s + described_completion(dataflow, f, rows) for s, f in zip(starts, folds))
