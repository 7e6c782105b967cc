"""Ports in whole runs: no limit changes nothing, a narrower one never helps, every cycle is attributed."""

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
    assert plain.cycles_by_cause()["bank_conflict"] == 0
    assert wide.cycles_by_cause() == plain.cycles_by_cause()
    assert np.array_equal(wide.timeline.passes, plain.timeline.passes)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_narrower_unified_buffer_is_never_faster(network: str) -> None:
    net = NETWORKS[network]()
    base = run(load_arch("tpu_v1"), net)
    last, conflicts = base.cycles, []
    for word_bits in (2048, 512, 128, 32, 8):
        keys = [f"word_bits={word_bits}", "read_ports=1", "write_ports=1"]
        result = run(load_arch("tpu_v1", [f"buffers.unified_buffer.{key}" for key in keys]), net)
        assert result.cycles >= last
        assert result.macs == base.macs
        last = result.cycles
        conflicts.append(result.cycles_by_cause()["bank_conflict"])
    assert conflicts == sorted(conflicts) and conflicts[-1] > 0
    shared = [f"buffers.unified_buffer.{key}" for key in ("word_bits=8", "read_write_ports=1")]
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
    assert ports.cycles == passes * max(alone, 4 * m) > plain.cycles
    assert ports.layers[0].cycles_by_cause["bank_conflict"] == ports.cycles - plain.cycles
    assert ports.layers[0].cycles_by_cause["compute"] == plain.layers[0].cycles_by_cause["compute"]


def test_operands_in_banks_of_their_own() -> None:
    keys = ["word_bits=8", "banks=6", "read_write_ports=1", "interleave=operand", "capacity_bytes=25165824"]
    keys = [f"buffers.unified_buffer.{key}" for key in keys]
    split = [*keys, "buffers.unified_buffer.operand_banks={ifmap: 4, ofmap: 2}"]
    assert run(load_arch("tpu_v1", split), images()).cycles_by_cause()["bank_conflict"] > 0
    with pytest.raises(ConfigError, match="operand_banks of 'unified_buffer' must name what it holds: ifmap, ofmap"):
        load_arch("tpu_v1", [*keys, "buffers.unified_buffer.operand_banks={ifmap: 4}"])
    with pytest.raises(ConfigError, match="read_ports and write_ports must be given together"):
        load_arch("tpu_v1", ["buffers.unified_buffer.read_ports=1"])
