"""A buffer that serves an array in lockstep, one access after another: the twin of `memory.buffer_lockstep`.

Everything is lists and dictionaries: for each cycle what is wanted, for each bank how often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from accelsim.memory.buffer import BankedMemory


@dataclass
class NaiveBuffer:
    """One buffer, the operands in it, and what they want: (cycle, write) -> words, one entry for each access."""

    spec: BankedMemory
    holds: tuple[str, ...]
    bits: dict[str, int]
    wanted: dict[int, list[tuple[str, bool, int]]] = field(default_factory=lambda: defaultdict(list))

    def words(self, operand: str, element: int) -> list[int]:
        """The words of one element, counted from the beginning of its tile."""
        bits, word = self.bits[operand], self.spec.word_bits
        if bits > word:
            each = (bits + word - 1) // word
            return [element * each + i for i in range(each)]
        return [element // (word // bits)]

    def want(self, cycle: int, operand: str, write: bool, elements: list[int]) -> None:
        """Elements that share their accesses: each word once."""
        if operand in self.holds:
            for word in dict.fromkeys(w for e in elements for w in self.words(operand, e)):
                self.wanted[cycle].append((operand, write, word))

    def _group(self, operand: str) -> tuple[int, int]:
        if self.spec.interleave != "operand":
            return 0, self.spec.banks
        assert self.spec.operand_banks is not None
        first = 0
        for name, banks in self.spec.operand_banks.items():
            if name == operand:
                return first, banks
            first += banks
        raise AssertionError(operand)

    def _bank(self, operand: str, word: int) -> int:
        first, banks = self._group(operand)
        if self.spec.interleave == "operand":
            return first + word % banks
        block = self.spec.block_words or 1
        begins = self.holds.index(operand) * banks // len(self.holds)
        return (begins + word // block) % banks

    def lasts(self, cycle: int) -> tuple[int, int]:
        """(cycles that this cycle takes, cycles that it would take if accesses were spread evenly)."""
        shared = self.spec.read_write_ports
        busy: Counter[tuple[int, bool]] = Counter()
        in_group: Counter[tuple[int, int, bool]] = Counter()
        for operand, write, word in self.wanted.get(cycle, []):
            kind = False if shared else write
            busy[self._bank(operand, word), kind] += 1
            in_group[(*self._group(operand), kind)] += 1

        def ports(kind: bool) -> int:
            return shared or (self.spec.write_ports if kind else self.spec.read_ports) or 1

        lasts = max((-(-count // ports(kind)) for (_, kind), count in busy.items()), default=1)
        even = max((-(-count // (ports(kind) * banks)) for (_, banks, kind), count in in_group.items()), default=1)
        return max(1, lasts), max(1, even)


def naive_stalls(buffers: list[NaiveBuffer]) -> tuple[int, int]:
    """(cycles for ports, cycles for conflicts) of buffers that one array waits for together."""
    ports = conflicts = 0
    for cycle in sorted({c for buffer in buffers for c in buffer.wanted}):
        found = [buffer.lasts(cycle) for buffer in buffers]
        lasts, even = max(a for a, _ in found), max(b for _, b in found)
        ports += even - 1
        conflicts += lasts - even
    return ports, conflicts
