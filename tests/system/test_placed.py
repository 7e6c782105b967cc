"""Chips of crossbars: placement, refusals, rows that travel and wait, and who pays for the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.base.errors import ConfigError
from accelsim.base.units import si
from accelsim.report.tables import total_lines
from accelsim.system.archspec import load_arch
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.load import load_network
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Activation, Conv, Eltwise, Input, Linear, Pool, Recurrent, Reshape
from accelsim.workload.trace import synthetic_trace


def small(side: int = 16) -> Network:
    return Network(
        "small",
        [
            Node("x", Input((1, 8, side, side))),
            Node("c1", Conv(32, 3, 1, 1, bias=False), ("x",)),
            Node("r1", Activation("relu"), ("c1",)),
            Node("p1", Pool("max", 2, 2), ("r1",)),
            Node("c2", Conv(64, 3, 1, 1, bias=False), ("p1",)),
            Node("flat", Reshape((0, -1)), ("c2",)),
            Node("fc", Linear(10), ("flat",)),
        ],
    )


def run(*overrides: str, network: Network | None = None) -> RunResult:
    trace = synthetic_trace(network or small(), weight_bits=16, activation_bits=16)
    return simulate(load_arch("isaac", list(overrides)), trace)


def test_weights_that_do_not_fit_are_refused_with_crossbars() -> None:
    trace = synthetic_trace(load_network("vgg16"), weight_bits=16, activation_bits=16)
    message = r"the weights of vgg16 need 6\d{4} crossbars of 128 x 128, and there are 16128 \(42 cores of 384\)"
    with pytest.raises(ConfigError, match=message):
        simulate(load_arch("isaac"), trace)


def test_other_engines_have_no_places(tmp_path: Path) -> None:
    text = """
