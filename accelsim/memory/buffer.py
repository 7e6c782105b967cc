"""On-chip buffers: banks, ports, and who waits when several streams want the same bank.

A buffer has `banks` banks of words of `word_bits`. In a cycle each bank serves at most `read_ports` reads and
`write_ports` writes, or `read_write_ports` of either kind. Requesters are *streams*: strided address patterns
(`Stream`), in words of the buffer.

- Streams of the array move in lockstep: a step is complete when all its words have been served, in whatever
  order their banks allow; then the array takes its next step. Without conflicts a step takes one cycle.
- A DMA stream asks for its words in order, up to `words` of them a cycle; one that is refused holds up those
  behind it. All DMA streams are there from the first cycle.
- `dma` says which kind comes first in a cycle; within a kind, `arbitration`: `fixed` serves streams in the order
  of their numbers; `round_robin` begins, in cycle c, with stream c mod n of the n of its kind, and goes on in the
  order of their numbers. There are no other ties.

Two requests for the same word are two accesses: nothing is combined.

This is a model of its own, with DMA and array in one cycle. Whole runs use `port_cycles` (fidelity `bandwidth`) and
`accelsim.memory.buffer_lockstep` (`detailed`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from accelsim.base.errors import ConfigError
from accelsim.base.spec import Spec
from accelsim.memory.buffer_kernel import FIELDS, contend_kernel

Operand = Literal["ifmap", "filter", "psum", "ofmap"]
Ints = NDArray[np.int64]


class BankedMemory(Spec):
    """Banks and ports of a buffer; without any `*_ports` nothing limits its accesses."""

    capacity_bytes: int = pydantic.Field(ge=1, le=2**40, description="bytes, all banks")
    word_bits: int = pydantic.Field(default=64, ge=1, le=65536, description="bits that one access moves")
    banks: int = pydantic.Field(default=1, ge=1, le=4096, description="banks that work at the same time")
    read_ports: int | None = pydantic.Field(default=None, ge=1, le=64, description="reads of a bank per cycle")
    write_ports: int | None = pydantic.Field(default=None, ge=1, le=64, description="writes of a bank per cycle")
    read_write_ports: int | None = pydantic.Field(
        default=None, ge=1, le=64, description="accesses of a bank per cycle, of either kind (instead of the two above)"
    )
    interleave: Literal["word", "block", "operand"] = pydantic.Field(
        default="word",
        description="word: successive words in successive banks; block: blocks of `block_words`; "
        "operand: each operand has banks of its own (`operand_banks`), its words interleaved over them",
    )
    block_words: int | None = pydantic.Field(default=None, ge=1, description="for interleave: block")
    operand_banks: dict[Operand, int] | None = pydantic.Field(default=None, description="for interleave: operand")
    arbitration: Literal["fixed", "round_robin"] = pydantic.Field(
        default="fixed", description="order of streams in accelsim.memory.buffer.contend; changes no whole run"
    )
    dma: Literal["leftover", "first"] = pydantic.Field(
        default="leftover", description="fill and drain take the slots that the array leaves, or come before it"
    )

    @pydantic.model_validator(mode="after")
    def _banked(self) -> Any:
        separate = self.read_ports is not None or self.write_ports is not None
        if self.read_write_ports is not None and separate:
            raise ValueError("read_write_ports must not be given together with read_ports or write_ports")
        if separate and (self.read_ports is None or self.write_ports is None):
            raise ValueError("read_ports and write_ports must be given together (or read_write_ports instead)")
        if not self.limited:
            if self.banks > 1 or self.interleave != "word" or self.arbitration != "fixed" or self.dma != "leftover":
                raise ValueError(
                    "banks, interleave, arbitration and dma need ports: give read_ports and write_ports, "
                    "or read_write_ports"
                )
        else:
            self._divides()
        self._interleaves()
        return self

    def _divides(self) -> None:
        bits = 8 * self.capacity_bytes
        if bits % (self.banks * self.word_bits):
            raise ValueError(
                f"capacity_bytes must be whole words of {self.word_bits} bits in each of {self.banks} banks, "
                f"got {self.capacity_bytes}"
            )
        ports = max(self.read_write_ports or 0, (self.read_ports or 0) + (self.write_ports or 0))
        if ports > self.bank_words and self.bank_words > 1:
            raise ValueError(f"a bank must have at most as many ports as words ({self.bank_words}), got {ports}")

    def _interleaves(self) -> None:
        if (self.block_words is not None) != (self.interleave == "block"):
            raise ValueError("block_words must be given with interleave: block, and only then")
        if (self.operand_banks is not None) != (self.interleave == "operand"):
            raise ValueError("operand_banks must be given with interleave: operand, and only then")
        if self.interleave != "operand":
            if self.block_words is not None and not _power_of_two(self.block_words):
                raise ValueError(f"block_words must be a power of two, got {self.block_words}")
            if self.block_words is not None and self.block_words > self.bank_words:
                raise ValueError(f"block_words must be at most the words of a bank ({self.bank_words})")
        for operand, count in (self.operand_banks or {}).items():
            if count < 1:
                raise ValueError(f"operand_banks.{operand} must be >= 1, got {count}")
        given = sum((self.operand_banks or {}).values())
        if given > self.banks:
            raise ValueError(f"operand_banks must be at most banks ({self.banks}) in all, got {given}")
        if self.operand_banks is not None and not self.operand_banks:
            raise ValueError("operand_banks must name at least one operand")

    @property
    def limited(self) -> bool:
        """Whether ports are given at all."""
        return self.read_write_ports is not None or self.read_ports is not None

    @property
    def bank_words(self) -> int:
        """Words of one bank."""
        return 8 * self.capacity_bytes // (self.word_bits * self.banks)

    def words(self, count: Any, bits: int) -> Any:
        """Buffer words that `count` elements (int or array) of `bits` bits fill, packed."""
        return -(-(count * bits) // self.word_bits)

    def group_of(self, operand: str) -> tuple[int, int, int]:
        """Where an operand's words lie: (first bank, banks, words of a block).

        Raises
        ------
        ConfigError
            If `interleave: operand` gives it no bank.
        """
        if self.operand_banks is None:
            return 0, self.banks, self.block_words or 1
        first = 0
        for name, count in self.operand_banks.items():
            if name == operand:
                return first, count, 1
            first += count
        raise ConfigError(f"operand_banks gives no bank to {operand}; it names {', '.join(self.operand_banks)}")

    def parameters(self) -> Ints:
        """As the kernels read them: banks, ports for reads, for writes, for both (or 0), and two flags."""
        return np.array(
            [
                self.banks,
                self.read_ports or 0,
                self.write_ports or 0,
                self.read_write_ports or 0,
                self.arbitration == "round_robin",
                self.dma == "first",
            ],
            np.int64,
        )


class BufferSpec(BankedMemory):
    """A buffer with limited ports, as the cycle-level model needs it."""

    @pydantic.model_validator(mode="after")
    def _has_ports(self) -> Any:
        if not self.limited:
            raise ValueError("needs read_ports and write_ports, or read_write_ports")
        return self


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True)
class Stream:
    """One requester: in step t it wants the words `base + t * step_stride + i * word_stride`, 0 <= i < words.

    Parameters
    ----------
    operand : str
        Whose words: decides the banks under `interleave: operand`.
    write : bool
    base : int
        First word (buffer words, >= 0).
    words : int
        Words of a step; of a DMA stream: at most so many a cycle.
    word_stride, step_stride : int
        In words, >= 0.
    steps : int
        0: the stream is absent.
    dma : bool
        Fill or drain instead of the array.
    """

    operand: str
    write: bool
    base: int
    words: int
    word_stride: int
    step_stride: int
    steps: int
    dma: bool = False


@dataclass(frozen=True)
class Contention:
    """What a buffer did in one pass.

    Attributes
    ----------
    array_cycles : int
        Until the array's last step is complete.
    stall_cycles : int
        `array_cycles` less the array's steps.
    finish : int64 array, one for each stream
        Cycles until its last word has been served (a stream of the array: until its last step is complete).
    refused : int64 array, one for each stream
        Words that were asked for and not served, summed over cycles.
    served : int64 array of shape (banks, 2)
        Words read and written in each bank.
    simulated_cycles : int
        Cycles that were stepped through; the others repeat them.
    """

    array_cycles: int
    stall_cycles: int
    finish: Ints
    refused: Ints
    served: Ints
    simulated_cycles: int

    def port_utilization(self, spec: BankedMemory) -> float:
        """Words served over those that all ports could have served, until the last stream's end."""
        ports = spec.read_write_ports or (spec.read_ports or 0) + (spec.write_ports or 0)
        length = int(self.finish.max(initial=0))
        return float(self.served.sum()) / (ports * spec.banks * length) if length else 0.0


