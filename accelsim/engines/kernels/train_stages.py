"""The contraction of a tensor train or ring on a PE array with a banked working memory, clock by clock.

A train of d cores [r_{k-1}, m_k, n_k, r_k] times a vector is d products of matrices, from the last core to the first
(Deng et al., TIE, ISCA 2019, Section 3): stage h multiplies core h, as a matrix of r_{h-1} m_h rows and n_h r_h
columns, by what the stage before has left, as a matrix of n_h r_h rows and n_1 .. n_{h-1} m_{h+1} .. m_d columns.
What one stage writes is not in the shape in which the next one reads: the reshape is virtual, an order of addresses.

**Order.** Columns of stage h count (j_{h-1}, ..., j_1, sample, i_d, ..., i_{h+1}), the last digit fastest; rows count
(a_{h-1}, i_h). So column c, row (j, a) of stage h lies, in what stage h + 1 wrote, in row a m_{h+1} + c mod m_{h+1} and
column j S + c div m_{h+1}, with S the columns of stage h + 1 for one j. In a ring the last core's rows carry the index
a_d that closes it, (a_{d-1}, a_d, i_d); a_d is then a digit of the columns behind the sample, and the first core sums
over it: its columns count (j_1, a_d, a_1).

**Memory.** Two memories, one read while the other is written. Each has `groups` x `chunks` banks with one read and one
write port of one element; element (row, column) lies in group row mod groups, chunk column mod chunks. A step reads one
row of one column block; it lasts as many cycles as the busiest bank has elements of it. This is counted for every step.

**Time.** A block is `macs` rows x `pes` columns (with `pack`, several column groups where few rows are live). Column
blocks are the outer loop, row blocks the inner one. An element that is read in cycle t is multiplied in t + 1; a
block's results are written from cycle t + 2 of its last read on, through one register, which must be empty when the
next block's last product is added. A block may be read when all of it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.kernels import kernel
from accelsim.base.units import ceil_div
from accelsim.workload.decomposed import Decomposed

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Train:
    """A tensor train (r_0 = r_d = 1) or ring (r_0 = r_d).

    Attributes
    ----------
    rows, columns : tuple of int
        m_k and n_k.
    ranks : tuple of int
        r_0 to r_d.

    Raises
    ------
    ConfigError
        If modes and ranks do not belong together, or a ring has one core only.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        d = len(self.rows)
        if not d or len(self.columns) != d or len(self.ranks) != d + 1:
            raise ConfigError(
                "a train of d cores must have d row modes, d column modes and d + 1 ranks, "
                f"got {d}, {len(self.columns)} and {len(self.ranks)}"
            )
        if min(*self.rows, *self.columns, *self.ranks) < 1:
            raise ConfigError(f"modes and ranks must be >= 1, got {self.rows}, {self.columns}, {self.ranks}")
        if self.ranks[0] != self.ranks[-1]:
            raise ConfigError(f"ranks must begin and end with the same, got {list(self.ranks)}")
        if d == 1 and self.closing > 1:
            raise ConfigError("a ring must have two cores or more: one core is a matrix, store it as such")

    @classmethod
    def of_cores(cls, shapes: Sequence[tuple[int, ...]], rows: int, columns: int) -> Train:
        """From the shapes [r_{k-1}, m_k, n_k, r_k] of the cores of a matrix rows x columns.

        Raises
        ------
        ConfigError
            If neighbours' ranks differ, or the modes do not multiply to the matrix.
        """
        for k, (left, right) in enumerate(zip(shapes, shapes[1:], strict=False)):
            if left[3] != right[0]:
                what = f"core{k} ends with rank {left[3]} and core{k + 1} begins with {right[0]}"
                raise ConfigError(f"ranks of neighbouring cores must be equal, but {what}")
        train = cls(
            tuple(s[1] for s in shapes), tuple(s[2] for s in shapes), (*(s[0] for s in shapes), shapes[-1][3])
        )
        if (prod(train.rows), prod(train.columns)) != (rows, columns):
            got = f"{'x'.join(map(str, train.rows))} and {'x'.join(map(str, train.columns))}"
            raise ConfigError(f"modes must multiply to {rows} rows and {columns} columns, got {got}")
        return train

    @property
    def closing(self) -> int:
        """r_0: more than 1 in a ring."""
        return self.ranks[0]

    @property
    def elements(self) -> int:
        """Of all cores."""
        modes = zip(self.rows, self.columns, strict=True)
        return sum(self.ranks[k] * m * n * self.ranks[k + 1] for k, (m, n) in enumerate(modes))

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """In the order in which they run: the last core first."""
        d, r0, found = len(self.rows), self.closing, []
        for h in reversed(range(d)):
            m, n = self.rows[h], self.columns[h]
            closes, opens = h == 0 and d > 1, h == d - 1 and d > 1
            carried = 1 if closes or opens else r0  # 1 in any train
            outputs = 0 if h == d - 1 else self.rows[h + 1] * (r0 if h == d - 2 else 1)
            found.append(
                Stage(
                    core=h, rows=self.ranks[h] * m * r0 if opens else m if closes else self.ranks[h] * m,
                    inner=n if h == d - 1 else n * self.ranks[h + 1] * (r0 if closes else 1),
                    columns=prod(self.columns[:h]) * carried * prod(self.rows[h + 1 :]),
                    inputs=n, rank=1 if h == d - 1 else self.ranks[h + 1], outputs=outputs,
                    closing=r0 if closes else 1, pairs=d == 2,
                )
            )  # fmt: skip
        return tuple(found)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one product with a vector."""
        return sum(stage.rows * stage.inner * stage.columns for stage in self.stages)


def train_of(weights: Decomposed) -> Train:
    """Modes and ranks of an operand that is a train or a ring.

    Raises
    ------
    ConfigError
        If the cores do not belong together, or do not give the operand.
    """
    return Train.of_cores([core.shape for core in weights.cores.values()], weights.shape[0], prod(weights.shape[1:]))


@dataclass(frozen=True)
class Stage:
    """One product of matrices: rows x inner by inner x columns (of one sample).

    `inputs` n_h, `rank` r_h and `closing` r_0 (1, except where a ring is closed) make up `inner`; `outputs`: rows
    of one rank in what the stage before has left (0: this is the first one). `pairs`: the ring has two cores.
    """

    core: int
    rows: int
    inner: int
    columns: int
    inputs: int
    rank: int
    outputs: int
    closing: int
    pairs: bool

    def sources(self, batch: int) -> tuple[Ints, Ints]:
        """(row, column) of every element in what the stage before left, each int64 (columns * batch, inner)."""
        column = np.arange(self.columns * batch)[:, None]
        inner = np.arange(self.inner)[None, :]
        if not self.outputs:
            return np.broadcast_to(inner, (column.size, self.inner)), np.broadcast_to(column, (column.size, self.inner))
        a, rest = inner % self.rank, inner // self.rank
        e, j = rest % self.closing, rest // self.closing
        if self.closing == 1:
            row, other = a * self.outputs + column % self.outputs, column // self.outputs
            return row + 0 * other, j * (column.size // self.outputs) + other
        if self.pairs:  # the closing index is still in the rows
            plain = self.outputs // self.closing
            row, other = a * self.outputs + e * plain + column % plain, column // plain
            return row, j * batch + other + 0 * row
        inside = self.columns // self.outputs  # columns of one sample and one closing index
        row, other = a * self.outputs + column % self.outputs, column // self.outputs
        sample, x = other // inside, other % inside
        return row + 0 * other, ((j * batch + sample) * self.closing + e) * inside + x


@dataclass(frozen=True)
class Machine:
    """PEs x MACs, and the banks of each of the two working memories."""

    pes: int
    macs: int
    groups: int
    chunks: int
    pack: bool = False

    def blocks(self, stage: Stage, batch: int) -> tuple[int, int, int]:
        """(columns of a block, column blocks, row blocks)."""
        width = self.pes * (max(1, self.macs // stage.rows) if self.pack else 1)
        return width, ceil_div(stage.columns * batch, width), ceil_div(stage.rows, self.macs)

    def words(self, rows: int, columns: int) -> int:
        """Words of each bank that a matrix takes."""
        return ceil_div(rows, self.groups) * ceil_div(columns, self.chunks)

    def words_of(self, train: Train, batch: int) -> int:
        """Words of each bank that the largest matrix between two stages takes."""
        first = train.stages[0]
        sizes = [(first.inner, first.columns), *((s.rows, s.columns) for s in train.stages)]
        return max(self.words(rows, columns * batch) for rows, columns in sizes)


@dataclass(frozen=True)
class StageTimes:
    """Cycles of one stage: `compute` steps; `conflict` while banks were busy; `wait` for results of the stage before.

    `worst` elements of one step lie in one bank; `end` is the first cycle in which all results can be read.
    """

    stage: Stage
    compute: int
    conflict: int
    wait: int
    worst: int
    end: int


@kernel
def contract_kernel(cost, ready, writes, begin, free, out):  # type: ignore[no-untyped-def]
    """Steps one after another.

    cost, ready: int64 (column blocks, inner), cycles of a step and the first in which it may begin; writes: int64
    (column blocks, row blocks); begin: first free cycle; free: the least last cycle of a block that finds the output
    register empty. Fills out[column block, row block] with the first cycle in which a block can be read. Returns
    (next free cycle, least last cycle after, cycles lost to cost and writes, cycles lost to ready).
    """
    now, conflict, wait = begin, 0, 0
    inner = cost.shape[1]
    for block in range(cost.shape[0]):
        for row in range(writes.shape[1]):
            for k in range(inner):
                step = cost[block, k]
                if ready[block, k] > now:
                    wait += ready[block, k] - now
                    now = ready[block, k]
                if k == inner - 1 and free - step + 1 > now:
                    conflict += free - step + 1 - now
                    now = free - step + 1
                now += step
                conflict += step - 1
            free = now - 1 + writes[block, row]
            out[block, row] = free + 2
    return now, free, conflict, wait


@contract_kernel.warms_up_with
def _example():  # type: ignore[no-untyped-def]
    ones = np.ones((1, 1), np.int64)
    return ones, ones, ones, 0, 0, ones.copy()


@lru_cache(maxsize=256)
def contract(train: Train, batch: int, machine: Machine) -> tuple[StageTimes, ...]:
    """When each stage of `batch` products runs, from cycle 0 on."""
    found: list[StageTimes] = []
    now = free = 0
    done, before = np.zeros((1, 1), np.int64), (0, 0)
    for stage in train.stages:
        width, blocks, row_blocks = machine.blocks(stage, batch)
        rows, columns = stage.sources(batch)
        banks = (rows % machine.groups) * machine.chunks + columns % machine.chunks
        cost = _per_block(_busiest, banks, width)
        ready = np.zeros_like(cost)
        if found:
            ready = _per_block(lambda x: x.max(1), done[columns // before[0], rows // before[1]], width)
        writes = np.outer(
            -(-np.minimum(width, stage.columns * batch - np.arange(blocks) * width) // machine.chunks),
            -(-np.minimum(machine.macs, stage.rows - np.arange(row_blocks) * machine.macs) // machine.groups),
        )
        done, before = np.zeros((blocks, row_blocks), np.int64), (width, machine.macs)
        now, free, conflict, wait = (int(x) for x in contract_kernel(cost, ready, writes, now, free, done))
        compute = blocks * row_blocks * stage.inner
        found.append(StageTimes(stage, compute, conflict, wait, int(cost.max()), int(done.max())))
    return tuple(found)


def _per_block(reduce, values: Ints, width: int) -> Ints:  # type: ignore[no-untyped-def]
    """`reduce` (blocks, width, inner) over the columns of each block; the last block is narrower."""
    whole = len(values) // width
    parts = [reduce(values[: whole * width].reshape(whole, width, -1))] if whole else []
    if len(values) % width:
        parts.append(reduce(values[None, whole * width :]))
    return np.ascontiguousarray(np.concatenate(parts), np.int64)


def _busiest(banks: Ints) -> Ints:
    """Most equal values along axis 1."""
    ordered = np.sort(banks, axis=1)
    place = np.arange(ordered.shape[1])[None, :, None]
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    begin = np.maximum.accumulate(np.where(first, place, 0), axis=1)
    return np.asarray((place - begin + 1).max(1), np.int64)
