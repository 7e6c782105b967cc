"""Whole runs: laws on every shipped architecture, residency, determinism, refusals."""

from __future__ import annotations

import math

import pytest

from accelsim.base.errors import ConfigError
from accelsim.sim.passes import ATTRIBUTION
from accelsim.system.archspec import Architecture, list_archs, load_arch
from accelsim.system.residency import Residency
from accelsim.system.result import RunResult
from accelsim.system.schedule import schedule
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import (
    Activation,
    Concat,
    Conv,
    Eltwise,
    Input,
    Linear,
    Matmul,
    Norm,
    Pool,
    Recurrent,
    Reshape,
    Softmax,
)
from accelsim.workload.load import load_network
from accelsim.workload.trace import synthetic_trace


def residual() -> Network:
    """A stem, a residual block, a concatenation, pooling and a classifier: every kind of reader."""
    return Network(
        "residual",
        [
            Node("x", Input((1, 3, 12, 12))),
            Node("stem", Conv(8, 3, 1, 1, bias=False), ("x",)),
            Node("bn", Norm(), ("stem",)),
            Node("relu", Activation("relu"), ("bn",)),
            Node("a", Conv(8, 3, 1, 1), ("relu",)),
            Node("a_relu", Activation("relu"), ("a",)),
            Node("add", Eltwise("add"), ("relu", "a_relu")),
            Node("left", Conv(4, 1), ("add",)),
            Node("right", Conv(4, 3, 1, 1, groups=4), ("add",)),
            Node("cat", Concat(), ("left", "right")),
            Node("pool", Pool("avg", "global"), ("cat",)),
            Node("flat", Reshape((0, -1)), ("pool",)),
            Node("fc", Linear(10), ("flat",)),
        ],
    )


def sequence() -> Network:
    """A recurrent layer, then attention as its products."""
    return Network(
        "sequence",
        [
            Node("x", Input((1, 6, 16))),
            Node("rnn", Recurrent("lstm", 16, directions=2), ("x",)),
            Node("q", Linear(16), ("rnn",)),
            Node("k", Linear(16), ("rnn",)),
            Node("v", Linear(16), ("rnn",)),
            Node("scores", Matmul(transpose_b=True), ("q", "k")),
            Node("softmax", Softmax(), ("scores",)),
            Node("mix", Matmul(), ("softmax", "v")),
            Node("out", Linear(4), ("mix",)),
        ],
    )


NETWORKS = {"residual": residual, "sequence": sequence}

PLAIN = {"tie": ["engine.dense=allow"], "q_table_rnn": ["engine.skip_zeros=false"]}
"""What an architecture for decomposed weights needs to run plain ones, and one that skips padding to meet its peak."""


def width(arch: Architecture) -> int:
    """8 bits, or what an engine for narrow operands has; the tables of `dnpu` hold fewer than its multipliers."""
    most = min(max(widths) for widths in arch.engine.supported_bits().values())
    return min(8, most, getattr(arch.engine.spec, "table_bits", 8))


def run(arch: Architecture, network: Network) -> RunResult:
    return simulate(arch, synthetic_trace(network, weight_bits=width(arch), activation_bits=width(arch)))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", list_archs())