name: small
source: "assumed: for tests"
technology: {node_nm: 45}
clock_hz: 1e9
engine: {kind: vector_mac, lanes: 4, width: 4}
vector: {lanes: 4}
buffers: [{name: all, holds: [filter, ifmap, ofmap], capacity_bytes: 4096}]
dram: {standard: ddr3, bandwidth_bytes_per_s: 4e9}
cores: {count: 4, hubs: [0], resident_weights: true, schedule: placed}
noc: {topology: mesh, columns: 2, rows: 2, flit_bytes: 4}
"""
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"needs an engine of crossbars, got 'vector_mac'"):
        simulate(load_arch(tmp_path / "small.yaml"), synthetic_trace(small()))


def test_early_layers_are_replicated_and_rows_overlap() -> None:
    result = run()
    by_name = {layer.name: layer for layer in result.layers}
    # a copy for each of the 16 positions of a row; two turns of 4 copies for half as many rows take as long
    assert by_name["c1"].info["copies"] == 16 and by_name["c2"].info["copies"] == 4
    assert result.cycles < sum(layer.cycles for layer in result.layers)
    assert by_name["c2"].start_cycle < by_name["c1"].start_cycle + by_name["c1"].cycles
    assert by_name["fc"].start_cycle >= by_name["c2"].start_cycle + by_name["c2"].cycles
    assert by_name["c1"].info["mvm_cycles"] == 22 * 128


def test_a_row_passes_22_stages() -> None:
    passes = run().timeline.passes
    first = passes[passes["layer"] == 0]
    assert set((first["done"] - first["start"]).tolist()) == {22 * 128}
    assert set((first["streamed"] - first["start"]).tolist()) == {16 * 128}


def test_without_copies_it_takes_longer_and_costs_the_same_conversions() -> None:
    one, many = run("engine.replicate=false"), run()
    assert one.cycles > 2 * many.cycles
    for key in (("adc", "convert"), ("crossbar", "read"), ("dac", "convert")):
        assert one.counts()[key] == many.counts()[key] > 0


def test_more_items_take_less_time_each() -> None:
    one, four = run(), run("cores.items=4")
    assert one.cycles < four.cycles < 3.5 * one.cycles
    assert four.macs == 4 * one.macs


def test_counts_by_hand() -> None:
    network = Network("n", [Node("x", Input((1, 130))), Node("fc", Linear(20, bias=False), ("x",))])
    counts = run(network=network).counts()
    # 130 rows are two arrays deep, 20 weights of 8 cells two arrays wide; 16 bits
    assert counts["crossbar", "read"] == 16 * 2 * 2
    assert counts["adc", "convert"] == 16 * 2 * 20 * 8
    assert counts["dac", "convert"] == 16 * 130 * 2
    assert ("cell", "write") not in counts


def test_an_update_of_the_weights_writes_every_cell_of_every_copy() -> None:
    layers = {layer.name: layer for layer in run().layers}
    assert layers["c1"].info["cells"] == 32 * 8 * 9 * 8 * layers["c1"].info["copies"]
    assert layers["c1"].info["update_cycles"] == 72 * 52  # rows one after another, 40 ns each


def test_weights_that_come_and_go_have_no_updates() -> None:
    with pytest.raises(ConfigError, match="engine.updates counts writes of weights that stay"):
        simulate(load_arch("prime", ["engine.updates=1"]), synthetic_trace(small(), weight_bits=8, activation_bits=8))


def test_training_counts_writes_and_says_how_long_cells_last() -> None:
    none, some = run(), run("engine.updates=5", "engine.endurance_writes=1e6")
    cells = sum(layer.info.get("cells", 0) for layer in some.layers)
    assert ("cell", "write") not in none.counts() and some.counts()["cell", "write"] == 5 * cells
    own = [sum(layer.energy_pj.get("cell", 0.0) for layer in r.layers) for r in (none, some)]
    assert own == [0.0, pytest.approx(5 * cells * 80.0)]
    text = "\n".join("".join(word for word, _ in line) for line in total_lines(some, 10_000))
    assert some.cycles == none.cycles + 5 * 128 * 52  # the rows of an array one after another
    seconds = none.seconds + 128 * 52 / some.clock_hz
    assert f"{cells:,} hold weights, {5 * cells:,} were written" in text
    assert f"a cell lasts 1e+06 updates, {si(1e6 * seconds, 's')}" in text
    assert "lasts" not in "\n".join("".join(word for word, _ in line) for line in total_lines(none, 10_000))


SKIPPING = ("engine.encoding=differential", "engine.active_rows=16", "engine.active_cols=16")


def lstm() -> Network:
    return Network("lstm", [Node("x", Input((2, 5, 24))), Node("l", Recurrent("lstm", 16), ("x",))])


@pytest.mark.parametrize("network", [small(), lstm()])
def test_layers_in_place_skip_zeros(network: Network) -> None:
    sparse = synthetic_trace(network, weight_bits=16, activation_bits=16, weight_density=0.1, input_density=0.3)
    none, inputs, both = (
        simulate(load_arch("isaac", [*SKIPPING, f"engine.skip={skip}"]), sparse) for skip in ("none", "inputs", "both")
    )
    assert both.cycles < inputs.cycles < none.cycles
    for key in (("adc", "convert"), ("crossbar", "read"), ("dac", "convert")):
        assert both.counts()[key] < inputs.counts()[key] < none.counts()[key]
    # no copies of anything: each row takes what the tiles of the same layer take one after another
    alone = simulate(load_arch("isaac", [*SKIPPING, "engine.skip=both", "engine.replicate=false"]), sparse)
    tiled = simulate(load_arch("sparse_reram", ["engine.replicate=false", "engine.convert_cycles=8"]), sparse)
    for layer, other in zip(alone.layers, tiled.layers, strict=True):
        if layer.info.get("crossbars"):
            assert layer.counts["adc", "convert"] == other.counts["adc", "convert"]


@pytest.mark.parametrize(("name", "pack"), [("blocks", "snrram"), ("lines", "recom")])
def test_layers_in_place_are_packed(name: str, pack: str) -> None:
    trace = synthetic_trace(small(), weight_bits=16, activation_bits=16, weight_density=0.003)
    dense, packed = (
        simulate(load_arch("isaac", [f"engine.pack={how}", "engine.replicate=false"]), trace) for how in ("none", name)
    )
    layers = {layer.name: layer for layer in packed.layers}
    tiled = {layer.name: layer for layer in simulate(load_arch(pack, []), trace).layers}
    for layer in dense.layers:
        if "crossbars" not in layer.info:
            continue
        other = layers[layer.name]
        assert other.info["crossbars"] <= layer.info["crossbars"] and other.info["cells"] < layer.info["cells"]
        assert other.counts["adc", "convert"] == tiled[layer.name].counts["adc", "convert"]
    assert sum(x.info.get("crossbars", 0) for x in packed.layers) < sum(
        x.info.get("crossbars", 0) for x in dense.layers
    )


def residual() -> Network:
    return Network(
        "residual",
        [
            Node("x", Input((1, 16, 16, 16))),
            Node("c0", Conv(16, 3, 1, 1, bias=False), ("x",)),
            Node("c1", Conv(16, 3, 1, 1, bias=False), ("c0",)),
            Node("c2", Conv(16, 3, 1, 1, bias=False), ("c1",)),
            Node("sum", Eltwise("add"), ("c0", "c2")),
            Node("c3", Conv(32, 1, 1, 0, bias=False), ("sum",)),
        ],
    )


def test_the_short_way_around_a_block_holds_what_the_long_way_has_begun() -> None:
    result = run("buffers.edram.capacity_bytes=7600", network=residual())
    layers = {layer.name: layer for layer in result.layers}
    # row b of the sum needs c2's row b, hence c1's b + 1, hence c0's b + 2: rows b to b + 2, and one more of c0's
    assert layers["sum"].info["buffered_rows"] >= 1 and result.cycles >= run(network=residual()).cycles


def test_layers_spread_over_more_cores_where_their_rows_do_not_fit_one() -> None:
    one, more = (run(f"buffers.edram.capacity_bytes={size}", network=residual()) for size in (7168, 6000))
    assert [layer.info["cores"] for layer in one.layers] == [1, 1, 1, 1, 1]
    assert max(layer.info["cores"] for layer in more.layers) > 1


def test_rows_that_do_not_fit_the_buffer_are_refused_with_what_is_missing() -> None:
    message = (
        r"the rows that must wait between layers take \d+ bytes of the buffer edram of core \d+, which has 4096: "
        r"\d+ too many \(.* \d+ rows of \d+ bytes.*\)"
    )
    with pytest.raises(ConfigError, match=message):
        run("buffers.edram.capacity_bytes=4096", network=residual())


def test_a_full_buffer_holds_the_layer_before_it_back() -> None:
    network = Network(
        "slow",
        [
            Node("x", Input((1, 8, 64, 8))),
            Node("conv", Conv(64, 1, 1, 0, bias=False), ("x",)),
            Node("pool", Pool("max", 3, 1, 1), ("conv",)),
        ],
    )
    wide, narrow = (
        run(f"buffers.edram.capacity_bytes={size}", "vector.lanes=1", network=network) for size in (1 << 18, 5000)
    )
    conv, pool = narrow.layers
    # 8 x 64 maxima of 9 take the one lane 4608 cycles a row, the products 2048
    assert conv.cycles_by_cause["ofmap"] > 50 * (4608 - 2048) and pool.info["buffered_rows"] == 4
    assert pool.cycles_by_cause["ifmap"] == 0 and wide.layers[0].cycles_by_cause["ofmap"] == 0
    assert narrow.cycles == wide.cycles  # the slower of the two never waits


def test_every_layer_pays_for_its_own_messages() -> None:
    result = run("engine.arrays=48")
    own = {layer.name: layer.counts.get(("noc", "router"), 0) for layer in result.layers}
    assert sum(1 for count in own.values() if count) > 2
    # the last layer's 10 results of 16 bits are one message of 5 flits through as many routers as its way has
    assert own["fc"] % 5 == 0 and sum(own.values()) == result.counts()["noc", "router"]


def test_a_detailed_memory_and_the_network_keep_each_others_time() -> None:
    chip = ("engine.arrays=48", "buffers.edram.capacity_bytes=9000")
    detail = ("dram.detail={standard: ddr4_2400}", "dram.fidelity=detailed")
    one, two = run(*chip, *detail), run(*chip, *detail)
    assert one.cycles == two.cycles and one.counts() == two.counts()
    assert one.cycles != run(*chip).cycles < 2 * one.cycles
