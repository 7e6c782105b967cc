"""A tensor-train engine register by register: banks with one port each way, operand, sum and output registers.

Written from the hardware's point of view: every address is made from the digits of its indices, every bank counts what
its port does in a cycle (twice is an error), a block may be read when its flag says that it is written. One pass of
`TrainRtl.clock` is one clock edge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Word = tuple[int, int]  # row and column of an element of a stored matrix
Digits = dict[str, int]


def split(value: int, radix: list[tuple[str, int]]) -> Digits:
    """Digits of a number, the last one fastest."""
    found = {}
    for name, size in reversed(radix):
        found[name], value = value % size, value // size
    assert value == 0
    return found


def join(digits: Digits, radix: list[tuple[str, int]]) -> int:
    """The number of these digits."""
    value = 0
    for name, size in radix:
        value = value * size + digits[name]
    return value


@dataclass
class Layout:
    """How the results of a stage are numbered: digits of its rows and of its columns."""

    rows: list[tuple[str, int]]
    columns: list[tuple[str, int]]

    def size(self) -> tuple[int, int]:
        return prod(s for _, s in self.rows), prod(s for _, s in self.columns)

    def place(self, digits: Digits) -> Word:
        return join(digits, self.rows), join(digits, self.columns)


@dataclass
class Step:
    """What the control logic sends along with one row of operands."""

    weights: list[int]
    at: list[Word]
    rows: range
    columns: range
    block: tuple[int, int, int]
    first: bool
    last: bool
    writes: int


@dataclass
class Memory:
    """Banks of words; a bank serves one read and one write a cycle."""

    groups: int
    chunks: int
    columns: int = 1
    words: dict[tuple[int, int, int], int] = field(default_factory=dict)
    ports: Counter[tuple[str, int, int]] = field(default_factory=Counter)

    def bank(self, at: Word) -> tuple[int, int]:
        return at[0] % self.groups, at[1] % self.chunks

    def _address(self, at: Word) -> tuple[int, int, int]:
        line = -(-self.columns // self.chunks)
        return (*self.bank(at), at[0] // self.groups * line + at[1] // self.chunks)

    def _port(self, way: str, at: Word) -> None:
        self.ports[(way, *self.bank(at))] += 1
        assert self.ports[(way, *self.bank(at))] == 1, "two accesses of one bank in a cycle"

    def read(self, at: Word) -> int:
        self._port("read", at)
        return self.words[self._address(at)]

    def write(self, at: Word, value: int) -> None:
        self._port("write", at)
        self.words[self._address(at)] = value

    def peek(self, at: Word) -> int:
        return self.words[self._address(at)]

    def preload(self, at: Word, value: int) -> None:
        self.words[self._address(at)] = value


class TrainRtl:
    """`cores` int64 [r_{k-1}, m_k, n_k, r_k]; `vectors` int64 (samples, columns of the matrix)."""

    def __init__(self, cores: list[NDArray[Any]], vectors: NDArray[Any], pes: int, macs: int, groups: int, chunks: int,
                 pack: bool = False) -> None:
        self.cores, self.pes, self.macs, self.pack = cores, pes, macs, pack
        self.d, self.ring, self.samples = len(cores), cores[0].shape[0], len(vectors)
        self.memories = [Memory(groups, chunks), Memory(groups, chunks)]
        self.cycle = self.steps = self.conflicts = self.waits = 0
        # registers: operands of a step on their way to the PEs, sums, results on their way to the memory
        self.operands: tuple[Step, list[int]] | None = None
        self.gathered: dict[int, int] = {}
        self.sums: NDArray[Any] = np.zeros((1, 1), np.int64)
        self.output: list[tuple[Word, int]] = []
        self.output_block = (-1, -1, -1)
        self.output_busy = 0  # a counter: cycles until a last product may arrive, less one
        self.written: set[tuple[int, int, int]] = set()
        self._load(vectors)

    # --- digits ---

    def _inputs(self, below: int) -> list[tuple[str, int]]:
        return [(f"j{k}", self.cores[k].shape[2]) for k in reversed(range(below))]

    def _outputs(self, above: int) -> list[tuple[str, int]]:
        return [(f"i{k}", self.cores[k].shape[1]) for k in reversed(range(above + 1, self.d))]

    def layout(self, h: int) -> Layout:
        """Results of stage h; h = d: the vectors as they are loaded."""
        sample = [("b", self.samples)]
        if h == self.d:
            return Layout([(f"j{h - 1}", self.cores[-1].shape[2])], [*self._inputs(h - 1), *sample])
        outputs = (f"i{h}", self.cores[h].shape[1])
        rank, closing = (f"a{h}", self.cores[h].shape[0]), ("e", self.ring)
        if h == 0:
            return Layout([outputs], [*sample, *self._outputs(0)])
        if h == self.d - 1:
            return Layout([rank, closing, outputs], [*self._inputs(h), *sample])
        return Layout([rank, outputs], [*self._inputs(h), *sample, closing, *self._outputs(h)])

    def inner(self, h: int) -> list[tuple[str, int]]:
        """Digits over which stage h sums."""
        radix = [(f"j{h}", self.cores[h].shape[2])]
        if h < self.d - 1:
            radix += [("e", self.ring)] * (h == 0) + [(f"a{h + 1}", self.cores[h].shape[3])]
        return radix

    def weight(self, h: int, row: Digits, inner: Digits) -> int:
        first = row[f"a{h}"] if h else inner.get("e", 0)
        last = inner[f"a{h + 1}"] if h < self.d - 1 else row.get("e", 0)
        return int(self.cores[h][first, row[f"i{h}"], inner[f"j{h}"], last])

    def _load(self, vectors: NDArray[Any]) -> None:
        layout = self.layout(self.d)
        self.memories[0].columns = layout.size()[1]
        radix = [(f"j{k}", core.shape[2]) for k, core in enumerate(self.cores)]
        for b, vector in enumerate(vectors):
            for index, value in enumerate(vector):
                self.memories[0].preload(layout.place({**split(index, radix), "b": b}), int(value))

    def _home(self, h: int) -> Memory:
        """Where results of stage h go: the memories take turns."""
        return self.memories[(self.d - h) % 2]

    # --- one clock edge ---

    def clock(self, step: Step | None = None, turn: list[int] | None = None, final: bool = False) -> None:
        """Results to the memory; products into sums; words `turn` of a step into operand registers."""
        for memory in self.memories:
            memory.ports.clear()
        left, written = self._drain()
        multiplied, self.operands = self.operands, None
        if step is not None and turn is not None:
            source = self._home(step.block[0] + 1)
            self.gathered |= {i: source.read(step.at[i]) for i in turn}
            if final:
                self.operands = step, [self.gathered[i] for i in range(len(step.at))]
                self.gathered = {}
        # everything above has seen the registers as they were; now they change
        self.output = left
        if multiplied is not None:
            self._multiply(*multiplied)
        self.written |= written
        self.output_busy = max(0, self.output_busy - 1)
        self.cycle += 1
        if final and step is not None and step.last:
            self.output_busy = step.writes - 1

    def _drain(self) -> tuple[list[tuple[Word, int]], set[tuple[int, int, int]]]:
        left, busy = [], set()
        for at, value in self.output:
            target = self._home(self.output_block[0])
            bank = target.bank(at)
            if bank in busy:
                left.append((at, value))
            else:
                busy.add(bank)
                target.write(at, value)
        return left, {self.output_block} if self.output and not left else set()

    def _multiply(self, step: Step, values: list[int]) -> None:
        product = np.outer(step.weights, values)
        self.sums = product if step.first else self.sums + product
        if step.last:
            assert not self.output, "results are overwritten before they are stored"
            places = [(row, column) for row in step.rows for column in step.columns]
            self.output = [(at, int(value)) for at, value in zip(places, self.sums.ravel(), strict=True)]
            self.output_block = step.block

    # --- control ---

    def run(self) -> NDArray[Any]:
        """All stages; returns int64 (samples, rows of the matrix)."""
        block_size: tuple[int, int] | None = None
        for h in reversed(range(self.d)):
            block_size = self._stage(h, block_size)
        while self.operands is not None or self.output:
            self.clock()
        radix = [(f"i{k}", core.shape[1]) for k, core in enumerate(self.cores)]
        layout, memory = self.layout(0), self._home(0)
        found = np.zeros((self.samples, prod(size for _, size in radix)), np.int64)
        for b, index in np.ndindex(*found.shape):
            found[b, index] = memory.peek(layout.place({**split(index, radix), "b": b}))
        return found

    def _stage(self, h: int, before: tuple[int, int] | None) -> tuple[int, int]:
        earlier, here, inner = self.layout(h + 1), self.layout(h), self.inner(h)
        rows, columns = here.size()
        depth = prod(size for _, size in inner)
        width = self.pes * (max(1, self.macs // rows) if self.pack else 1)
        target = self._home(h)
        target.columns = columns
        for c0 in range(0, columns, width):
            cs = range(c0, min(columns, c0 + width))
            for r0 in range(0, rows, self.macs):
                rs = range(r0, min(rows, r0 + self.macs))
                writes = max(Counter(target.bank((r, c)) for r in rs for c in cs).values())
                for k in range(depth):
                    digits = split(k, inner)
                    weights = [self.weight(h, split(r, here.rows), digits) for r in rs]
                    at = [earlier.place({**split(c, here.columns), **digits}) for c in cs]
                    block = (h, c0 // width, r0 // self.macs)
                    needs = {(h + 1, c // before[0], r // before[1]) for r, c in at} if before else set()
                    self._step(Step(weights, at, rs, cs, block, k == 0, k == depth - 1, writes), needs)
        return width, self.macs

    def _step(self, step: Step, needs: set[tuple[int, int, int]]) -> None:
        """Wait for what is read and for the output register, then read, one word of a bank in a cycle."""
        source, turns = self._home(step.block[0] + 1), list[list[int]]()
        seen: Counter[tuple[int, int]] = Counter()
        for i, word in enumerate(step.at):
            turn = seen[source.bank(word)]
            seen[source.bank(word)] += 1
            if turn == len(turns):
                turns.append([])
            turns[turn].append(i)
        while not needs <= self.written:
            self.waits += 1
            self.clock()
        while step.last and self.output_busy > len(turns) - 1:
            self.conflicts += 1
            self.clock()
        for number, turn_words in enumerate(turns):
            self.clock(step, turn_words, number == len(turns) - 1)
        self.conflicts += len(turns) - 1
        self.steps += 1
