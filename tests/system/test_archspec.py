"""Architecture files: shipped ones are complete and sourced; wrong ones get one clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelsim.base.errors import ConfigError
from accelsim.system.archspec import list_archs, load_arch

SMALL = """\
name: small
source: "assumed: for tests"
technology: {node_nm: 45}
clock_hz: 1e9
engine: {kind: systolic, rows: 4, cols: 4, dataflow: ws}
vector: {lanes: 4}
buffers:
  - {name: weights, holds: [filter], capacity_bytes: 4096}
  - {name: rest, holds: [ifmap, ofmap], capacity_bytes: 4096}
dram: {standard: ddr3, bandwidth_bytes_per_s: 4e9}
"""


def write(folder: Path, text: str, name: str = "small.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def leaves(data: Any, prefix: str = "") -> list[str]:
    if isinstance(data, dict):
        return [x for k, v in data.items() for x in leaves(v, f"{prefix}.{k}" if prefix else str(k))]
    if isinstance(data, list) and data and isinstance(data[0], dict) and "name" in data[0]:
        return [
            x
            for item in data
            for x in leaves({k: v for k, v in item.items() if k != "name"}, f"{prefix}.{item['name']}")
        ]
    return [prefix]


@pytest.mark.parametrize("name", list_archs())
def test_every_value_of_a_shipped_architecture_has_its_source(name: str) -> None:
    arch = load_arch(name)
    assert arch.name == name
    notes = arch.spec.notes
    for key in leaves({k: v for k, v in arch.data.items() if k not in ("name", "source", "description", "notes")}):
        parts = key.split(".")
        covered = [".".join(parts[: i + 1]) for i in range(len(parts))]
        assert any(c in notes for c in covered), f"{name}: {key} has neither a source nor the word 'assumed'"
    for key, note in notes.items():
        assert len(note) > 10, (key, note)


def test_the_small_file_is_complete(tmp_path: Path) -> None:
    arch = load_arch(write(tmp_path, SMALL))
    assert arch.engine.peak_macs_per_cycle(arch.spec.bits()) == 16
    assert arch.spec.rooms()[1].holds == ("ifmap", "ofmap", "psum")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows: 4", "rows: 0", r"small.yaml:5:\d+: engine.rows: must be >= 1, got 0"),
        ("rows: 4", "rowz: 4", r"small.yaml:5:\d+: engine.rowz: unknown key; did you mean rows"),
        ("rows: 4", "rows: four", r"engine.rows: must be an integer, got 'four'"),
        ("rows: 4, ", "", r"small.yaml:5:\d+: engine: key 'rows' is required but missing"),
        ("dataflow: ws", "dataflow: wz", r"engine.dataflow: must be one of 'os', 'ws' or 'is', got 'wz'"),
        (
            "dataflow: ws",
            "dataflow: os, overlap: double_buffered",
            r"does not exist for dataflow 'os'; choose one of serial",
        ),
        ("kind: systolic", "kind: systolik", r"unknown engine 'systolik'; did you mean systolic"),
        ("clock_hz: 1e9", "clock_hz: fast", r"small.yaml:4:1: clock_hz: must be an integer, got 'fast'"),
        ("clock_hz: 1e9", "clock_hz: 1.5", r"clock_hz: must be an integer, got 1.5"),
        ("clock_hz: 1e9", "clok_hz: 1e9", r"clok_hz: unknown key; did you mean clock_hz"),
        ("holds: [filter]", "holds: [filter, ifmap]", r"exactly one must hold ifmap, got \['weights', 'rest'\]"),
        ("holds: [filter]", "holds: []", r"buffers\[0\].holds: .*at least 1 item"),
        ("name: weights", "name: rest", r"name 'rest' is used twice"),
        ("vector: {lanes: 4}", "vector: {lanes: 4}\nprecision: {ifmap: 32, psum: 16}", r"psum must have at least"),
        ("standard: ddr3", "standard: ddr9", r"ddr9"),
        ("standard: ddr3,", "", r"dram: key 'standard' is required"),
        ("node_nm: 45", "node_nm: 2", r"technology.node_nm: must be >= 5, got 2"),
        ("vector: {lanes: 4}", "vector: {lanes: 4}\nvector: {lanes: 8}", r"duplicate key"),
        ("vector: {lanes: 4}", "vector: [4]", r"vector: must be a mapping"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    from accelsim.system.costs import Costs

    assert old in SMALL
    with pytest.raises(ConfigError, match=message):
        Costs(load_arch(write(tmp_path, SMALL.replace(old, new, 1))))


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("clock_hz: 1e9", "clock_hz: 0").replace("lanes: 4", "lanes: -1").replace("node_nm", "node")
    with pytest.raises(ConfigError) as error:
        load_arch(write(tmp_path, text))
    assert all(word in str(error.value) for word in ("clock_hz", "lanes", "node"))


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown architecture 'tpu_v'; did you mean tpu_v1"):
        load_arch("tpu_v")
    with pytest.raises(ConfigError, match="no such architecture file"):
        load_arch("missing/tpu.yaml")


def test_extends_merges_mappings_and_named_lists(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    child = "extends: small.yaml\nname: child\nengine: {rows: 8}\nbuffers:\n  - {name: weights, capacity_bytes: 99}\n"
    arch = load_arch(write(tmp_path, child, "child.yaml"))
    assert arch.data["engine"] == {"kind": "systolic", "rows": 8, "cols": 4, "dataflow": "ws"}
    assert [b.capacity_bytes for b in arch.spec.buffers] == [99, 4096]
    wrong = write(tmp_path, "extends: small.yaml\nname: c\nengine: {cols: 0}\n", "wrong.yaml")
    with pytest.raises(ConfigError, match=r"wrong.yaml:3:\d+: engine.cols: must be >= 1, got 0"):
        load_arch(wrong)
    write(tmp_path, "extends: child.yaml\nname: grandchild\n", "grandchild.yaml")
    with pytest.raises(ConfigError, match="one level only"):
        load_arch(tmp_path / "grandchild.yaml")


def test_overrides() -> None:
    overrides = [
        "engine.rows=64",
        "buffers.weight_fifo.slots=8",
        "buffers[2].capacity_bytes=1e6",
        "mapping.prefetch=true",
    ]
    arch = load_arch("tpu_v1", overrides)
    assert arch.data["engine"]["rows"] == 64
    assert arch.spec.buffers[1].slots == 8
    assert arch.spec.buffers[2].capacity_bytes == 1000000
    assert arch.spec.mapping.prefetch


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine.rows", "must be key=value"),
        ("engine.rows=0", r"--set engine.rows=0: engine.rows: must be >= 1, got 0"),
        ("engine.rowz=3", r"--set engine.rowz=3: engine.rowz: unknown key; did you mean rows"),
        ("enginee.rows=3", r"unknown key enginee; did you mean engine"),
        ("buffers.fifo.slots=3", r"buffers has no item 'fifo'; items: accumulators, weight_fifo, unified_buffer"),
        ("clock_hz.x=3", "clock_hz has no keys"),
        ("engine.rows=[1", "not valid YAML"),
    ],
)
def test_wrong_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_arch("tpu_v1", [override])
