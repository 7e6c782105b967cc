"""Messages between two terminals, as rows of an array: the kernel starts and completes them itself."""

from __future__ import annotations

import numpy as np

from accelsim.noc import flit_state as fs
from accelsim.noc.graph import IntArray

Batch = tuple[IntArray, IntArray, IntArray, IntArray, IntArray]
"""Cycles, ids, T records of the sources, targets, bytes: one entry per message."""


class Rows:
    """The array that `run_flits` takes: messages that have started, then those that are to start, in order.

    Attributes
    ----------
    table : int array, shape (room, ROW_SIZE)
    """

    def __init__(self) -> None:
        self.table: IntArray = np.zeros((64, fs.ROW_SIZE), np.int64)

    def append(self, m: IntArray, batch: Batch) -> None:
        """Enter messages; they and those that have not started are put in ascending order of (cycle, id)."""
        count = len(batch[0])
        self._make_room(m, count)
        first, start = int(m[fs.ROWS]), int(m[fs.ROW])
        end = first + count
        block = self.table[first:end]
        for column, values in zip((fs.ROW_NOW, fs.ROW_ID, fs.ROW_SOURCE, fs.ROW_TARGET, fs.ROW_BYTES), batch):
            block[:, column] = values
        block[:, fs.ROW_DONE] = -1
        m[fs.ROWS] = end
        self._sort(max(start, first - 1), start, end)

    def add(self, m: IntArray, now: int, message: int, source: int, target: int, n_bytes: int) -> None:
        """Enter one message."""
        first, start = m.item(fs.ROWS), m.item(fs.ROW)
        if first == len(self.table):
            self._make_room(m, 1)
            first, start = m.item(fs.ROWS), m.item(fs.ROW)
        self.table[first, : fs.ROW_ORDER] = now, message, source, target, n_bytes, 0, -1
        m[fs.ROWS] = first + 1
        if first > start and (self.table.item(first - 1, fs.ROW_NOW), self.table.item(first - 1, fs.ROW_ID)) > (
            now, message,
        ):  # fmt: skip
            self._sort(first - 1, start, first + 1)

    def _sort(self, since: int, start: int, end: int) -> None:
        """Rows `start` to `end` by (cycle, id); before `since` they are so already."""
        now, ids = self.table[since:end, fs.ROW_NOW], self.table[since:end, fs.ROW_ID]
        step = np.diff(now)
        if np.any(step < 0) or np.any((step == 0) & (np.diff(ids) < 0)):
            rows = self.table[start:end, : fs.ROW_ORDER]
            rows[:] = rows[np.lexsort((rows[:, fs.ROW_ID], rows[:, fs.ROW_NOW]))]

    def _make_room(self, m: IntArray, count: int) -> None:
        """Drop complete messages where there is no room, and grow; flows learn the new numbers of their messages."""
        first, start = int(m[fs.ROWS]), int(m[fs.ROW])
        if first + count <= len(self.table):
            return
        kept = np.concatenate(
            [np.flatnonzero(self.table[:start, fs.ROW_DONE] < 0), np.arange(start, first, dtype=np.int64)]
        )
        started = len(kept) - (first - start)
        room = max(len(self.table), 2 * (len(kept) + count))
        table = np.zeros((room, fs.ROW_SIZE), np.int64)
        table[: len(kept)] = self.table[kept]
        self.table = table
        m[table[:started, fs.ROW_FLOW] + fs.F_MESSAGE] = -1 - np.arange(started)
        m[[fs.ROW, fs.ROWS, fs.ROWS_DONE]] = started, len(kept), 0

    def open_ids(self, m: IntArray) -> set[int]:
        """Ids of all messages that are not complete."""
        rows = self.table[: int(m[fs.ROWS])]
        return set(rows[rows[:, fs.ROW_DONE] < 0, fs.ROW_ID].tolist())

    def due(self, m: IntArray) -> bool:
        """Whether one should start in this cycle."""
        return bool(m[fs.ROW] < m[fs.ROWS]) and bool(self.table[m[fs.ROW], fs.ROW_NOW] == m[fs.NOW])

    def id_of(self, number: int) -> int:
        """Id of the message that was complete as this number, counting from 0."""
        return int(self.table.item(self.table.item(number, fs.ROW_ORDER), fs.ROW_ID))

    def since(self, m: IntArray, before: int) -> IntArray:
        """Numbers of the rows complete since there were `before` of them, by (cycle, id)."""
        return self.table[before : int(m[fs.ROWS_DONE]), fs.ROW_ORDER]
