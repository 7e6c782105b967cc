"""Banks and ports: the fast kernels equal a buffer that is stepped cycle by cycle, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.spec import build
from accelsim.base.yamlio import parse_yaml
from accelsim.memory.buffer import BufferSpec, Stream, contend, port_cycles, port_stalls
from accelsim.memory.buffer_lockstep import lockstep_stalls
from accelsim.sim.accesses import BURST_DTYPE

OPERANDS = ("ifmap", "filter", "psum", "ofmap")


class Stepped:
    """The rules once more, without any shortcut: every word of a step is an entry of a list."""

    def __init__(self, spec: BufferSpec, streams: Sequence[Stream]) -> None:
        self.spec, self.streams = spec, streams
        self.finish = [0] * len(streams)
        self.refused = [0] * len(streams)
        self.served = [[0, 0] for _ in range(spec.banks)]
        self.array_cycles = 0
        self.cycle = 0
        self.queue = {
            i: [self.bank(s, t, w) for t in range(s.steps) for w in range(s.words)]
            for i, s in enumerate(streams)
            if s.dma
        }
        steps = max((s.steps for s in streams if not s.dma), default=0)
        for step in range(steps):
            wanted = {
                i: [self.bank(s, step, w) for w in range(s.words)]
                for i, s in enumerate(streams)
                if not s.dma and s.steps > step
            }
            while True:
                self.step(wanted)
                if not any(wanted.values()):
                    break
            for i in wanted:
                self.finish[i] = self.cycle
        self.array_cycles = self.cycle
        while any(self.queue.values()):
            self.step({})

    def bank(self, s: Stream, step: int, word: int) -> int:
        address = s.base + step * s.step_stride + word * s.word_stride
        spec = self.spec
        if spec.operand_banks is not None:
            first = 0
            for operand, banks in spec.operand_banks.items():
                if operand == s.operand:
                    return first + address % banks
                first += banks
        return address // (spec.block_words or 1) % spec.banks

    def step(self, wanted: dict[int, list[int]]) -> None:
        spec = self.spec
        both = [spec.read_write_ports] * spec.banks
        reads, writes = [spec.read_ports] * spec.banks, [spec.write_ports] * spec.banks
        kinds = [True, False] if spec.dma == "first" else [False, True]
        for dma in kinds:
            members = [i for i, s in enumerate(self.streams) if s.dma == dma]
            if spec.arbitration == "round_robin" and members:
                turn = self.cycle % len(members)
                members = members[turn:] + members[:turn]
            for i in members:
                s = self.streams[i]
                slots: list[Any] = both if spec.read_write_ports else writes if s.write else reads
                if dma:
                    window = self.queue[i][: s.words]
                    for bank in window:
                        if not slots[bank]:
                            break
                        slots[bank] -= 1
                        self.served[bank][s.write] += 1
                        self.queue[i].pop(0)
                        if not self.queue[i]:
                            self.finish[i] = self.cycle + 1
                        window = window[1:]
                    self.refused[i] += len(window)
                elif i in wanted:
                    left = []
                    for bank in wanted[i]:
                        if slots[bank]:
                            slots[bank] -= 1
                            self.served[bank][s.write] += 1
                        else:
                            left.append(bank)
                    wanted[i] = left
                    self.refused[i] += len(left)
        self.cycle += 1


@st.composite
def specs(draw: st.DrawFn) -> BufferSpec:
    ports: dict[str, Any] = {"read_write_ports": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        ports = {"read_ports": draw(st.integers(1, 2)), "write_ports": draw(st.integers(1, 2))}
    kind = draw(st.sampled_from(["word", "block", "operand"]))
    more: dict[str, Any] = {"interleave": kind, "banks": draw(st.sampled_from([1, 2, 4]))}
    if kind == "block":
        more["block_words"] = draw(st.sampled_from([1, 2, 4]))
    if kind == "operand":
        more["operand_banks"] = {o: draw(st.sampled_from([1, 2])) for o in OPERANDS}
        more["banks"] = 9
    return BufferSpec(
        capacity_bytes=more["banks"] * 1024,
        arbitration=draw(st.sampled_from(["fixed", "round_robin"])),
        dma=draw(st.sampled_from(["leftover", "first"])),
        **ports,
        **more,
    )


STREAMS = st.lists(
    st.builds(
        Stream,
        operand=st.sampled_from(OPERANDS),
        write=st.booleans(),
        base=st.integers(0, 9),
        words=st.integers(1, 5),
        word_stride=st.integers(0, 5),
        step_stride=st.integers(0, 9),
        steps=st.one_of(st.integers(0, 12), st.integers(30, 90)),
        dma=st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(specs(), STREAMS)
def test_equals_the_stepped_buffer(spec: BufferSpec, streams: list[Stream]) -> None:
    slow, fast = Stepped(spec, streams), contend(spec, streams)
    assert fast.array_cycles == slow.array_cycles
    assert fast.finish.tolist() == slow.finish
    assert fast.refused.tolist() == slow.refused
    assert fast.served.tolist() == slow.served
    assert fast.served.sum() == sum(s.words * s.steps for s in streams)  # no word lost, none twice
    steps = max((s.steps for s in streams if not s.dma), default=0)
    assert fast.stall_cycles == slow.array_cycles - steps >= 0


@settings(deadline=None, derandomize=True, max_examples=100)
@given(specs(), STREAMS)
def test_the_array_alone_waits_as_in_whole_runs(spec: BufferSpec, streams: list[Stream]) -> None:
    """There, words wanted twice in a step are read once, and operands that share banks begin at different ones."""
    array = [replace(s, word_stride=max(1, s.word_stride)) for s in streams if not s.dma and s.steps]
    if not spec.operand_banks:
        array = [replace(s, operand="ifmap") for s in array]
    bursts, tables = np.zeros(len(array), BURST_DTYPE), [np.zeros(0, np.int64)]
    for row, s in zip(bursts, array, strict=True):
        row["operand"], row["write"], row["steps"], row["lanes"] = OPERANDS.index(s.operand), s.write, s.steps, s.words
        row["per"], row["step_at"] = 1, sum(map(len, tables))
        tables.append(s.base + np.arange(s.steps) * s.step_stride)
        row["lane_at"] = sum(map(len, tables))
        tables.append(np.arange(s.words) * s.word_stride)
    bits = {operand: spec.word_bits for operand in OPERANDS}
    parts = [(spec, tuple(spec.operand_banks or ("ifmap",)))]
    assert sum(lockstep_stalls(parts, bits, bursts, np.concatenate(tables))) == contend(spec, array).stall_cycles


@settings(deadline=None, derandomize=True, max_examples=60)
@given(specs(), STREAMS)
def test_the_array_alone_is_not_slower_than_with_dma(spec: BufferSpec, streams: list[Stream]) -> None:
    alone = contend(spec, [s for s in streams if not s.dma]).array_cycles
    together = contend(spec, streams).array_cycles
    assert together == alone if spec.dma == "leftover" else together >= alone


def test_time_depends_on_the_period_not_on_the_length() -> None:
    spec = BufferSpec(capacity_bytes=2**20, banks=16, read_write_ports=1)
    n = 10**9
    array = [
        Stream("ifmap", False, 0, 4, 1, 4, n),
        Stream("psum", True, 3, 4, 1, 4, n),  # its fourth word meets the ifmap's third and so on, every step
    ]
    fill = Stream("filter", True, 0, 8, 1, 8, n // 4, dma=True)
    for dma in ("leftover", "first"):
        done = contend(spec.model_copy(update={"dma": dma}), [*array, fill])
        assert done.simulated_cycles < 1000
        assert done.served.sum() == 8 * n + 8 * (n // 4)
    # words 0-3 and 3-6 of the same row: bank 3 is wanted twice in each step
    assert contend(spec, array).array_cycles == 2 * n


def test_conflicts_by_hand() -> None:
    spec = BufferSpec(capacity_bytes=4096, banks=4, read_ports=1, write_ports=1)

    def stalls(words: int, word_stride: int, step_stride: int) -> int:
        return contend(spec, [Stream("ifmap", False, 0, words, word_stride, step_stride, 10)]).stall_cycles

    assert stalls(4, 1, 4) == 0  # a row of all banks
    assert stalls(4, 2, 8) == 10  # stride 2: two banks take two words each
    assert stalls(4, 4, 16) == 30  # stride 4: one bank takes all
    assert stalls(4, 5, 20) == 0  # a stride that shares no factor with the banks
    assert stalls(5, 1, 5) == 10  # more words than ports
    # a read and a write of the same bank do not meet if each has its port
    pair = [Stream("psum", False, 0, 4, 1, 4, 10), Stream("psum", True, 0, 4, 1, 4, 10)]
    assert contend(spec, pair).stall_cycles == 0
    one = BufferSpec(capacity_bytes=4096, banks=4, read_write_ports=1)
    assert contend(one, pair).stall_cycles == 10
    assert contend(one, pair).port_utilization(one) == 1.0


def test_who_comes_first() -> None:
    one = BufferSpec(capacity_bytes=4096, read_write_ports=1)
    array, fill = Stream("ifmap", False, 0, 1, 1, 1, 5), Stream("filter", True, 0, 1, 1, 1, 3, dma=True)
    leftover = contend(one, [array, fill])
    assert leftover.finish.tolist() == [5, 8] and leftover.refused.tolist() == [0, 5]
    first = contend(one.model_copy(update={"dma": "first"}), [array, fill])
    assert first.finish.tolist() == [8, 3] and first.stall_cycles == 3 and first.refused.tolist() == [3, 0]
    twins = [fill, fill]
    assert contend(one, twins).finish.tolist() == [3, 6]
    assert contend(one.model_copy(update={"arbitration": "round_robin"}), twins).finish.tolist() == [5, 6]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from(["fixed", "round_robin"]),
    st.lists(st.tuples(st.sampled_from(OPERANDS), st.booleans(), st.integers(0, 70)), min_size=1, max_size=4),
)
def test_the_port_limit_is_what_streams_in_order_take(
    banks: int, ports: int, shared: bool, arbitration: Any, work: list[tuple[str, bool, int]]
) -> None:
    limit: dict[str, Any] = {"read_write_ports": ports} if shared else {"read_ports": ports, "write_ports": ports}
    spec = BufferSpec(capacity_bytes=banks * 4096, banks=banks, arbitration=arbitration, **limit)
    work = list({(operand, write): (operand, write, words) for operand, write, words in work}.values())
    reads = {operand: words for operand, write, words in work if not write}
    writes = {operand: words for operand, write, words in work if write}
    # each cycle a stream offers as much as all ports could take; `words` of it, the last row may be ragged
    streams = []
    for operand, write, words in work:
        wide = Stream(operand, write, 0, words, 1, 0, 1, dma=True) if words else None
        streams += [wide] if wide else []
    slow = max(Stepped(spec, streams).finish, default=0)
    assert port_cycles(spec, reads, writes) == slow == contend(spec, streams).finish.max(initial=0)
    assert port_stalls(spec, 7, reads, writes) == max(0, slow - 7)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 16), st.integers(0, 16), st.booleans())
def test_blocks_are_counted_at_their_worst(ifmap: int, psum: int, together: bool) -> None:
    spec = BufferSpec(capacity_bytes=4096, banks=4, read_write_ports=1, interleave="block", block_words=16)
    base = 0 if together else 16
    work = (("ifmap", 0, ifmap), ("psum", base, psum))
    streams = [Stream(o, False, at, words, 1, 0, 1, dma=True) for o, at, words in work if words]
    taken = contend(spec, streams).finish.max(initial=0)
    limit = port_cycles(spec, {"ifmap": ifmap, "psum": psum}, {})
    assert taken == limit if together else taken <= limit


def test_operands_with_banks_of_their_own_do_not_wait_for_each_other() -> None:
    spec = BufferSpec(
        capacity_bytes=7 * 1024,
        banks=7,
        read_write_ports=1,
        interleave="operand",
        operand_banks={"ifmap": 4, "psum": 2},
    )
    assert port_cycles(spec, {"ifmap": 100, "psum": 30}, {"psum": 30}) == 30
    assert port_cycles(spec, {"ifmap": np.array([200, 8]), "psum": 30}, {"psum": 30}).tolist() == [50, 30]
    with pytest.raises(ConfigError, match="operand_banks gives no bank to filter; it names ifmap, psum"):
        port_cycles(spec, {"filter": 1}, {})


def test_words_are_packed() -> None:
    spec = BufferSpec(capacity_bytes=1024, word_bits=64, read_write_ports=1)
    assert spec.words(9, 16) == 3
    assert spec.words(np.array([4, 5]), 16).tolist() == [1, 2]


#: JSSC 2017 Table III (m is what fits the buffer; not needed here), and the layers of its AlexNet.
EYERISS = {
    # groups, M and C of one, R, E, n, e, p, q, r, t, ms of the pass model for a batch of 4 at 200 MHz
    "CONV1": (1, 96, 3, 11, 55, 1, 7, 16, 1, 1, 2, 16.7),
    "CONV2": (2, 128, 48, 5, 27, 1, 27, 16, 2, 1, 1, 36.3),
    "CONV3": (1, 384, 256, 3, 13, 4, 13, 16, 4, 1, 4, 23.0),
    "CONV4": (2, 192, 192, 3, 13, 4, 13, 16, 3, 2, 2, 16.0),
    "CONV5": (2, 128, 192, 3, 13, 4, 13, 16, 3, 2, 2, 10.7),
}


@pytest.mark.parametrize("layer", EYERISS)
def test_eyeriss_psum_limit_of_the_global_buffer(layer: str) -> None:
    """Psums pass four words of 16 bits a cycle each way: one 64-bit access of a read and of a write port.

    Filters come between passes, two words a cycle.
    """
    groups, m, c, r_filter, e_out, n, e, p, q, r, t, ms = EYERISS[layer]
    psums = BufferSpec(capacity_bytes=100 * 1024, word_bits=64, read_ports=1, write_ports=1)
    filters = BufferSpec(capacity_bytes=8 * 1024, word_bits=32, read_ports=1, write_ports=1)
    macs = n * e_out * r_filter * p * q  # of each PE, one a cycle
    psum_words = psums.words(n * p * t * e * e_out, 16)
    stall = port_stalls(psums, macs, {"psum": psum_words}, {"psum": psum_words})
    load = port_cycles(filters, {"filter": filters.words(p * t * q * r * r_filter**2, 16)}, {})
    passes = groups * -(-m // (p * t)) * -(-c // (q * r)) * (4 // n) * -(-e_out // e)
    assert (stall > 0) == (layer == "CONV3")  # the one layer whose psums outlast its MACs
    cycles = passes * (macs + int(stall) + int(load))
    assert cycles / 200e6 * 1e3 == pytest.approx(ms, abs=0.06)
    # half the width binds more layers
    narrow = psums.model_copy(update={"word_bits": 32})
    words = narrow.words(n * p * t * e * e_out, 16)
    assert (port_stalls(narrow, macs, {"psum": words}, {"psum": words}) > 0) == (layer != "CONV1")


def _spec(text: str) -> BufferSpec:
    return build(BufferSpec, parse_yaml(text, "buffer.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{capacity_bytes: 0, read_write_ports: 1}", "capacity_bytes.* must be >= 1, got 0"),
        ("{capacity_bytes: 64, banks: 0, read_write_ports: 1}", "banks.* must be >= 1, got 0"),
        ("{capacity_bytes: 64, read_write_ports: 0}", "read_write_ports.* must be >= 1, got 0"),
        ("{capacity_bytes: 64}", "needs read_ports and write_ports, or read_write_ports"),
        ("{capacity_bytes: 64, banks: 2}", "banks, interleave, arbitration and dma need ports"),
        ("{capacity_bytes: 64, read_ports: 1}", "read_ports and write_ports must be given together"),
        (
            "{capacity_bytes: 64, read_ports: 1, read_write_ports: 1}",
            "read_write_ports must not be given together with read_ports",
        ),
        ("{capacity_bytes: 60, banks: 2, read_write_ports: 1}", "whole words of 64 bits in each of 2 banks, got 60"),
        ("{capacity_bytes: 32, banks: 2, read_write_ports: 3}", "at most as many ports as words .2., got 3"),
        ("{capacity_bytes: 64, read_write_ports: 1, block_words: 2}", "block_words must be given with interleave"),
        ("{capacity_bytes: 64, read_write_ports: 1, interleave: block}", "block_words must be given with"),
        (
            "{capacity_bytes: 64, read_write_ports: 1, interleave: block, block_words: 3}",
            "block_words must be a power of two, got 3",
        ),
        (
            "{capacity_bytes: 64, read_write_ports: 1, interleave: block, block_words: 16}",
            "at most the words of a bank .8.",
        ),
        ("{capacity_bytes: 64, read_write_ports: 1, interleave: operand}", "operand_banks must be given with"),
        (
            "{capacity_bytes: 64, banks: 2, read_write_ports: 1, interleave: operand, operand_banks: {psum: 0}}",
            "operand_banks.psum must be >= 1, got 0",
        ),
        (
            "{capacity_bytes: 64, banks: 2, read_write_ports: 1, interleave: operand,"
            " operand_banks: {psum: 2, ifmap: 1}}",
            "operand_banks must be at most banks .2. in all, got 3",
        ),
        (
            "{capacity_bytes: 64, read_write_ports: 1, interleave: operand, operand_banks: {}}",
            "operand_banks must name at least one operand",
        ),
        ("{capacity_bytes: 64, read_write_ports: 1, interleave: words}", "must be one of 'word', 'block' or 'operand'"),
        ("{capacity_bytes: 64, read_write_port: 1}", "unknown key; did you mean read_write_ports"),
    ],
)
def test_contradictions_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _spec(text)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Stream("psum", False, 0, 0, 1, 1, 1), r"stream 0 \(psum\): words must be >= 1, got 0"),
        (Stream("psum", False, -1, 1, 1, 1, 1), "base must be >= 0, got -1"),
        (Stream("psum", False, 0, 1, -2, 1, 1), "word_stride must be >= 0, got -2"),
        (Stream("psum", False, 0, 1, 1, -3, 1), "step_stride must be >= 0, got -3"),
        (Stream("psum", False, 0, 1, 1, 1, -4), "steps must be >= 0, got -4"),
    ],
)
def test_streams_that_mean_nothing_are_refused(stream: Stream, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        contend(BufferSpec(capacity_bytes=64, read_write_ports=1), [stream])