def encode(spec: BankedMemory, streams: Sequence[Stream]) -> Ints:
    """Streams as the kernels read them: int64 of shape (streams, FIELDS).

    Raises
    ------
    ConfigError
        For a stream without words, a negative number, or an operand without banks.
    """
    out = np.zeros((len(streams), FIELDS), np.int64)
    for row, s in enumerate(streams):
        where = f"stream {row} ({s.operand})"
        if s.words < 1:
            raise ConfigError(f"words must be >= 1, got {s.words}", where)
        for name in ("base", "word_stride", "step_stride", "steps"):
            if getattr(s, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(s, name)}", where)
        pattern = (s.base, s.words, s.word_stride, s.step_stride, s.steps, s.write, s.dma)
        first, banks, block = spec.group_of(s.operand)
        span = banks * block
        repeats = (span // math.gcd(span, s.step_stride), span // math.gcd(span, s.word_stride))
        out[row] = (*pattern, first, banks, block, *repeats)
    return out


def contend(spec: BufferSpec, streams: Sequence[Stream]) -> Contention:
    """Play one pass: exact, and in time that depends on the period of the patterns, not on their length.

    Raises
    ------
    ConfigError
        See `encode`.
    """
    table = encode(spec, streams)
    finish, refused = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
    served = np.zeros((spec.banks, 2), np.int64)
    array, stepped = contend_kernel(table, spec.parameters(), finish, refused, served)
    steps = max((s.steps for s in streams if not s.dma), default=0)
    return Contention(int(array), int(array) - steps, finish, refused, served, int(stepped))


def port_cycles(spec: BankedMemory, reads: Mapping[str, Any], writes: Mapping[str, Any]) -> Ints:
    """Least cycles in which the ports serve whole tiles: the limit of streams that queues take off the lockstep.

    Each operand's words are read (or written) one after another, as one DMA stream of stride 1 that begins
    at bank 0 of its group: it comes in rows, one word from every bank of the group, and a cycle takes one row for
    each port. Operands of one group share its ports: cycles = ceil(sum of rows / ports), the largest over
    groups and over reads and writes (together, if they share ports). Under `interleave: block` the streams
    of a pass are taken to meet in one bank at a time, the worst placement.

    Parameters
    ----------
    spec : BankedMemory
    reads, writes : mapping of str to int or int64 array
        Operand -> words of the buffer, for each pass.

    Returns
    -------
    int64 array, one for each pass (0 if the buffer is not limited)
    """
    shape = np.broadcast_shapes((), *(np.shape(v) for v in (*reads.values(), *writes.values())))
    least = np.zeros(shape, np.int64)
    if not spec.limited:
        return least
    shared = spec.read_write_ports is not None
    rows: dict[tuple[int, bool], Any] = {}
    for is_write, table in ((False, reads), (True, writes)):
        for operand, words in table.items():
            first, count, block = spec.group_of(operand)
            width = 1 if block > 1 else count
            key = (first, is_write and not shared)
            rows[key] = rows.get(key, 0) + -(-np.asarray(words, np.int64) // width)
    for (_, is_write), total in rows.items():
        ports = spec.read_write_ports or (spec.write_ports if is_write else spec.read_ports) or 1
        least = np.maximum(least, -(-total // ports))
    return least


def port_stalls(spec: BankedMemory, cycles: Any, reads: Mapping[str, Any], writes: Mapping[str, Any]) -> Ints:
    """Cycles by which the ports prolong passes that would take the array `cycles`: see `port_cycles`."""
    beyond: Ints = np.maximum(0, port_cycles(spec, reads, writes) - np.asarray(cycles, np.int64))
    return beyond
