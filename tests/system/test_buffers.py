"""Ports and banks in whole runs: no limit changes nothing, a narrower one never helps, every cycle is attributed."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.base.errors import ConfigError
from accelsim.system.archspec import Architecture, load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Eltwise, Input, Linear, Pool, Recurrent, Reshape
from accelsim.workload.trace import synthetic_trace


def images() -> Network:
    return Network(
        "images",
        [
            Node("x", Input((2, 8, 14, 14))),
            Node("a", Conv(32, 3, 1, 1), ("x",)),
            Node("b", Conv(32, 3, 1, 1), ("a",)),
            Node("add", Eltwise("add"), ("a", "b")),
            Node("pool", Pool("avg", "global"), ("add",)),
            Node("flat", Reshape((0, -1)), ("pool",)),
            Node("fc", Linear(10), ("flat",)),
        ],
    )


def sequence() -> Network:
    return Network("sequence", [Node("x", Input((2, 5, 24))), Node("rnn", Recurrent("lstm", 32), ("x",))])


NETWORKS = {"images": images, "sequence": sequence}


def run(arch: Architecture, network: Network) -> RunResult:
    result = simulate(arch, synthetic_trace(network))
    assert sum(result.cycles_by_cause().values()) == result.cycles == result.timeline.end
    assert min(min(layer.cycles_by_cause.values()) for layer in result.layers) >= 0
    return result


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["tpu_v1", "teaching_4x4"])
def test_ports_that_never_bind_change_nothing(name: str, network: str) -> None:
    net, free = NETWORKS[network](), load_arch(name)
    ports = [f"buffers.{b.name}.{p}_ports=64" for b in free.spec.buffers for p in ("read", "write")]
    plain, wide = run(free, net), run(load_arch(name, ports), net)
    assert plain.cycles_by_cause()["bank_conflict"] == plain.cycles_by_cause()["buffer_ports"] == 0
    assert wide.cycles_by_cause() == plain.cycles_by_cause()
    assert np.array_equal(wide.timeline.passes, plain.timeline.passes)


@pytest.mark.parametrize("fidelity", ["bandwidth", "detailed"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_narrower_unified_buffer_is_never_faster(network: str, fidelity: str) -> None:
    net = NETWORKS[network]()
    base = run(load_arch("tpu_v1"), net)
    last, stalls = base.cycles, []
    for word_bits in (2048, 512, 128, 32, 8):
        keys = [f"word_bits={word_bits}", "read_ports=1", "write_ports=1", f"fidelity={fidelity}"]
        result = run(load_arch("tpu_v1", [f"buffers.unified_buffer.{key}" for key in keys]), net)
        assert result.cycles >= last
        assert result.macs == base.macs
        last = result.cycles
        causes = result.cycles_by_cause()
        stalls.append(causes["buffer_ports"])
        assert causes["bank_conflict"] == 0  # there is one bank
    assert stalls == sorted(stalls) and stalls[-1] > 0
    keys = ["word_bits=8", "read_write_ports=1", f"fidelity={fidelity}"]
    shared = [f"buffers.unified_buffer.{key}" for key in keys]
    assert run(load_arch("tpu_v1", shared), net).cycles >= last
    fill = run(load_arch("tpu_v1", [*shared, "buffers.unified_buffer.dma=first"]), net)
    assert fill.cycles >= run(load_arch("tpu_v1", shared), net).cycles


@pytest.mark.parametrize("network", NETWORKS)
def test_more_banks_are_never_slower(network: str) -> None:
    net, last = NETWORKS[network](), 10**12
    for banks in (1, 2, 8, 64):
        keys = ["word_bits=8", "read_write_ports=1", f"banks={banks}"]
        result = run(load_arch("tpu_v1", [f"buffers.unified_buffer.{key}" for key in keys]), net)
        assert result.cycles <= last
        last = result.cycles


def test_one_layer_counted_by_hand() -> None:
    """A 4x4 weight-stationary array reads 4 ifmap words a cycle; a port of one word makes that four cycles."""
    network = Network("fc", [Node("x", Input((64, 4))), Node("fc", Linear(4, bias=False), ("x",))])
    common = ["dram.fidelity=ideal", "engine={kind: systolic, rows: 4, cols: 4, dataflow: ws}"]
    plain = run(load_arch("teaching_4x4", common), network)
    keys = [f"buffers.ifmap_buffer.{key}" for key in ("word_bits=8", "read_ports=1", "write_ports=64")]
    ports = run(load_arch("teaching_4x4", [*common, *keys]), network)
    passes = len(plain.timeline.passes)
    m = 64 // passes
    # serial weight stationary: load 4, stream m, then 4 + 4 - 2 until the last psum has left
    alone = 4 + m + 6
    assert plain.cycles == passes * alone
    assert ports.cycles == passes * (alone + 3 * m) > plain.cycles  # every step that streams takes four cycles
    assert ports.layers[0].cycles_by_cause["buffer_ports"] == ports.cycles - plain.cycles
    assert ports.layers[0].cycles_by_cause["compute"] == plain.layers[0].cycles_by_cause["compute"]
    queues = run(load_arch("teaching_4x4", [*common, *keys, "buffers.ifmap_buffer.fidelity=bandwidth"]), network)
    assert queues.cycles == passes * max(alone, 4 * m) < ports.cycles  # words wait in queues while the array fills
    assert queues.layers[0].cycles_by_cause["buffer_ports"] == queues.cycles - plain.cycles
    free = run(load_arch("teaching_4x4", [*common, *keys, "buffers.ifmap_buffer.fidelity=ideal"]), network)
    assert free.cycles_by_cause() == plain.cycles_by_cause()


def test_operands_in_banks_of_their_own() -> None:
    keys = ["word_bits=8", "banks=6", "read_write_ports=1", "interleave=operand", "capacity_bytes=25165824"]
    keys = [f"buffers.unified_buffer.{key}" for key in keys]
    split = [*keys, "buffers.unified_buffer.operand_banks={ifmap: 4, ofmap: 2}"]
    assert run(load_arch("tpu_v1", split), images()).cycles_by_cause()["buffer_ports"] > 0
    with pytest.raises(ConfigError, match="operand_banks of 'unified_buffer' must name what it holds: ifmap, ofmap"):
        load_arch("tpu_v1", [*keys, "buffers.unified_buffer.operand_banks={ifmap: 4}"])
    with pytest.raises(ConfigError, match="read_ports and write_ports must be given together"):
        load_arch("tpu_v1", ["buffers.unified_buffer.read_ports=1"])


# --- banks ---

LINEAR = Network("fc", [Node("x", Input((32, 64))), Node("fc", Linear(16, bias=False), ("x",))])
BANKED = (
    "dram.fidelity=ideal", "engine={kind: systolic, rows: 8, cols: 8, dataflow: os, overlap: pipelined}",
    *(f"buffers.ifmap_buffer.{key}" for key in ("word_bits=8", "banks=8", "read_ports=1", "write_ports=1")),
)  # fmt: skip


def test_a_power_of_two_between_rows_costs_and_padding_removes_it() -> None:
    """Output stationary: in a step the array reads 8 rows, 64 words apart, which lie in one of 8 banks."""
    free = run(load_arch("teaching_4x4", [*BANKED, "buffers.ifmap_buffer.fidelity=ideal"]), LINEAR)
    queues = run(load_arch("teaching_4x4", [*BANKED, "buffers.ifmap_buffer.fidelity=bandwidth"]), LINEAR)
    assert queues.cycles == free.cycles  # 8 words a cycle are what 8 ports move
    bad = run(load_arch("teaching_4x4", BANKED), LINEAR)
    steps = bad.cycles_by_cause()["compute"]
    assert bad.cycles_by_cause()["bank_conflict"] == 7 * steps == bad.cycles - free.cycles
    for cure in (["pad_words={ifmap: 1}"], ["layout={ifmap: nchw}"], ["banks=9", "capacity_bytes=4032"]):
        keys = [f"buffers.ifmap_buffer.{key}" for key in cure]
        assert run(load_arch("teaching_4x4", [*BANKED, *keys]), LINEAR).cycles_by_cause() == free.cycles_by_cause()
    few = [f"buffers.ifmap_buffer.{key}" for key in ("banks=7", "capacity_bytes=4032")]
    causes = run(load_arch("teaching_4x4", [*BANKED, *few]), LINEAR).cycles_by_cause()
    assert (causes["bank_conflict"], causes["buffer_ports"]) == (0, steps)  # 8 words in 7 banks, however they lie


@pytest.mark.parametrize(("stride", "banks", "conflicts"), [(1, 4, 0), (2, 4, 1), (4, 4, 3), (3, 4, 0), (2, 3, 0)])
def test_a_stride_of_the_window_meets_the_banks(stride: int, banks: int, conflicts: int) -> None:
    """Pixels side by side, four neighbouring outputs: words `stride` apart, in banks / gcd banks."""
    network = Network("conv", [Node("x", Input((1, 1, 1, 4 * stride))), Node("c", Conv(4, 1, stride), ("x",))])
    keys = ("word_bits=8", f"banks={banks}", "read_ports=1", "write_ports=1", "layout={ifmap: nchw}")
    keys += ("capacity_bytes=12288",)
    arch = load_arch("teaching_4x4", [
        "dram.fidelity=ideal", "engine={kind: systolic, rows: 4, cols: 4, dataflow: os}",
        *(f"buffers.ifmap_buffer.{key}" for key in keys),
    ])  # fmt: skip
    causes = run(arch, network).cycles_by_cause()
    assert causes["compute"] == 1
    expect = {"bank_conflict": conflicts, "buffer_ports": 0}
    if banks == 3:  # four words in three banks
        expect = {"bank_conflict": 0, "buffer_ports": 1}
    assert {cause: causes[cause] for cause in expect} == expect


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["tpu_v1", "systolic_os_32", "eyeriss", "bit_fusion", "stripes"])
def test_more_exact_is_never_faster(name: str, network: str) -> None:
    """Ideal, bandwidth, detailed, for engines that say in which cycle they want what, and for those that do not."""
    net, last = NETWORKS[network](), 0
    for fidelity in ("ideal", "bandwidth", "detailed"):
        keys = [
            f"buffers.{b.name}.{key}"
            for b in load_arch(name).spec.buffers
            for key in ("read_write_ports=1", f"fidelity={fidelity}")
        ]
        result = run(load_arch(name, keys), net)
        causes = result.cycles_by_cause()
        assert result.cycles >= last
        assert fidelity == "detailed" or causes["bank_conflict"] == 0 or name == "eyeriss"
        last = result.cycles


def test_sums_of_eyeriss_pass_in_words_of_the_buffer() -> None:
    """Four sums of 16 bits a cycle each way are a word of 64 bits: JSSC 2017; half the word, half the sums."""
    net = Network("net", [Node("x", Input((1, 64, 13, 13))), Node("c", Conv(64, 3, 1, 1), ("x",))])

    def stalls(*keys: str) -> int:
        return run(load_arch("eyeriss", keys), net).cycles_by_cause()["buffer_ports"]

    pin = "engine.pinned=[{m: 64, n: 1, e: 13, p: 16, q: 4, r: 1, t: 4}]"
    found = {bits: stalls(pin, f"buffers.global_buffer.word_bits={bits}") for bits in (16, 32, 64, 128)}
    assert found[16] > found[32] > found[64] > found[128]
    assert found == {16 * words: stalls(pin, f"engine.psum_words={words}") for words in (1, 2, 4, 8)}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["fidelity=detailed"], "fidelity: detailed needs read_ports and write_ports, or read_write_ports"),
        (["read_write_ports=1", "arbitration=round_robin"], "arbitration must be left out: an array in lockstep waits"),
        (["fidelity=exact"], "must be one of 'ideal', 'bandwidth' or 'detailed', got 'exact'"),
        (["read_write_ports=1", "layout={ifmap: rscm}"], "layout.ifmap must be nhwc or nchw, got rscm"),
        (["read_write_ports=1", "layout={filter: nchw}"], "layout.filter must be rscm or mrsc, got nchw"),
        (["read_write_ports=1", "layout={psum: nhwc}"], "layout of 'ifmap_buffer' must name what it holds: ifmap; got"),
        (["read_write_ports=1", "pad_words={ifmap: -1}"], "pad_words.ifmap must be 0 to 1048576, got -1"),
        (["pad_words={ifmap: 1}"], "pad_words must be left out, unless the buffer is of fidelity: detailed"),
        (["read_write_ports=1", "banks=3"], "capacity_bytes must be whole words of 32 bits in each of 3 banks"),
    ],
)
def test_what_contradicts_itself_is_refused(keys: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_arch("teaching_4x4", [f"buffers.ifmap_buffer.{key}" for key in keys])


def test_a_layout_without_effect_is_refused() -> None:
    keys = ["buffers.global_buffer.read_write_ports=1", "buffers.global_buffer.layout={psum: nchw}"]
    what = "engine 'row_stationary' takes psum words one after another; layout must be given of none"
    with pytest.raises(ConfigError, match=what):
        load_arch("eyeriss", keys)
    keys = ["buffers.unified_buffer.read_write_ports=1", "buffers.unified_buffer.pad_words={ofmap: 1}"]
    with pytest.raises(ConfigError, match="pad_words must be given only of ifmap, filter, psum"):
        load_arch("tpu_v1", keys)


# --- line buffers ---


def test_a_line_buffer_fetches_every_row_once() -> None:
    """Three rows of 24 KiB do not hold a map of 98 KiB, but the rows of a window and those that come next."""
    net = Network("net", [Node("x", Input((2, 32, 56, 56))), Node("c", Conv(64, 3, 1, 1), ("x",))])
    found = {}
    for lines in ("false", "true"):
        keys = (f"line_buffer={lines}", "capacity_bytes=16384")
        arch = load_arch("systolic_ws_32", [f"buffers.ifmap_buffer.{key}" for key in keys])
        found[lines] = run(arch, net).layers[0]
    once = 2 * 32 * 56 * 56
    assert found["true"].dram_bytes["ifmap"] == once < found["false"].dram_bytes["ifmap"]
    assert "keep=ifmap" in found["true"].info["mapping"] and "keep=ifmap" not in found["false"].info["mapping"]
    assert found["true"].info["line_buffer_rows"] * 56 * 32 <= 16384
    assert found["true"].macs == found["false"].macs


@pytest.mark.parametrize(
    ("arch", "buffer", "message"),
    [
        ("teaching_4x4", "filter_buffer", "line_buffer needs a buffer that holds the ifmap"),
        ("eyeriss", "global_buffer", "engine 'row_stationary' keeps no ifmap between tiles; line_buffer must"),
    ],
)
def test_line_buffers_that_change_nothing_are_refused(arch: str, buffer: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_arch(arch, [f"buffers.{buffer}.line_buffer=true"])
