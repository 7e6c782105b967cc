"""A detailed DRAM in whole runs: it is the default where it is given, and layers sum to its own totals."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError
from accelsim.memory.dram import energy_table
from accelsim.memory.dram_energy import ACTIONS
from accelsim.system.archspec import load_arch
from accelsim.system.dram_meter import DramMeter
from accelsim.system.result import RunResult
from accelsim.system.simulate import simulate
from accelsim.workload.network import Network, Node
from accelsim.workload.ops import Conv, Input, Linear, Pool
from accelsim.workload.trace import synthetic_trace

DETAIL = "dram.detail={standard: ddr3_1600, write_queue: 16}"


def network() -> Network:
    nodes = [
        Node("x", Input((1, 16, 12, 12))),
        Node("a", Conv(24, 3, 1, 1), ("x",)),
        Node("p", Pool("max", 2), ("a",)),
        Node("b", Conv(40, 3), ("p",)),
        Node("fc", Linear(30), ("b",)),
    ]
    return Network("small", nodes)


def run(*overrides: str, arch: str = "teaching_4x4") -> RunResult:
    return simulate(load_arch(arch, overrides), synthetic_trace(network()))


def test_detailed_is_the_default_where_it_is_given() -> None:
    assert load_arch("teaching_4x4").spec.dram.fidelity == "bandwidth"
    assert load_arch("teaching_4x4", [DETAIL]).spec.dram.fidelity == "detailed"
    assert load_arch("tpu_v1").spec.dram.fidelity == "detailed"
    assert load_arch("tpu_v1", ["dram.fidelity=ideal"]).spec.dram.fidelity == "ideal"
    assert run(DETAIL).dram_fidelity == "detailed" and run().dram_fidelity == "bandwidth"
    with pytest.raises(ConfigError, match="fidelity: detailed needs the key dram.detail"):
        load_arch("teaching_4x4", ["dram.fidelity=detailed"])


def test_layers_sum_to_what_the_memory_has_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    meters: list[DramMeter] = []
    monkeypatch.setattr("accelsim.system.simulate.DramMeter", lambda m: meters.append(DramMeter(m)) or meters[-1])
    result = run(DETAIL)
    memory, counts, dram = meters[0].memory, result.counts(), result.dram
    assert dram is not None
    own = {action: n for (component, action), n in counts.items() if component == "dram"}
    assert own == {action: n for (_, action), n in memory.counts(until=result.cycles).items()}
    assert set(own) == set(ACTIONS)
    stats = memory.stats()
    # every burst that was asked for has been moved, posted writes included
    assert stats.reads == own["read_burst"] and stats.writes == own["write_burst"]
    assert stats.bytes_requested == sum(layer.total_dram_bytes for layer in result.layers)
    for name in ("row_hits", "row_misses", "row_conflicts"):
        assert sum(layer.info[f"dram_{name}"] for layer in result.layers) == getattr(stats, name)
    # standby: one rank, from the first to the last clock of each layer
    standby = own["active_standby_clock"] + own["precharge_standby_clock"]
    assert standby == max(memory.clock_of(result.cycles), stats.clocks)
    for layer in result.layers[:-1]:
        clocks = sum(layer.counts.get(("dram", f"{state}_standby_clock"), 0) for state in ("active", "precharge"))
        begin, end = layer.start_cycle, layer.start_cycle + layer.cycles
        assert clocks == memory.clock_of(end) - memory.clock_of(begin)


def test_energy_is_commands_times_currents() -> None:
    result = run(DETAIL)
    prices = energy_table(load_arch("teaching_4x4", [DETAIL]).spec.dram.detail)  # type: ignore[arg-type]
    dram = result.dram
    assert dram is not None
    for action in ACTIONS:
        assert dram.energy_pj[action] == pytest.approx(result.counts()["dram", action] * prices[action])
    parts = result.energy_by_component()
    assert parts["dram"] + parts["dram_standby"] == pytest.approx(sum(dram.energy_pj.values()))
    assert result.to_dict()["dram"]["energy_pj_by_action"] == dram.energy_pj


def test_the_profile_has_every_byte() -> None:
    dram = run(DETAIL).dram
    assert dram is not None
    stats = dram.stats
    assert dram.profile[:, 0].sum() == stats.reads * dram.burst_bytes
    assert dram.profile[:, 1].sum() == stats.writes * dram.burst_bytes
    assert dram.profile[:, 2].sum() == stats.row_hits


def test_pipes_and_devices_without_currents_are_priced_by_the_byte() -> None:
    for overrides in ((), ("dram.detail={standard: lpddr5_6400}",)):
        result = run(*overrides)
        actions = {action for component, action in result.counts() if component == "dram"}
        assert actions == {"read_byte", "write_byte"}
    assert result.dram is not None and result.dram.energy_pj == {}  # counted all the same


def test_a_users_price_per_byte_stands(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    rows = "\n".join(f"dram,{way}_byte,5,measured" for way in ("read", "write"))
    table.write_text(f"component,action,energy_pj,source\n{rows}\n")
    result = run(DETAIL, f"energy.table={table}")
    moved = sum(n for (component, _), n in result.counts().items() if component == "dram")
    assert result.energy_by_component()["dram"] == pytest.approx(5 * moved)


def test_settling_leaves_waiting_transfers_alone() -> None:
    from accelsim.memory.dram import Dram
    from accelsim.memory.dram_spec import DramConfig

    dram = Dram.from_config(DramConfig(standard="ddr3_1600"), 10**9)
    dram.submit(0, 7, 0, 4096, False)
    dram.settle(5000)
    assert dram.stats().clocks == 0
    assert dram.advance(5000) == (dram.cycle_of(dram.last_data_clock()), 7)
    dram.settle(6000)
    assert dram.stats().clocks == dram.clock_of(6000)
    assert ActionCounts(dram.counts())["dram", "read_burst"] == 64


def test_every_hub_of_many_cores_is_a_port() -> None:
    """A detailed DRAM behind several hubs; it is priced by the byte there."""
    detailed = ["dram.fidelity=detailed", "dram.detail={standard: ddr3_1600}"]
    overrides = [*detailed, "cores.hubs=[0, 5]", "cores.resident_weights=false"]
    result = simulate(load_arch("dadiannao_chip", overrides), synthetic_trace(network()))
    assert result.dram is None and result.counts()["dram", "read_byte"] > 0
