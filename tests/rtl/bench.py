"""The cycle-level test bench: a controller that issues folds, an array that computes them, a collector at the edge.

The controller's rules are written as events of single registers (who writes what at the end of which cycle), not as
formulas for intervals: the intervals come out. The collector takes every output word at one promised cycle and no
other; a word that is late, early or overwritten is a wrong output.

Cycle 0 is the first cycle in which anything of the job happens. A fold is ``Fold(left, top)`` (see `ports.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ports import EdgeLog, Fold, OsPorts, Shape, Window, WsPorts, drive_os, drive_ws, shape_of
from .register_level import run_os_registers, run_ws_registers
from .simulate import run_os_hdl, run_ws_hdl

__all__ = ["OS_MODES", "WS_MODES", "RtlRun", "os_starts", "run_is", "run_os", "run_os_folds", "run_ws", "run_ws_folds",
           "tiles", "ws_windows"]

OS_MODES = ("serial", "pipelined")
WS_MODES = ("serial", "overlap", "double_buffered")
EDGES = ("ragged", "full")

Words = NDArray[np.int64]


@dataclass(frozen=True)
class RtlRun:
    """What a job gave.

    `outputs`: the ofmap (GEMM runs) or one (r, c) / (T, c) array per fold (fold runs), as collected at the promised
    cycles. `starts`: when each fold's first operand reaches PE(0, 0). `loads` (WS): when its first weight word enters.
    `completion_cycles`: until the last valid word is held at the edge, as the edge's valid bits say. `promised`: the
    (cycles, cols) mask of the words that should be there; `clean` says that those and no others were valid.
    """

    outputs: Any
    starts: tuple[int, ...]
    loads: tuple[int, ...]
    completion_cycles: int
    edge_log: EdgeLog
    promised: NDArray[np.bool_]
    ports: OsPorts | WsPorts

    @property
    def clean(self) -> bool:
        return bool(np.array_equal(self.edge_log.valid, self.promised))


# ---- the controller ------------------------------------------------------------------------------------------------


def os_starts(shapes: Sequence[Shape], mode: str) -> list[int]:
    """First-operand cycles of output-stationary folds, each as early as `mode` and the registers allow.

    Column 0 decides: every event of column j happens j cycles after that of column 0, in all folds alike.
    """
    starts = [0]
    for old, new in zip(shapes, shapes[1:]):
        # Operands of two folds cannot share the input of PE(0, 0).
        interval = old.t
        if mode == "serial":
            # Wait for the last product anywhere, in PE(r-1, c-1).
            interval = old.t - 1 + (old.r - 1) + (old.c - 1) + 1
        while not _os_registers_free(old, new, interval):
            interval += 1
        starts.append(starts[-1] + interval)
    return starts


def _os_load(shape: Shape) -> int:
    """The cycle, counted from the fold's start, at whose end column 0 loads its drain chain."""
    return shape.t - 1 + shape.r - 1


def _os_registers_free(old: Shape, new: Shape, interval: int) -> bool:
    """Whether fold `new`, `interval` cycles after `old`, overwrites none of its words in column 0."""
    load = _os_load(old)
    # Row i of `old` is at the edge during cycle load + 1 + i; a load must not replace a word that is still below it.
    edge_free = interval + _os_load(new) >= load + old.r
    # A held sum (all rows but the tail row's) is overwritten at the end of the row's last product in `new`. The chain
    # loads at a clock edge, so the same edge is early enough.
    rows_held = range(min(old.r - 1, new.r))
    return edge_free and all(interval + new.t - 1 + i >= load for i in rows_held)


def ws_windows(shapes: Sequence[Shape], rows: int, cols: int, mode: str) -> list[Window]:
    """Load and first-operand cycles of weight-stationary folds, each as early as `mode` allows."""
    windows = [Window(0, shapes[0].r)]
    for old, new in zip(shapes, shapes[1:]):
        start = windows[-1].start
        if mode == "serial":
            # The last psum of the last column enters the last physical row's register, then the load begins.
            load = start + old.t - 1 + (rows - 1) + (old.c - 1) + 1
        elif mode == "overlap":
            load = start + old.t - 1            # PE(0, 0) takes its first new word at the end of its last product
        else:
            load = start                        # ... at the end of the cycle in which it swaps
        windows.append(Window(load, max(start + old.t, load + new.r)))
    return windows


def _whole(fold: Fold, stationary: str, rows: int, cols: int) -> Fold:
    """`fold` with zero operands in every row and column that it does not use."""
    shape = shape_of(fold, stationary)
    r, c = rows - shape.r, cols - shape.c
    if stationary == "os":
        return Fold(np.pad(fold.left, ((0, r), (0, 0))), np.pad(fold.top, ((0, 0), (0, c))))
    return Fold(np.pad(fold.left, ((0, 0), (0, r))), np.pad(fold.top, ((0, r), (0, c))))


def _prepare(folds: Sequence[Fold], stationary: str, rows: int, cols: int, mode: str, edge: str) -> list[Fold]:
    assert mode in (OS_MODES if stationary == "os" else WS_MODES) and edge in EDGES
    return [_whole(fold, stationary, rows, cols) if edge == "full" else fold for fold in folds]


