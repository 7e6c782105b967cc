"""Errors, registry, counts, units, shipped files."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.base.counts import ActionCounts
from accelsim.base.errors import ConfigError, SimulationBug, nearest, unknown_name
from accelsim.base.paths import find, shipped_dir, shipped_names
from accelsim.base.registry import Registry
from accelsim.base.units import INT63, ceil_div, checked, human_bytes, si


def test_a_config_error_begins_with_its_place() -> None:
    assert str(ConfigError("must be 1", "f.yaml:1:2: a")) == "f.yaml:1:2: a: must be 1"
    assert str(ConfigError("must be 1")) == "must be 1"


def test_unknown_names_offer_the_nearest_or_list_all() -> None:
    assert "did you mean systolic?" in str(unknown_name("engine", "sistolic", ["systolic", "scnn"]))
    assert "known: a, b" in str(unknown_name("engine", "zzzz", ["b", "a"]))
    assert "there are none" in str(unknown_name("engine", "x", []))
    assert nearest("ROWS", ["rows", "size"]) == ["rows"]


def test_a_registry_normalises_before_it_compares() -> None:
    registry: Registry[int] = Registry("thing", "accelsim.dataflow")
    registry.register("Two-Words")(1)
    assert registry.lookup("two_words") == 1
    with pytest.raises(SimulationBug, match="thing 'two_words' is registered twice"):
        registry.register("TWO_WORDS")(2)
    with pytest.raises(ConfigError, match="unknown thing 'three'"):
        registry.lookup("three")


def test_counts_add_and_never_wrap() -> None:
    counts = ActionCounts()
    counts.add("mac", "go", 2**62)
    counts.add("mac", "go", 2**62)
    counts.add("mac", "none", 0)
    assert counts == {("mac", "go"): 2**63}
    assert ActionCounts.total([counts, counts])["mac", "go"] == 2**64
    with pytest.raises(ValueError, match="must be >= 0"):
        counts.add("mac", "go", -1)


def test_units() -> None:
    assert [ceil_div(n, 4) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert human_bytes(3 * 2**20) == "3.0 MiB"
    assert si(1.2e9, "B/s") == "1.2 GB/s"
    assert si(2.5e-3, "s") == "2.5 ms"
    assert checked(INT63, "x") == INT63
    with pytest.raises(ConfigError, match="x overflows 63 bits"):
        checked(INT63 + 1, "x")


def test_shipped_files_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tpu_v1" in shipped_names("arch_configs")
    assert find("tpu_v1", "arch_configs", "architecture").parent == shipped_dir("arch_configs")
    own = tmp_path / "mine.yaml"
    own.write_text("name: mine")
    assert find(str(own), "arch_configs", "architecture") == own
    with pytest.raises(ConfigError, match="unknown workload 'resnet5'; did you mean resnet"):
        find("resnet5", "workloads", "workload")
    with pytest.raises(ConfigError, match="there is no such workload file"):
        find("other.yaml", "workloads", "workload")
