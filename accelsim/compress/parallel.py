"""Work on blocks of rows, by several threads where it pays.

Blocks depend on the tensor's shape only and results are put together in their order, so that any number of threads
gives the same bits. Kernels release the interpreter's lock (`nogil`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

from numpy.typing import NDArray

T = TypeVar("T")

_NAME = "accelsim-compress"

BLOCK_ELEMENTS = 1 << 20
"""Elements of a block: 4 MB of float32, so that temporaries stay small and threads have enough to do."""


@lru_cache(maxsize=1)
def thread_count() -> int:
    """ACCELSIM_THREADS, or the cores that this process may use."""
    text = os.environ.get("ACCELSIM_THREADS", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count(), _NAME)


def row_blocks(rows: int, length: int) -> list[slice]:
    """Slices of rows of about `BLOCK_ELEMENTS` elements, at least one row each."""
    step = max(1, BLOCK_ELEMENTS // max(1, length))
    return [slice(at, min(rows, at + step)) for at in range(0, rows, step)]


def over_rows(matrix: NDArray[Any], work: Callable[[slice], T]) -> list[T]:
    """`work(slice)` for all blocks of rows of a matrix; results in the order of the rows."""
    blocks = row_blocks(*matrix.shape)
    return over_blocks(lambda i: work(blocks[i]), len(blocks))


def over_blocks(work: Callable[[int], T], count: int) -> list[T]:
    """`work(i)` for i in range(count), by several threads; results in order.

    Called from inside of such work it stays in its thread: waiting there for others could wait for ever.
    """
    inside = threading.current_thread().name.startswith(_NAME)
    if count <= 1 or inside or thread_count() == 1:
        return [work(i) for i in range(count)]
    return list(_pool().map(work, range(count)))