def test_laws_hold_on_every_shipped_architecture(name: str, network: str) -> None:
    arch, net = load_arch(name, PLAIN.get(name, [])), NETWORKS[network]()
    result = run(arch, net)
    cores = arch.spec.cores
    items = cores.items if cores is not None else 1
    piped, resident = cores is not None and cores.schedule != "layers", cores is not None and cores.resident_weights
    assert result.macs == net.macs * items
    assert result.cycles == result.timeline.end
    assert piped or result.cycles == sum(result.cycles_by_cause().values())
    assert set(result.cycles_by_cause()) == set(ATTRIBUTION)
    for layer in result.layers:
        assert layer.macs == net[layer.name].macs * items
        assert min(layer.cycles_by_cause.values()) >= 0
        assert layer.cycles * layer.peak_macs_per_cycle * items >= layer.macs
    filters = sum(math.prod(w) for layer in net for w in layer.weights.values())
    held = min(width(arch), arch.spec.precision.filter)
    assert resident or sum(layer.dram_bytes["filter"] for layer in result.layers) * 8 >= filters * min(8, held)
    bits = width(arch) if arch.spec.precision.follow_trace else arch.spec.precision.ofmap
    out = -(-math.prod(net.layers[-1].out_shape) * bits // 8) * items
    assert result.layers[-1].dram_bytes["ofmap"] == out  # results always leave
    parts = sum(result.energy_by_component().values())
    assert math.isclose(parts, result.energy_pj, rel_tol=1e-12)
    assert all(math.isfinite(v) and v >= 0 for v in result.energy_by_component().values())
    assert all(v > 0 for v in result.area_mm2.values())


@pytest.mark.parametrize("name", ["tpu_v1", "teaching_4x4"])
def test_two_runs_are_the_same_bytes(name: str) -> None:
    first, second = (run(load_arch(name), residual()) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.timeline.transfers.tobytes() == second.timeline.transfers.tobytes()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_faster_memory_is_never_slower(network: str) -> None:
    net = NETWORKS[network]()
    cycles = [
        run(load_arch("teaching_4x4", [f"dram.bandwidth_bytes_per_s={rate}"]), net).cycles
        for rate in ("50e6", "200e6", "800e6", "6400e6")
    ]
    assert cycles == sorted(cycles, reverse=True)
    ideal = run(load_arch("teaching_4x4", ["dram.fidelity=ideal"]), net).cycles
    assert ideal <= cycles[-1]


def test_activations_join_the_layer_before_them() -> None:
    steps = schedule(residual()).steps
    fused = {step.layer.name: step.fused for step in steps}
    assert fused["stem"] == ["bn", "relu"]
    assert fused["a"] == ["a_relu"]
    assert "relu" not in fused and "cat" not in fused and "flat" not in fused


def test_an_activation_stays_apart_if_its_input_has_another_reader() -> None:
    network = Network(
        "net",
        [
            Node("x", Input((1, 4))),
            Node("fc", Linear(4), ("x",)),
            Node("relu", Activation("relu"), ("fc",)),
            Node("add", Eltwise("add"), ("fc", "relu")),
        ],
    )
    assert [step.layer.name for step in schedule(network).steps] == ["fc", "relu", "add"]


def test_a_residual_keeps_its_tensor_alive() -> None:
    plan = schedule(residual())
    names = {t.name for t in plan.live(1)}  # while `a` runs
    assert names == {"stem", "a"}
    assert plan.tensors["stem"].last_read == 2  # the add
    assert plan.tensors["left"].together == plan.tensors["right"].together >= 0


def test_residency_spills_what_does_not_fit() -> None:
    plan = schedule(residual())
    everything = Residency(plan, 10**6, 8)
    assert everything.resident == {"stem", "a", "add", "left", "right", "pool"}
    tight = Residency(plan, 8 * 144 * 2, 8)  # two feature maps of 8 x 12 x 12
    for index in range(len(plan.steps)):
        assert tight.held_bytes(index) <= 8 * 144 * 2
    assert not Residency(plan, 0, 8).resident
    # parts of a concatenation leave together
    tight.spill(3)
    assert ("left" in tight.resident) == ("right" in tight.resident)


def test_activations_on_chip_cause_no_traffic() -> None:
    big = run(load_arch("tpu_v1"), residual())
    for layer in big.layers[1:]:
        assert layer.dram_bytes["ifmap"] == 0, layer.name
    small = run(load_arch("tpu_v1", ["buffers.unified_buffer.capacity_bytes=3000"]), residual())
    assert sum(layer.dram_bytes["ifmap"] for layer in small.layers) > 432
    assert small.cycles >= big.cycles


def test_prefetch_never_costs_cycles() -> None:
    plain, early = (run(load_arch("tpu_v1", [f"mapping.prefetch={p}"]), residual()).cycles for p in ("false", "true"))
    assert early <= plain


def test_a_layer_without_room_says_what_is_missing() -> None:
    arch = load_arch("teaching_4x4", ["buffers.filter_buffer.capacity_bytes=1"])
    message = (
        r"layer stem: no tile fits buffer 'filter_buffer': "
        r"the smallest tile needs 2 bytes \(filter 2 x 1 B\), but 1 bytes"
    )
    with pytest.raises(ConfigError, match=message):
        run(arch, residual())


def test_a_pinned_mapping_is_used() -> None:
    pin = '[{layers: "a", rows: 2, outputs: 4, channels: 8, order: nmk, keep: [filter]}]'
    result = run(load_arch("teaching_4x4", [f"mapping.pinned={pin}"]), residual())
    by_name = {layer.name: layer for layer in result.layers}
    assert by_name["a"].info["mapping"] == "m=24 n=4 k=72 order=nmk keep=filter"
    assert by_name["a"].dram_bytes["filter"] == 8 * 8 * 9


def test_a_user_table_replaces_costs(tmp_path: object) -> None:
    import pathlib

    assert isinstance(tmp_path, pathlib.Path)
    table = tmp_path / "mine.csv"
    table.write_text("component,action,energy_pj,source\nmac,mac_8x8,1000.0,my measurement\n")
    plain = run(load_arch("teaching_4x4"), residual())
    mine = run(load_arch("teaching_4x4", [f"energy.table={table}"]), residual())
    macs = plain.counts()["mac", "mac_8x8"]
    assert math.isclose(mine.energy_by_component()["mac"], 1000.0 * macs + _gated(plain), rel_tol=1e-9)
    assert mine.cycles == plain.cycles


def _gated(result: RunResult) -> float:
    arch = load_arch("teaching_4x4")
    from accelsim.system.costs import Costs

    return result.counts().get(("mac", "gated"), 0) * Costs(arch).table.row("mac", "gated").energy_pj


def test_the_small_teaching_example_by_hand() -> None:
    """A 4 x 4 x 4 GEMM on the 4 x 4 array: fetch, compute, skew and write back, as counted on paper."""
    network = Network("gemm", [Node("x", Input((4, 4))), Node("fc", Linear(4), ("x",))])
    result = run(load_arch("teaching_4x4"), network)
    layer = result.layers[0]
    # 100 ns at 100 MHz are 10 cycles; 16 + 16 bytes at 4 bytes a cycle are 8; both operands are needed
    assert layer.cycles_by_cause["ifmap"] + layer.cycles_by_cause["filter"] == 18
    assert layer.cycles_by_cause["compute"] == 4
    # T + R + C - 2 = 10 cycles until the last product, then three more rows leave: 13 - 4 of streaming
    assert layer.cycles_by_cause["fill_drain"] == 9
    # 16 bytes of results: 4 cycles of bandwidth, 10 of latency
    assert layer.cycles_by_cause["ofmap"] == 14
    assert layer.cycles == 45


def test_a_pin_cannot_keep_part_of_the_groups() -> None:
    pin = '[{layers: "right", groups: 1, keep: [filter]}]'
    with pytest.raises(ConfigError, match="layer right: a pinned mapping that keeps operands must hold all 4 groups"):
        run(load_arch("teaching_4x4", [f"mapping.pinned={pin}"]), residual())


def test_the_detailed_dram_brings_its_own_bandwidth() -> None:
    detailed = ["dram.fidelity=detailed", "dram.detail={standard: ddr3_1600, channels: 2}"]
    arch = load_arch("tpu_v1", detailed)
    # two channels of 64 bits at 1600 MT/s: 25.6 GB/s
    assert arch.spec.dram_bytes_per_cycle() * arch.spec.clock_hz == 25_600_000_000
    result = run(arch, residual())
    assert math.isclose(result.dram_bytes_per_cycle, 25.6e9 / 700e6)
    assert result.cycles >= run(load_arch("tpu_v1", ["dram.fidelity=ideal"]), residual()).cycles
    with pytest.raises(ConfigError, match="fidelity: detailed needs the key dram.detail"):
        load_arch("teaching_4x4", ["dram.fidelity=detailed"])


def test_operands_are_stored_as_the_trace_has_them_if_asked() -> None:
    trace = synthetic_trace(load_network("alexnet"), weight_bits=4, activation_bits=6)
    fixed, following = (
        simulate(load_arch("systolic_ws_32", [f"precision.follow_trace={flag}"]), trace) for flag in ("false", "true")
    )
    for before, after in zip(fixed.layers, following.layers, strict=True):
        if before.kind == "linear":  # weights are fetched once
            assert after.dram_bytes["filter"] * 2 == before.dram_bytes["filter"]