# ---- running folds -------------------------------------------------------------------------------------------------


def run_os_folds(folds: Sequence[Fold], rows: int, cols: int, mode: str, edge: str = "ragged", *,
                 starts: Sequence[int] | None = None, backend: str = "hdl", **options: Any) -> RtlRun:
    """Run output-stationary folds; `starts` overrides the controller. `backend`: ``hdl`` or ``registers``."""
    issued = _prepare(folds, "os", rows, cols, mode, edge)
    shapes = [shape_of(fold, "os") for fold in issued]
    starts = tuple(starts if starts is not None else os_starts(shapes, mode))
    ports = drive_os(issued, starts, rows, cols)
    run = run_os_hdl if backend == "hdl" else run_os_registers
    log = run(ports, rows, cols, shadow=mode == "pipelined", **options)
    promised = np.zeros_like(log.valid)
    outputs = []
    for fold, shape, start in zip(folds, shapes, starts, strict=True):
        i, j = np.indices((shape.r, shape.c))
        at = start + _os_load(shape) + j + i
        promised[at, j] = True
        outputs.append(log.words[at, j][:fold.left.shape[0], :fold.top.shape[1]])
    return RtlRun(outputs, starts, (), log.completion_cycles, log, promised, ports)


def run_ws_folds(folds: Sequence[Fold], rows: int, cols: int, mode: str, edge: str = "ragged", *,
                 windows: Sequence[Window] | None = None, backend: str = "hdl", **options: Any) -> RtlRun:
    """Run weight-stationary folds; `windows` overrides the controller. `backend`: ``hdl`` or ``registers``."""
    issued = _prepare(folds, "ws", rows, cols, mode, edge)
    shapes = [shape_of(fold, "ws") for fold in issued]
    windows = windows if windows is not None else ws_windows(shapes, rows, cols, mode)
    wave = mode != "serial"
    ports = drive_ws(issued, windows, rows, cols, wave)
    run = run_ws_hdl if backend == "hdl" else run_ws_registers
    log = run(ports, rows, cols, double=mode == "double_buffered", wave=wave, **options)
    promised = np.zeros_like(log.valid)
    outputs = []
    for fold, shape, window in zip(folds, shapes, windows, strict=True):
        m, j = np.indices((shape.t, shape.c))
        at = window.start + m + (rows - 1) + j
        promised[at, j] = True
        outputs.append(log.words[at, j][:, :fold.top.shape[1]])
    return RtlRun(outputs, tuple(w.start for w in windows), tuple(w.load for w in windows), log.completion_cycles, log,
                  promised, ports)


# ---- running a GEMM ------------------------------------------------------------------------------------------------


def tiles(size: int, step: int) -> list[slice]:
    """`size` items in runs of `step`, the last one ragged."""
    return [slice(at, min(at + step, size)) for at in range(0, size, step)]


def run_os(a: Words, b: Words, rows: int, cols: int, mode: str, edge: str = "ragged", **options: Any) -> RtlRun:
    """ofmap[M,N] = a[M,K] b[K,N], output stationary: column folds (N) outer, row folds (M) inner."""
    order = [(i, j) for j in tiles(b.shape[1], cols) for i in tiles(a.shape[0], rows)]
    run = run_os_folds([Fold(a[i], b[:, j]) for i, j in order], rows, cols, mode, edge, **options)
    ofmap = np.zeros((a.shape[0], b.shape[1]), dtype=np.int64)
    for (i, j), words in zip(order, run.outputs, strict=True):
        ofmap[i, j] = words
    return _with_outputs(run, ofmap)


def run_ws(a: Words, b: Words, rows: int, cols: int, mode: str, edge: str = "ragged", **options: Any) -> RtlRun:
    """ofmap[M,N] = a[M,K] b[K,N], filter stationary: column folds (N) outer, K folds inner; K folds summed outside."""
    order = [(k, j) for j in tiles(b.shape[1], cols) for k in tiles(b.shape[0], rows)]
    run = run_ws_folds([Fold(a[:, k], b[k, j]) for k, j in order], rows, cols, mode, edge, **options)
    ofmap = np.zeros((a.shape[0], b.shape[1]), dtype=np.int64)
    for (_, j), words in zip(order, run.outputs, strict=True):
        ofmap[:, j] += words
    return _with_outputs(run, ofmap)


def run_is(a: Words, b: Words, rows: int, cols: int, mode: str, edge: str = "ragged", **options: Any) -> RtlRun:
    """ofmap[M,N] = a[M,K] b[K,N], ifmap stationary: the same array computes the transposed product."""
    run = run_ws(b.T, a.T, rows, cols, mode, edge, **options)
    return _with_outputs(run, run.outputs.T)


def _with_outputs(run: RtlRun, outputs: Words) -> RtlRun:
    return RtlRun(outputs, run.starts, run.loads, run.completion_cycles, run.edge_log, run.promised, run.ports)
